/** What an agent has of a state is not sent again, and what it takes is whole all the same. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { canonicalJson, canonicalText, type JsonObject } from "../../src/chain/canonical-json.ts";
import { type MarkedState, readMarkedState, stateJson } from "../../src/channel/agent-state.ts";
import { KnownCertificates } from "../../src/channel/known-certificates.ts";
import { readMessage } from "../../src/channel/message-reading.ts";
import { type Marks, readHave, SECTIONS } from "../../src/channel/state-sections.ts";
import { ManagerSite } from "./manager-site.ts";

let site: ManagerSite;
const known = new KnownCertificates();
const POLICY = "version: 1\ndefaults: { stage: enforce }\nrules: []\n";

beforeAll(async () => {
  site = await ManagerSite.open();
  await site.addTenant("t1");
  for (const name of ["web", "db"]) await site.enrol(await site.invite(name), site.freshDir());
});
afterAll(() => site.close());

/** What the manager would send web. */
function sent(have?: Marks): JsonObject {
  const state = site.manager?.state;
  const node = state?.nodes.named("t1", "web");
  if (state === undefined || node === undefined) throw new Error("web is not there");
  return stateJson(state.stateFor(node), have);
}

function read(message: JsonObject, base?: MarkedState): MarkedState | string {
  const body = canonicalJson(message);
  const got = readMessage(body, body.length, (fields) => readMarkedState(fields, known, base));
  return "message" in got ? got.message : got.complaint;
}

function taken(message: JsonObject, base?: MarkedState): MarkedState {
  const got = read(message, base);
  if (typeof got === "string") throw new Error(got);
  return got;
}

const sectionsOf = (message: JsonObject): string[] => SECTIONS.filter((name) => name in message);

test("who names no marks is sent a whole state without any", () => {
  const message = sent();
  expect(sectionsOf(message)).toEqual([...SECTIONS]);
  expect(message).not.toHaveProperty("marks");
  expect(taken(message).marks).toEqual({});
});

const setFull = (agent: string) =>
  site.command("agents", "set", "--tenant", "t1", "--agent", agent, "--mode", "full");
const changes: readonly (readonly [string, string, () => Promise<unknown>])[] = [
  ["nothing", "", async () => {}],
  ["a policy", "policy", () => site.send(["policy", "apply", "--tenant", "t1"], POLICY)],
  ["a neighbour's mode", "neighbours", () => setFull("db")],
  ["the own mode", "", () => setFull("web")],
  ["a neighbour", "neighbours", async () => site.enrol(await site.invite("new"), site.freshDir())],
  ["a contract", "contracts", () => site.command("contract", "issue", "--tenant", "t1")],
];
test.each(changes)("after %s only '%s' comes, and the state is whole", async (_, changed, act) => {
  const base = taken(sent({}));
  await act();
  const message = sent(base.marks);
  expect(sectionsOf(message).join()).toContain(changed);
  expect(sectionsOf(message).length).toBeLessThanOrEqual(changed === "" ? 0 : 2);
  const whole = canonicalText(sent());
  expect(canonicalText(stateJson(taken(message, base).state))).toBe(whole);
  expect(taken(message, base).marks).toEqual(taken(sent({})).marks);
});

test("what is left out is refused by who does not have it", () => {
  const base = taken(sent({}));
  const message = sent(base.marks);
  expect(read(message)).toContain("must be a list");
  const other = { ...base, marks: { ...base.marks, neighbours: "00".repeat(32) } };
  expect(read(message, other)).toContain("neighbours must be a list");
  expect(read({ ...message, marks: {} }, base)).toContain("must be a list");
});

test("what is sent counts, also where its mark is the one before", () => {
  const base = taken(sent({}));
  const message = { ...sent(base.marks), policy: POLICY.replace("enforce", "warn") };
  expect(taken(message, base).state.policy).toContain("warn");
});

test("a fetch with words that are not understood is one without marks", () => {
  const asked = (value: JsonObject) => {
    const body = canonicalJson(value);
    const got = readMessage(body, body.length, readHave);
    return "message" in got ? got.message : undefined;
  };
  expect(asked({})).toBeUndefined();
  expect(asked({ have: {} })).toEqual({});
  expect(asked({ have: { policy: "ab".repeat(32) } })).toEqual({ policy: "ab".repeat(32) });
  for (const have of [{ rules: "ab".repeat(32) }, { policy: "ab" }, [], "all"]) {
    expect(asked({ have })).toBeUndefined();
  }
});
