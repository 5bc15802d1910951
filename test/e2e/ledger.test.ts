/**
 * Agents that run the nodes of their tenant's ledger: contracts come from it, its changes move
 * running sessions without losing a packet, and its own connections pass the data plane while
 * nobody else's do. docs/provisioning.md "With a ledger", docs/wire.md "Lifetimes".
 * The master is one without a manager; where that is the master, updates.test.ts changes contracts.
 */
import { Database } from "bun:sqlite";
import { afterAll, beforeAll, expect, test } from "bun:test";
import { runCommand, waitFor } from "../../src/lab/command.ts";
import type { AgentEvent } from "../../src/lab/event-reader.ts";
import { startIperf3 } from "../../src/lab/programs.ts";
import type { Site } from "../../src/lab/site.ts";
import type { Provisioning } from "../../src/lab/tenant.ts";
import { inVm, namespaceOf } from "../../src/lab/topology.ts";
import { fileIn } from "../../src/node/node-folder.ts";
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
import { BedContract, LedgerBed, PEER_PORT, STRANGER_ADDRESS } from "./ledger-bed.ts";
import { runLoad } from "./load.ts";

const MINUTE_MS = 60_000;
const AGENTS = ["client", "server"];
const PING = ["ping", "-n", "-c", "1", "-W", "3", SERVER.ipv4];
const done = stopwatch("e2e ledger");
/** Both generations of `first` are known to the agents, only the first one of `second`. */
const [first, second] = [new BedContract(2), new BedContract(1)];
let bed: LedgerBed;
let site: Site;

beforeAll(async () => {
  bed = new LedgerBed([CLIENT, SERVER], [first, second]);
  const lies = bed.provisioned;
  const agents = [openAgent(CLIENT, { lies }), openAgent(SERVER, { lies })];
  site = await openSite("ledger", [tenantOf(agents)]);
  if (BARE) return;
  await bed.startMaster(site);
  await bed.createContracts();
  for (const vm of AGENTS) {
    for (const { scId } of [first, second]) await eventOf(vm, "contract-active", { scId });
  }
}, MINUTE_MS);

afterAll(async () => {
  await site?.close();
  await bed?.close();
  done();
}, MINUTE_MS);

/** The first event of a name with these fields, from number `from` on. */
async function eventOf(
  vm: string,
  name: string,
  fields: Readonly<Record<string, unknown>> = {},
  from = 0,
  timeoutMs = 15_000,
): Promise<AgentEvent> {
  const fits = (event: AgentEvent): boolean =>
    event.event === name && Object.entries(fields).every(([key, value]) => event[key] === value);
  const found = () => site.agent(vm).events.since(from).find(fits);
  return await waitFor(`${name} of ${vm}`, found, timeoutMs, 50);
}

function countOf(vm: string): number {
  return site.agent(vm).events.all().length;
}

type LedgerStatus = {
  readonly running: boolean;
  readonly height: number;
  readonly peers: readonly { readonly is_connected: boolean }[];
  readonly contracts: readonly { readonly scId: string; readonly state: string }[];
};

async function ledgerOf(vm: string): Promise<LedgerStatus> {
  return (await site.agent(vm).status())["ledger"] as LedgerStatus;
}

test("contracts come from the ledger, and `abs agent status` shows its node", async () => {
  expect((await site.run("client", PING)).code).toBe(0);
  if (BARE) return;
  for (const vm of AGENTS) {
    const status = await ledgerOf(vm);
    expect(status).toMatchObject({ running: true, role: "validator" });
    expect(status.height).toBeGreaterThan(0);
    expect(status.peers.map(({ is_connected: is }) => is)).toEqual([true, true]);
    expect(status.contracts.map(({ state }) => state)).toEqual(["active", "active"]);
  }
});

