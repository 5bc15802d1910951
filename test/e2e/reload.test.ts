/**
 * A running agent takes updates under load: no packet is lost, every verdict is that of the
 * snapshot it was made under, and what is broken changes nothing. design/agent.md "Policy";
 * src/agent/updates.ts. Without agents (ABS_E2E=bare) the same traffic runs alone. This is
 * about files: where a manager gives the updates, updates.test.ts has the same.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { generateKeyPair } from "../../src/agent/keys.ts";
import type { AgentReload } from "../../src/lab/agents.ts";
import { waitFor } from "../../src/lab/command.ts";
import { startIperf3 } from "../../src/lab/programs.ts";
import type { Site } from "../../src/lab/site.ts";
import type { Provisioning, Tenant } from "../../src/lab/tenant.ts";
import {
  BARE,
  CLIENT,
  openAgent,
  openSite,
  PORTS,
  SERVER,
  stopwatch,
  tenantOf,
} from "./harness.ts";
import { losslessTurn, measureCapacity, runLoad } from "./load.ts";

const MINUTE_MS = 60_000;
const SMALL = { to: SERVER.ipv4, port: 7_000, size: 22 };
const RELOADS = 24;
const SECONDS = 5;
/** The programs that ask for updates take a core of their own meanwhile. */
const RATE_MAX = 4_000;
const PROBE_PORT = 7_005;
const SIGNATURES = 10_000;
const done = stopwatch("e2e reload");
let site: Site;
let tenant: Tenant;
let halfCapacity = 0;

beforeAll(async () => {
  tenant = tenantOf([openAgent(CLIENT), openAgent(SERVER)]);
  site = await openSite("reload", [tenant]);
  await site.keep(startIperf3(site.host("server"), PORTS.iperf));
  halfCapacity = Math.floor((await measureCapacity(site, { ...SMALL, flows: 16 })) / 2);
  console.log(`  half the measured capacity: ${halfCapacity} packets a second`);
}, MINUTE_MS);

afterAll(async () => {
  await site?.close();
  done();
}, MINUTE_MS);

interface Policy {
  readonly rules: readonly object[];
  readonly defaults: object;
}

/** The provisioning of a VM, with more rules before the others and more signatures. */
function changed(vm: string, rules: readonly object[], signatures: readonly object[] = []) {
  const file = tenant.provisioningOf(vm);
  const policy = file["policy"] as Policy;
  const known = file["signatures"] as readonly object[];
  return {
    ...file,
    signatures: [...known, ...signatures],
    policy: { ...policy, rules: [...rules, ...policy.rules] },
  };
}

function rule(id: string, to: object, more: object = {}): object {
  return { id, direction: "out", to, action: "allow", ...more };
}

function signature(number: number): object {
  const word = `word-${number}-${(number * 7_919) % 10_007}`;
  const fields = { sig_id: `more-${number}`, app_name: "http", version: 1, status: "enabled" };
  return {
    ...fields,
    proto_type: "tcp",
    contents: [{ offset: number % 32, depth: 200, expr: word }],
  };
}

/** The i-th of a row of updates, and what becomes of it. */
function updateOf(vm: string, i: number): { file: Provisioning | string; refused?: string } {
  const peer = { protocol: "udp", port: 9_000 + i };
  switch (i % 6) {
    case 1:
      return { file: changed(vm, [], [signature(i)]) };
    case 2:
      return { file: `{ "version": 1, "node": ${i}`, refused: "PROVISIONING_INVALID" };
    case 3:
      return { file: changed(vm, [rule("x", { agent: "nobody" })]), refused: "POLICY_INVALID" };
    case 4: {
      const broken = { ...signature(i), contents: [{ offset: 0, expr: "/(/" }] };
      return { file: changed(vm, [], [broken]), refused: "PROVISIONING_INVALID" };
    }
    default:
      return { file: changed(vm, [rule(`more-${i}`, peer)]) };
  }
}

