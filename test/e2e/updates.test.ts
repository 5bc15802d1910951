/**
 * What reload.test.ts changes by files and ledger.test.ts by the word of a master of its own, by
 * the commands of a manager: under load, without losing a packet. docs/manager.md "Updates".
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { waitFor } from "../../src/lab/command.ts";
import { startIperf3 } from "../../src/lab/programs.ts";
import { openBedOf } from "./enrolled-site.ts";
import {
  CLIENT,
  OPEN_RULES,
  openAgent,
  PORTS,
  SERVER,
  SIGNATURES,
  stopwatch,
  tenantOf,
} from "./harness.ts";
import { losslessTurn, runLoad } from "./load.ts";
import { type ManagerBed, TENANT } from "./manager-bed.ts";

const MINUTE_MS = 60_000;
const OF = ["--tenant", TENANT];
const SECONDS = 5;
/** The programs that ask for updates take a core of their own meanwhile. */
const RATE = 4_000;
const PROBE_PORT = 7_005;
const DENY_PROBE = {
  ...{ id: "no-probe", direction: "out", to: { protocol: "udp", port: PROBE_PORT } },
  action: "deny",
};
const done = stopwatch("e2e updates");
let bed: ManagerBed;

beforeAll(async () => {
  bed = await openBedOf("updates", tenantOf([openAgent(CLIENT), openAgent(SERVER)]));
  await bed.site.keep(startIperf3(bed.site.host("server"), PORTS.iperf));
}, 2 * MINUTE_MS);

afterAll(async () => {
  await bed?.close();
  done();
}, MINUTE_MS);

async function apply(rules: readonly object[]): Promise<void> {
  const policy = { version: 1, rules: [...rules, ...OPEN_RULES] };
  await bed.give(JSON.stringify(policy), "policy", "apply", ...OF);
}

/** A signature beside the others. */
async function publishOneMore(): Promise<void> {
  const more = {
    ...{ sig_id: "more", app_name: "http", version: 1, status: "enabled", proto_type: "tcp" },
    contents: [{ offset: 0, depth: 200, expr: "one-word-more" }],
  };
  await bed.give(JSON.stringify(more), "sig", "add", "--publish", ...OF);
  await bed.untilSealed(SIGNATURES.length + 1);
}

function hasHappened(vm: string, name: string, scId: string, from: number): true | undefined {
  const events = bed.site.agent(vm).events.since(from);
  return events.some((one) => one.event === name && one["scId"] === scId) || undefined;
}

/** Version 2 of the policy is the site's. Each change is in force before the next. */
async function changeEverything(contracts: readonly string[]): Promise<number> {
  const [first = "", second = ""] = contracts;
  const changes = [
    () => apply([{ ...DENY_PROBE, to: { protocol: "udp", port: 9_000 } }]),
    () => publishOneMore(),
    () => bed.ask("contract", "regenerate", first, ...OF),
    () => bed.ask("policy", "rollback", "--version", "2", ...OF),
    () => bed.ask("contract", "expire", second, ...OF),
    () => bed.ask("sig", "disable", "more", ...OF),
    () => bed.ask("agents", "set", "--agent", SERVER.name, "--trust", "70"),
  ];
  const broken = apply([{ ...DENY_PROBE, to: { agent: "nobody" } }]);
  await expect(broken).rejects.toThrow("Agents: client, server");
  for (const change of changes) {
    await change();
    await bed.untilEnforced();
  }
  return changes.length;
}

test(
  "policy, signatures, contracts and trust change under load: nothing is lost, no stream breaks",
  async () => {
    const { site } = bed;
    const contracts = await bed.contracts();
    const from = site.agent(CLIENT.name).events.all().length;
    let isOver = false;
    const changing = changeEverything(contracts).finally(() => {
      isOver = true;
    });
    changing.catch(() => {});
    const load = { to: SERVER.ipv4, port: PORTS.load, size: 22, flows: 16 };
    let offered = 0;
    do {
      const iperf = ["iperf3", "-c", SERVER.ipv4, "-J", "-b", "5M", "-t", String(SECONDS)];
      const stream = site.run(CLIENT.name, iperf, { timeoutMs: MINUTE_MS });
      const turn = await losslessTurn(site, {
        ...load,
        kind: "send",
        rate: RATE,
        seconds: SECONDS,
      });
      expect(turn.delivered + turn.ownDrops).toBe(turn.offered);
      expect(turn.agentDrops).toEqual({});
      expect((await stream).code).toBe(0);
      offered += turn.offered;
    } while (!isOver);
    console.log(`  ${offered} packets, ${await changing} changes`);
    const [first = "", second = ""] = contracts;
    for (const [name, scId] of [
      ["contract-active", first],
      ["contract-unused", second],
    ] as const) {
      const happened = () => hasHappened(CLIENT.name, name, scId, from);
      await waitFor(`${name} at the client`, happened, MINUTE_MS, 50);
    }
    expect((await bed.ping(CLIENT.name, SERVER, 1)).code).toBe(0);
  },
  6 * MINUTE_MS,
);

/** Of so many new flows to the port that is probed, those that arrive. */
async function probe(run = losslessTurn): Promise<number> {
  const flows = { to: SERVER.ipv4, port: PROBE_PORT, size: 22, kind: "first" } as const;
  return (await run(bed.site, { ...flows, rate: 400, flows: 100 })).delivered;
}

test(
  "a port is closed, and open again: what is enforced decides on each new flow",
  async () => {
    expect(await probe()).toBe(100);
    await apply([DENY_PROBE]);
    await bed.untilEnforced();
    expect(await probe(runLoad)).toBe(0);
    await apply([]);
    await bed.untilEnforced();
    expect(await probe()).toBe(100);
  },
  3 * MINUTE_MS,
);

test(
  "an agent that starts again while its manager is away uses what its replica holds",
  async () => {
    await bed.killManager();
    const agent = bed.site.agent(CLIENT.name);
    const from = agent.events.all().length;
    await agent.kill();
    agent.restart();
    await agent.ready();
    const events = agent.events.since(from).map(({ event }) => event);
    expect(events.indexOf("contract-active")).toBeGreaterThanOrEqual(0);
    expect(events.indexOf("contract-active")).toBeLessThan(events.indexOf("agent-ready"));
    expect((await bed.ping(CLIENT.name, SERVER, 1)).code).toBe(0);
  },
  MINUTE_MS,
);