/** Whether TCP port 6254 of the server takes a call. */
async function calls(run: (command: readonly string[]) => Promise<{ code: number }>) {
  const command = ["nc", "-z", "-w", "2", SERVER.ipv4, String(PEER_PORT)];
  return (await run(command)).code === 0;
}

test("nobody but the node may speak with the peer channel", async () => {
  if (BARE) return;
  const before = countOf("client");
  expect(await calls((command) => site.run("client", command))).toBe(false);
  await eventOf("client", "refused", { destinationPort: PEER_PORT }, before);
  const atSwitch = namespaceOf(site.options.prefix, "switch");
  const from = (address: string) =>
    calls(([nc = "", ...rest]) => runCommand(inVm(atSwitch, [nc, "-s", address, ...rest])));
  expect(await from(STRANGER_ADDRESS)).toBe(false);
  // The master's machine is one of the ledger's: only the handshake tells who speaks.
  expect(await from("10.78.0.1")).toBe(true);
});

/** What the ledger decides while packets run, each followed by some seconds of traffic. */
async function changes(): Promise<void> {
  await Bun.sleep(1_500);
  await bed.update(first, { active: false });
  await Bun.sleep(4_000);
  await bed.update(first, { active: true });
  await bed.update(first, { generation: 2 });
  await Bun.sleep(4_000);
  await bed.update(second, { active: false });
  await Bun.sleep(4_000);
  await bed.update(second, { active: true });
  await bed.update(first, { active: "expired" });
}

const STREAM_SECONDS = 22;
/** Packets a second: far from what the kernel's rings lose when others use this machine. */
const RATE = 4_000;

/** Packets that the kernel did not hand to the agents, as their rings were full. */
async function missed(): Promise<number> {
  let count = 0;
  for (const { ports } of await Promise.all(BARE ? [] : site.agents().map(statusOf))) {
    for (const port of [ports.inside, ports.outside]) count += port.missed;
  }
  return count;
}

type Ports = Readonly<Record<"inside" | "outside", { readonly missed: number }>>;

async function statusOf(agent: { status(): Promise<unknown> }): Promise<{ readonly ports: Ports }> {
  return (await agent.status()) as { readonly ports: Ports };
}

async function tcpStream(): Promise<{ readonly standstillMs: number }> {
  await site.keep(startIperf3(site.host("server"), PORTS.iperf));
  const iperf = ["iperf3", "-c", SERVER.ipv4, "-b", "20M", "-i", "0.1", "-J"];
  const command = [...iperf, "-t", String(STREAM_SECONDS)];
  const ran = await site.run("client", command, { timeoutMs: (STREAM_SECONDS + 20) * 1_000 });
  expect(ran.code).toBe(0);
  let [longest, now] = [0, 0];
  const { intervals } = JSON.parse(ran.stdout) as {
    intervals: { sum: { bytes: number; seconds: number } }[];
  };
  for (const { sum } of intervals) {
    now = sum.bytes === 0 ? now + sum.seconds * 1_000 : 0;
    longest = Math.max(longest, now);
  }
  return { standstillMs: longest };
}

test(
  "contracts deactivated, regenerated and expired under load: sessions move, nothing is lost",
  async () => {
    const load = { to: SERVER.ipv4, port: 7_000, size: 22, flows: 16 };
    const missedBefore = await missed();
    const from = BARE ? 0 : countOf("client");
    const plan = { ...load, kind: "send", rate: RATE, seconds: STREAM_SECONDS } as const;
    const [turn, stream] = await Promise.all([
      // Once: a second turn would be one without changes.
      runLoad(site, plan),
      tcpStream(),
      BARE ? undefined : changes(),
    ]);
    console.log(`  ${turn.offered} packets, TCP stood ${Math.round(stream.standstillMs)} ms`);
    const lost = turn.offered - turn.delivered - turn.ownDrops - turn.receiverDrops;
    // Nothing, but for what the kernel's full rings never gave to the agents: TCP's among them.
    expect(lost).toBeLessThanOrEqual((await missed()) - missedBefore);
    expect(turn.agentDrops).toEqual({});
    expect(stream.standstillMs).toBeLessThan(1_000);
    if (BARE) return;
    await eventOf("client", "contract-inactive", { scId: first.scId }, from);
    await eventOf("client", "contract-active", { scId: first.scId, generation: 2 }, from);
    await eventOf("client", "contract-unused", { scId: first.scId }, from);
    const moved = site.agent("client").events.since(from);
    const established = moved.filter(({ event }) => event === "session-established");
    // Applications load and iperf and the tenant, each at three changes at least.
    expect(established.length).toBeGreaterThanOrEqual(6);
    expect((await site.run("client", PING)).code).toBe(0);
  },
  3 * MINUTE_MS,
);