/** Updates both agents in turn; every answer is looked at. */
async function updateTimes(count: number): Promise<AgentReload[]> {
  const answers: AgentReload[] = [];
  for (let i = 0; i < count; i++) {
    const vm = i % 2 === 0 ? "client" : "server";
    const { file, refused } = updateOf(vm, i >> 1);
    const answer = await site.agent(vm).reload(file);
    const outcome = { code: answer.code, state: answer.state, error: answer.error?.code };
    expect(outcome).toEqual(
      refused === undefined
        ? { code: 0, state: "enforced", error: undefined }
        : { code: 1, state: "refused", error: refused },
    );
    answers.push(answer);
  }
  return answers;
}

async function plain(): Promise<void> {
  if (BARE) return;
  for (const vm of ["client", "server"]) await site.agent(vm).reload(tenant.provisioningOf(vm));
}

test(
  "policy and signatures change twenty times under load: no packet is lost, no stream breaks",
  async () => {
    let isOver = BARE;
    const updates = BARE ? Promise.resolve([]) : updateTimes(RELOADS);
    const answered = updates.finally(() => {
      isOver = true;
    });
    answered.catch(() => {});
    const rate = Math.min(halfCapacity, RATE_MAX);
    const plan = { ...SMALL, kind: "send", rate, seconds: SECONDS, flows: 16 } as const;
    let offered = 0;
    do {
      const iperf = ["iperf3", "-c", SERVER.ipv4, "-J", "-b", "5M", "-t", String(SECONDS)];
      const stream = site.run("client", iperf, { timeoutMs: MINUTE_MS });
      const turn = await losslessTurn(site, plan);
      const streamed = await stream;
      expect(turn.delivered + turn.ownDrops).toBe(turn.offered);
      expect(turn.agentDrops).toEqual({});
      expect(streamed.code).toBe(0);
      expect(JSON.parse(streamed.stdout).end.sum_received.bytes).toBeGreaterThan(500_000 * SECONDS);
      offered += turn.offered;
    } while (!isOver);
    const answers = await answered;
    await plain();
    const refused = answers.filter(({ state }) => state === "refused").length;
    console.log(`  ${offered} packets, ${answers.length} updates, ${refused} of them refused`);
  },
  6 * MINUTE_MS,
);

test(
  "every verdict on a new flow is that of the snapshot it was made under",
  async () => {
    if (BARE) return;
    const agent = site.agent("client");
    const before = agent.events.all().length;
    const denied = new Map<number, boolean>();
    const note = ({ enforced }: AgentReload, isDenied: boolean) =>
      denied.set(enforced.generation, isDenied);
    const deny = rule("no-probe", { protocol: "udp", port: PROBE_PORT }, { action: "deny" });
    note(await agent.reload(changed("client", [])), false);
    let isOver = false;
    const probe = { to: SERVER.ipv4, port: PROBE_PORT, size: 22, kind: "first" } as const;
    const probing = runLoad(site, { ...probe, rate: 400, flows: 4_000, quietMs: 8_000 }).finally(
      () => {
        isOver = true;
      },
    );
    for (let i = 1; !isOver; i++) {
      const isDenied = i % 2 === 1;
      note(await agent.reload(changed("client", isDenied ? [deny] : [])), isDenied);
    }
    const turn = await probing;
    const events = agent.events.since(before).filter((event) => {
      return event["destinationPort"] === PROBE_PORT && event["direction"] === "out";
    });
    const wrong = events.filter(({ event, generation }) => {
      return (event === "refused") !== denied.get(Number(generation));
    });
    console.log(`  ${denied.size} snapshots, ${events.length} verdicts reported`);
    expect(wrong).toEqual([]);
    expect(events.length).toBeGreaterThan(100);
    expect(denied.size).toBeGreaterThanOrEqual(6);
    const drops = turn.agentDrops["client.out:policy-denied"] ?? 0;
    expect(turn.delivered + turn.ownDrops + drops).toBe(turn.offered);
    expect(drops).toBeGreaterThan(0);
    await plain();
  },
  2 * MINUTE_MS,
);

