/** The policy of a tenant: checked for every agent, versioned, distributed. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import { loadProvisioning } from "../../src/agent/provisioning.ts";
import { agentFile } from "../../src/channel/agent-folder.ts";
import { fetchState } from "../../src/channel/update-client.ts";
import { askManager } from "../../src/manager/command-client.ts";
import { ManagerSite } from "./manager-site.ts";
import { openSsh, type Site } from "./ssh-site.ts";

const POLICY = `version: 1
defaults: { stage: enforce }
rules:
  - { id: ping-in, direction: in, from: { group: front }, app: ping, action: allow }
`;
let site: ManagerSite;
let agent: string;

beforeAll(async () => {
  site = await ManagerSite.open();
  await site.addTenant("t1");
  agent = site.freshDir();
  await site.enrol(await site.invite("a", "--group", "front"), agent);
  await site.enrol(await site.invite("b"), site.freshDir());
});

afterAll(() => site.close());

function apply(text: string | Uint8Array, ...words: readonly string[]) {
  const input = typeof text === "string" ? new Uint8Array(Buffer.from(text)) : text;
  return askManager({ dir: site.dir }, ["policy", "apply", "--tenant", "t1", ...words], input);
}

const refused: readonly (readonly [string, string | Uint8Array, string])[] = [
  ["nothing", "", "INPUT_WRONG"],
  ["no text", new Uint8Array([0xff, 0xfe]), "INPUT_WRONG"],
  ["too much", "#".repeat(1024 * 1024 + 1), "INPUT_WRONG"],
  ["no policy", "hello", "POLICY_INVALID"],
  ["an unknown key", `${POLICY}extra: 1\n`, "POLICY_INVALID"],
  ["a group without agents", POLICY.replace("front", "nobody"), "POLICY_INVALID"],
  ["an application without a tag", POLICY, "POLICY_INVALID"],
];

test.each(refused)("refused: %s as a policy", async (_, text, code) => {
  const said = await apply(text);
  expect([said.code, said.output]).toEqual([1, ""]);
  expect(said.complaint).toContain(`[${code}]`);
});

test("a policy that names an application with a tag reaches the agents", async () => {
  await site.invite("e", "--tag", "ping");
  expect((await apply(POLICY)).output).toBe("version 2\n");
  await fetchState(agent, loadProvisioning);
  const provisioning = loadProvisioning(agentFile(agent, "provisioning"));
  expect(provisioning.tags.map(({ name }) => name)).toEqual(["", "ping"]);
  expect(provisioning.policy.rules.map(({ id }) => id)).toEqual(["ping-in"]);
});

test("rules that never decide, and rules about nobody, are warned of", async () => {
  const web = "direction: in, from: { agent: a }, to: { agent: b }";
  await site.invite("f", "--group", "later");
  const text = `version: 1
rules:
  - { id: all, ${web}, action: deny }
  - { id: some, ${web}, action: allow }
  - { id: other, ${web.replace("to: { agent: b }", "to: { agent: a }")}, action: allow }
  - { id: later, direction: in, from: { group: later }, action: allow }
`;
  const said = await apply(text, "--dry-run");
  expect(said.output).toMatch(/^warning: .*\nwarning: .*\n--- version 2\n/);
  expect(said.output).toContain('input:6:5: rule "later" decides nothing now');
  const opposite = 'rule "some" never decides: "all" before it covers it, and does the opposite.';
  expect(said.output).toContain(`input:4:5: ${opposite}`);
});

test("a policy may name who is invited, and goes on when its last agent is revoked", async () => {
  await site.invite("c", "--group", "later");
  const rule = "{ id: later-in, direction: in, from: { group: later }, app: ping, action: allow }";
  expect((await apply(`${POLICY}  - ${rule}\n`)).complaint).toBe("");
  await site.enrol(await site.invite("d", "--group", "back"), site.freshDir());
  expect((await apply(POLICY.replace("front", "back"))).complaint).toBe("");
  await site.command("agents", "revoke", "d");
  const state = await fetchState(agent, loadProvisioning);
  expect(state.neighbours.map(({ name }) => name)).toEqual(["b"]);
  expect(state.known.groups).toEqual(["back", "front", "later"]);
  expect((await apply(POLICY)).complaint).toBe("");
});

test("versions are kept, shown, and come back as new ones", async () => {
  const second = POLICY.replace("ping-in", "other");
  const input = new Uint8Array(Buffer.from(second));
  const at = {
    ...{ dir: site.base, server: { port: site.manager?.port ?? 0 } },
    hostSeed: site.manager?.state.manager.hostKey.seed,
  } as unknown as Site;
  const key = join(site.dir, "admin_key");
  const words = ["127.0.0.1", "policy apply --tenant t1"];
  expect((await openSsh(at, { key }, words, input)).output).toBe("version 6\n");
  const shown = await site.command("policy", "show", "--tenant", "t1");
  expect(shown).toEqual({ tenant: "t1", version: 6, body: second });
  const back = await site.command("policy", "rollback", "--tenant", "t1", "--version", "2");
  expect(back).toMatchObject({ version: 7 });
  expect(await site.command("policy", "show", "--tenant", "t1")).toMatchObject({ body: POLICY });
  const rows = (await site.command("policy", "history", "--tenant", "t1")) as unknown as {
    version: number;
    author: string;
  }[];
  expect(rows.map(({ version }) => version)).toEqual([7, 6, 5, 4, 3, 2, 1]);
  expect(rows[0]?.author).toBe("local");
  const none = ["policy", "show", "--tenant", "t1", "--version", "9"];
  expect((await askManager({ dir: site.dir }, none)).complaint).toContain("[VERSION_ABSENT]");
});

test("a command that reads nothing is not held up by what is sent to it", async () => {
  const input = new Uint8Array(3 * 1024 * 1024);
  const said = await askManager({ dir: site.dir }, ["tenant", "list"], input);
  expect([said.code, said.output.includes("t1")]).toEqual([0, true]);
});
