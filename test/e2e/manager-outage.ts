/**
 * The manager is killed under traffic, stays away, and comes back: what manager-down.test.ts and
 * test/long play for different times. docs/manager.md: "It is not in the data path".
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { waitFor } from "../../src/lab/command.ts";
import { CLIENT, OPEN_RULES, SERVER, SIGNATURES, stopwatch } from "./harness.ts";
import { runLoad } from "./load.ts";
import { ManagerBed, TENANT } from "./manager-bed.ts";

const APPS = ["load", "ping"];
const RATE = 2_000;
const NEW_FLOWS = 500;
const MINUTE_MS = 60_000;

/** Two agents in `full` and `enforce`, which know these applications. */
export async function openOutageBed(
  name: string,
  apps: readonly string[] = APPS,
): Promise<ManagerBed> {
  const bed = await ManagerBed.open(name, [CLIENT, SERVER]);
  const tags = apps.flatMap((app) => ["--tag", app]);
  for (const vm of [CLIENT, SERVER]) await bed.enrol(vm.name, ...tags);
  for (const vm of [CLIENT, SERVER]) await bed.startAgent(vm.name);
  await bed.untilAnswered(CLIENT.name, SERVER);
  const used = SIGNATURES.filter(({ app_name: app }) => apps.includes(app)).map((one, i) => {
    return { sig_id: `s${i}`, version: 1, status: "enabled", ...one };
  });
  const rules = OPEN_RULES.filter((rule) => apps.includes(String(rule["app"])));
  await bed.give(JSON.stringify(used), "sig", "add", "--publish", "--tenant", TENANT);
  await bed.give(JSON.stringify({ version: 1, rules }), "policy", "apply", "--tenant", TENANT);
  await bed.ask("agents", "set", "--all", "--mode", "full", "--stage", "enforce");
  await bed.untilEnforced();
  return bed;
}

/** The tests of an outage of `seconds` of real time, in a bed of this name. */
export function testOutage(
  suite: string,
  { name, seconds, timeoutMs }: { name: string; seconds: number; timeoutMs: number },
): void {
  const done = stopwatch(suite);
  let bed: ManagerBed;

  beforeAll(async () => {
    bed = await openOutageBed(name);
  }, 2 * MINUTE_MS);

  afterAll(async () => {
    await bed?.close();
    done();
  }, MINUTE_MS);

  test(
    `killed for ${seconds} s: no packet is lost, new flows and new sessions begin`,
    () => playOutage(bed, seconds),
    timeoutMs,
  );

  const back = "back again: agents find it and take what has changed";
  test(back, () => playReturn(bed), 2 * MINUTE_MS);
}

/** Without a manager for `seconds` of real time. */
async function playOutage(bed: ManagerBed, seconds: number): Promise<void> {
  const load = { to: SERVER.ipv4, size: 22 };
  const client = bed.site.agent(CLIENT.name);
  const lost = () => client.events.all().find(({ event }) => event === "manager-lost");
  await bed.killManager();
  const plan = { ...load, port: 7_000, kind: "send", rate: RATE, seconds, flows: 16 } as const;
  const loading = runLoad(bed.site, plan);
  await waitFor("the agent to miss its manager", lost, MINUTE_MS);
  const established = () => {
    return client.events.all().filter((one) => {
      return one.event === "session-established" && one["app"] === "ping";
    }).length;
  };
  expect(established()).toBe(0);
  // A session of another application begins, and flows of the one that runs.
  expect((await bed.ping(CLIENT.name, SERVER, 5)).stdout).toContain("5 received");
  expect(established()).toBeGreaterThan(0);
  const first = { ...load, port: 7_001, kind: "first", rate: 1_000, flows: NEW_FLOWS } as const;
  const fresh = await runLoad(bed.site, first);
  expect(fresh.delivered + fresh.ownDrops).toBe(NEW_FLOWS);
  const turn = await loading;
  const own = `${turn.ownDrops} lost by the generator`;
  console.log(`  ${turn.offered} packets in ${seconds} s without a manager, ${own}`);
  expect(turn.offered).toBeGreaterThan((RATE * seconds) / 2);
  expect(turn.delivered + turn.ownDrops).toBe(turn.offered);
  expect(turn.agentDrops).toEqual({});
}

/** It comes back: agents find it, and what is changed then reaches them. */
async function playReturn(bed: ManagerBed): Promise<void> {
  await bed.startManager();
  await bed.ask("agents", "set", "--agent", CLIENT.name, "--trust", "77");
  await bed.untilEnforced();
}