test(
  "ten thousand signatures are compiled beside traffic: latencies are told, not judged",
  async () => {
    const alone = await pingTimes(8);
    console.log(`  ping alone: ${percentiles(alone)}`);
    if (BARE) return;
    const many = Array.from({ length: SIGNATURES }, (_, i) => signature(i));
    const started = performance.now();
    const update = site.agent("client").reload(changed("client", [], many));
    const [beside, answer] = await Promise.all([pingTimes(8), update]);
    const seconds = ((performance.now() - started) / 1_000).toFixed(1);
    console.log(`  ping beside ${SIGNATURES} signatures: ${percentiles(beside)} (${seconds} s)`);
    expect(answer).toMatchObject({ code: 0, state: "enforced" });
    expect(beside.length).toBe(alone.length);
    await plain();
  },
  2 * MINUTE_MS,
);

/** Round trips in milliseconds, ascending; a lost one is missing. */
async function pingTimes(seconds: number): Promise<number[]> {
  const count = String(seconds * 200);
  const ping = ["ping", "-n", "-i", "0.005", "-c", count, "-W", "1", SERVER.ipv4];
  const { stdout } = await site.run("client", ping, { timeoutMs: MINUTE_MS });
  const times = [...stdout.matchAll(/time=([\d.]+) ms/g)].map(([, time]) => Number(time));
  return times.sort((left, right) => left - right);
}

function percentiles(times: readonly number[]): string {
  const at = (share: number) => times[Math.floor(share * (times.length - 1))]?.toFixed(2) ?? "-";
  return `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, most ${at(1)} ms, of ${times.length}`;
}

test(
  "a peer that is removed is cut off within a second, and back at once when it returns",
  async () => {
    const ping = ["ping", "-n", "-c", "1", "-W", "1", CLIENT.ipv4];
    const answers = async () => (await site.run("server", ping)).code === 0;
    expect(await answers()).toBe(true);
    if (BARE) return;
    const agent = site.agent("client");
    const without = { ...tenant.provisioningOf("client"), peers: [] };
    const started = performance.now();
    expect(await agent.reload(without)).toMatchObject({ code: 0 });
    expect(performance.now() - started).toBeLessThan(5_000);
    expect((await agent.status())["sessions"]).toEqual([]);
    expect(await answers()).toBe(false);
    await agent.reload(tenant.provisioningOf("client"));
    await waitFor(
      "the peer to be back",
      async () => ((await answers()) ? true : undefined),
      20_000,
    );
  },
  MINUTE_MS,
);

test(
  "SIGHUP reloads, and the status says what is enforced",
  async () => {
    if (BARE) return;
    const agent = site.agent("client");
    const versions = async () => (await agent.status())["enforced"] as Record<string, unknown>;
    const before = await versions();
    const seen = agent.events.all().length;
    await agent.reload(changed("client", [rule("sighup", { port: 9_999 })]));
    agent.signal("SIGHUP");
    const isReload = ({ event }: { event: string }) => event === "update-enforced";
    await waitFor("the reload by a signal", () =>
      agent.events.since(seen).filter(isReload).length >= 2 ? true : undefined,
    );
    const after = await versions();
    expect(after["versions"]).not.toEqual(before["versions"]);
    const states = agent.events
      .since(seen)
      .filter(isReload)
      .map((event) => event["state"]);
    expect(states).toEqual(["enforced", "unchanged"]);
    await plain();
  },
  MINUTE_MS,
);

test(
  "positions that an update gave outlive a restart, and flows with them",
  async () => {
    if (BARE) return;
    const agent = site.agent("client");
    const file = tenant.provisioningOf("client");
    const keys = { staticKey: generateKeyPair().publicKey, mode: "full", tags: [] };
    const extra = { id: "extra", addresses: ["10.78.0.77"], ...keys };
    const more = { ...file, peers: [extra, ...(file["peers"] as readonly object[])] };
    expect(await agent.reload(more)).toMatchObject({ code: 0, state: "enforced" });
    const ping = ["ping", "-n", "-c", "1", "-W", "1", SERVER.ipv4];
    expect((await site.run("client", ping)).code).toBe(0);
    const seen = agent.events.all().length;
    expect(await agent.stop()).toBe(0);
    agent.restart(more);
    const { restoredFlows, peers } = await agent.ready();
    expect(peers).toBe(2);
    expect(Number(restoredFlows)).toBeGreaterThan(0);
    const warnings = agent.events.since(seen).filter(({ event }) => event === "warning");
    expect(warnings).toEqual([]);
    expect((await site.run("client", ping)).code).toBe(0);
  },
  MINUTE_MS,
);
