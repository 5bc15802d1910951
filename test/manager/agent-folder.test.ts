/** Taking a state writes what is new in it, and leaves what stands there already. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { loadProvisioning } from "../../src/agent/provisioning.ts";
import { ensureKeys, loadManager } from "../../src/channel/agent-folder.ts";
import type { AgentState } from "../../src/channel/agent-state.ts";
import { takeState } from "../../src/channel/state-taking.ts";
import { ManagerSite } from "./manager-site.ts";

const STANDING = ["appdb.sqlite", "certificate.json", "genesis.json", "peers.json"] as const;
const POLICY = "version: 1\ndefaults: { stage: enforce }\nrules: []\n";
const files = (): string[] => readdirSync(dir).sort();
const write = (name: string): string => {
  const { ino, mtimeNs } = statSync(join(dir, name), { bigint: true });
  return `${ino}/${mtimeNs}`;
};

let site: ManagerSite;
let dir: string;
let first: AgentState;

beforeAll(async () => {
  site = await ManagerSite.open();
  await site.addTenant("t1");
  await site.enrol(await site.invite("db"), site.freshDir());
  dir = site.freshDir();
  first = await site.enrol(await site.invite("web"), dir);
});
afterAll(() => site.close());

async function take(state: AgentState): Promise<void> {
  const manager = loadManager(dir);
  await takeState(dir, state, { manager, ...ensureKeys(dir), check: loadProvisioning });
}

test("another policy leaves certificates, genesis file and AppDB as they stand", async () => {
  const [before, names] = [STANDING.map(write), files()];
  await take({ ...first, policy: POLICY, version: first.version + 1 });
  expect(STANDING.map(write)).toEqual(before);
  expect(files()).toEqual(names);
  expect(loadManager(dir).version).toBe(first.version + 1);
  expect(loadProvisioning(join(dir, "provisioning.json")).policy.defaults.stage).toBe("enforce");
});

test("the same state again changes nothing but names of files", async () => {
  const before = [...STANDING, "pmdb.sqlite"].map(write);
  await take({ ...first, policy: POLICY, version: first.version + 1 });
  expect([...STANDING, "pmdb.sqlite"].map(write)).toEqual(before);
});

test("of neighbours that change, only what speaks of them is written", async () => {
  const before = STANDING.map(write);
  await take({ ...first, neighbours: [], version: first.version + 2 });
  const after = STANDING.map(write);
  expect(after.slice(0, 3)).toEqual(before.slice(0, 3));
  expect(after[3]).not.toBe(before[3] as string);
});

test("a file that somebody has altered is written again", async () => {
  await take(first);
  const whole = await Bun.file(join(dir, "peers.json")).text();
  for (const content of ["", whole.slice(0, -2), whole.replace("web", "wob")]) {
    writeFileSync(join(dir, "peers.json"), content);
    await take(first);
    expect(await Bun.file(join(dir, "peers.json")).text()).toBe(whole);
  }
});