test(
  "a new generation whose secret an agent has not got: the old one goes on, and is told",
  async () => {
    if (BARE) return;
    const from = countOf("client");
    await bed.update(second, { generation: 2 });
    const missing = { scId: second.scId, generation: 2, using: 1 };
    for (const vm of AGENTS) await eventOf(vm, "contract-secret-missing", missing);
    expect((await site.run("client", PING)).code).toBe(0);
    expect(from).toBeGreaterThan(0);
  },
  MINUTE_MS,
);

test(
  "its secret is brought by a reload: sessions go to it, and nothing else changes",
  async () => {
    if (BARE) return;
    second.held = 2;
    const contracts = bed.contracts.map((contract) => contract.provisioning());
    const from = countOf("client");
    for (const vm of AGENTS) {
      const agent = site.agent(vm);
      const before = agent.launch.provisioning as Provisioning;
      expect(await agent.reload({ ...before, contracts })).toMatchObject({ state: "enforced" });
      await eventOf(vm, "contract-active", { scId: second.scId, generation: 2 });
    }
    await eventOf("client", "session-established", {}, from);
    expect((await site.run("client", PING)).code).toBe(0);
    // The ledger itself cannot change in a running agent.
    const agent = site.agent("client");
    const before = agent.launch.provisioning as Provisioning;
    const moved = { ...before, contracts, ledger: { directory: bed.folder("server") } };
    expect(await agent.reload(moved)).toMatchObject({
      state: "refused",
      error: { code: "UPDATE_NEEDS_RESTART" },
    });
    await agent.reload({ ...before, contracts });
  },
  MINUTE_MS,
);

test(
  "an SCD that somebody changed on one VM's disk is repaired, and the agent's log says so",
  async () => {
    if (BARE) return;
    const store = new Database(fileIn(bed.folder("client"), "store"));
    const from = countOf("client");
    const row = store.query("SELECT id, bytes FROM contract").get() as {
      readonly id: string;
      readonly bytes: Uint8Array;
    };
    row.bytes[20] ^= 1;
    store.query("UPDATE contract SET bytes = ? WHERE id = ?").run(row.bytes, row.id);
    store.close();
    await eventOf("client", "ledger-own-root-differs", {}, from, 50_000);
    await eventOf("client", "ledger-repaired", {}, from);
    expect((await site.run("client", PING)).code).toBe(0);
  },
  2 * MINUTE_MS,
);

test(
  "an agent that starts again uses what its replica holds, without master or peers",
  async () => {
    if (BARE) return;
    await bed.stopMaster();
    const from = countOf("client");
    await site.agent("client").kill();
    site.agent("client").restart();
    await site.agent("client").ready();
    const events = site
      .agent("client")
      .events.since(from)
      .map(({ event }) => event);
    expect(events.indexOf("contract-active")).toBeGreaterThanOrEqual(0);
    expect(events.indexOf("contract-active")).toBeLessThan(events.indexOf("agent-ready"));
    expect((await site.run("client", PING)).code).toBe(0);
    expect((await ledgerOf("client")).running).toBe(true);
  },
  MINUTE_MS,
);
