/** Terms of quarantine on evidence: how many, within what time, told by how many, of whom. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import type { ManagerState } from "../../src/manager/manager-state.ts";
import type { MappedNode } from "../../src/manager/mapping-service.ts";
import { SwitchDesk } from "../../src/manager/switch-desk.ts";
import { ViolationWatch } from "../../src/manager/violation-watch.ts";
import { codeOf, ManagerSite } from "./manager-site.ts";

let site: ManagerSite;
let state: ManagerState;
let nodes: Record<string, MappedNode>;
let nowMs = 0;
let watch: ViolationWatch;

beforeAll(async () => {
  site = await ManagerSite.open();
  await site.addTenant("t1");
  await site.addTenant("t2");
  for (const name of ["a", "b", "c"]) await site.enrol(await site.invite(name), site.freshDir());
  state = site.manager?.state as ManagerState;
  nodes = Object.fromEntries(state.nodes.list("t1").map((node) => [node.name, node]));
  watch = new ViolationWatch(
    state,
    new SwitchDesk(state, (event) => site.write(event)),
    () => nowMs,
  );
}, 60_000);

afterAll(() => site.close());

function tell(reporter: string, suspect: string, count: number): void {
  const { sessionPub } = nodes[suspect] as MappedNode;
  watch.take(nodes[reporter] as MappedNode, [{ sessionPub, count, reason: "policy-denied" }]);
}

async function hosts(): Promise<unknown[]> {
  const rows = (await site.command("quarantine", "list")) as unknown as { host: string }[];
  return rows.map(({ host }) => host);
}

async function terms(...words: string[]): Promise<void> {
  await site.command("quarantine", "set", "--tenant", "t1", ...words);
}

async function release(): Promise<void> {
  const rows = (await site.command("quarantine", "list")) as unknown as { number: number }[];
  for (const { number } of rows) await site.command("quarantine", "release", `${number}`);
}

test("without terms nobody is brought there", async () => {
  tell("a", "b", 1_000_000);
  expect(await hosts()).toEqual([]);
});

test("so many within the time; what is older does not count", async () => {
  await terms("--violations", "10", "--window", "60s", "--for", "5m");
  tell("a", "b", 9);
  expect(await hosts()).toEqual([]);
  nowMs += 61_000;
  tell("a", "b", 9);
  expect(await hosts()).toEqual([]);
  nowMs += 59_000;
  tell("a", "b", 1);
  expect(await hosts()).toEqual(["b"]);
  const began = site.events().findLast(({ event }) => event === "quarantine-began");
  expect(began).toMatchObject({ host: "b", by: "evidence", severity: "high" });
  expect(String(began?.["reason"])).toBe(
    "10 of its packets were refused within 60 s (policy-denied), by a",
  );
  // Once is enough.
  tell("a", "b", 100);
  expect(await hosts()).toEqual(["b"]);
});

test("its peers are told, in the state that they fetch, and of nobody else", () => {
  const told = state.stateFor(nodes["a"] as MappedNode).neighbours;
  const flags = told.map(({ name, isQuarantined }) => [name, isQuarantined]);
  expect(flags).toEqual([
    ["b", true],
    ["c", false],
  ]);
});

test("released, it begins from nothing, and peers are told", async () => {
  await release();
  expect(await hosts()).toEqual([]);
  tell("a", "b", 9);
  expect(await hosts()).toEqual([]);
  const told = state.stateFor(nodes["a"] as MappedNode).neighbours;
  expect(told.some(({ isQuarantined }) => isQuarantined)).toBe(false);
});

test("with two reporters one liar is not enough", async () => {
  await terms("--violations", "10", "--reporters", "2");
  nowMs += 100_000;
  for (let i = 0; i < 20; i++) tell("a", "c", 1000);
  expect(await hosts()).toEqual([]);
  tell("b", "c", 1);
  expect(await hosts()).toEqual(["c"]);
  await release();
});

test("nobody accuses himself, strangers, or another tenant's", async () => {
  await terms("--violations", "1");
  tell("a", "a", 10);
  const reporter = { ...(nodes["a"] as MappedNode), tenant: "t2", name: "x", nodeId: "ff" };
  await site.command("quarantine", "set", "--tenant", "t2", "--violations", "1");
  const { sessionPub } = nodes["b"] as MappedNode;
  watch.take(reporter, [{ sessionPub, count: 10, reason: "policy-denied" }]);
  const unknown = { sessionPub: "00".repeat(32), count: 10, reason: "policy-denied" };
  watch.take(nodes["a"] as MappedNode, [unknown]);
  expect(await hosts()).toEqual([]);
});

test("what the ledger proves counts at once, and the time-out ends it", async () => {
  watch.proven(nodes["b"] as MappedNode);
  expect(await hosts()).toEqual(["b"]);
  site.skewSeconds += 3600;
  while ((await hosts()).length > 0) await new Promise((resolve) => setTimeout(resolve, 20));
  const rows = await site.command("quarantine", "list", "--all");
  expect((rows as unknown as { why: string }[])[0]?.why).toBe("time-out");
});

test("wrong words are said to be wrong", async () => {
  const code = (...words: string[]) => codeOf(site.command("quarantine", ...words));
  expect(await code("add")).toContain("COMMAND_USAGE");
  expect(await code("add", "--address", "10.0.0.300")).toContain("COMMAND_USAGE");
  expect(await code("add", "--mac", "02:00")).toContain("COMMAND_USAGE");
  expect(await code("add", "--port", "br9:1")).toContain("SWITCH_ABSENT");
  expect(await code("add", "--address", "127.0.0.1")).toContain("QUARANTINE_OF_MANAGER");
  expect(await code("add", "--agent", "nobody")).toContain("AGENT_ABSENT");
  expect(await code("release", "77")).toContain("QUARANTINE_ABSENT");
  const add = (...words: string[]) => codeOf(site.command("switch", "add", "s1", ...words));
  expect(await add("--at", "tcp:nowhere")).toContain("SWITCH_PLACE");
  expect(await add("--at", "tls:127.0.0.1:6653")).toContain("SWITCH_TLS");
  expect(await add("--at", "ryu+http://127.0.0.1:8080")).toContain("SWITCH_DATAPATH");
});
