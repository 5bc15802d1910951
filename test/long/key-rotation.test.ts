/**
 * Keys of every kind that a manager rotates, again and again for a minute, under iperf3, a steady
 * load and 1,000 new flows a second: no packet is lost by it, and no flow fails.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { startIperf3 } from "../../src/lab/programs.ts";
import { CLIENT, PORTS, SERVER, stopwatch } from "../e2e/harness.ts";
import { dropsOfPackets, rotateAllKeys } from "../e2e/key-rounds.ts";
import { runLoad } from "../e2e/load.ts";
import type { ManagerBed } from "../e2e/manager-bed.ts";
import { openOutageBed } from "../e2e/manager-outage.ts";

const MINUTE_MS = 60_000;
const [SECONDS, RATE] = [60, 2_000];
/** New flows a second, in turns of so many: their sockets are all open at once. */
const [NEW_FLOWS, TURN_FLOWS, TURNS] = [1_000, 10_000, 5];
const done = stopwatch("long key rotation");
let bed: ManagerBed;

beforeAll(async () => {
  bed = await openOutageBed("keyslong", ["load", "ping", "iperf"]);
}, 2 * MINUTE_MS);

afterAll(async () => {
  await bed?.close();
  done();
}, MINUTE_MS);

type Ports = Readonly<Record<"inside" | "outside", { readonly missed: number }>>;

/** What the kernel's full rings never gave to the agents. */
async function missed(): Promise<number> {
  let count = 0;
  for (const agent of bed.site.agents()) {
    const { ports } = (await agent.status()) as unknown as { readonly ports: Ports };
    count += ports.inside.missed + ports.outside.missed;
  }
  return count;
}

type IperfReport = {
  readonly end: { readonly sum_sent: { readonly bytes: number; readonly retransmits: number } };
};

async function tcpStream(): Promise<IperfReport["end"]["sum_sent"]> {
  await bed.site.keep(startIperf3(bed.site.host(SERVER.name), PORTS.iperf));
  const iperf = ["iperf3", "-c", SERVER.ipv4, "-b", "40M", "-J", "-t", String(SECONDS)];
  const ran = await bed.site.run(CLIENT.name, iperf, { timeoutMs: 2 * MINUTE_MS });
  if (ran.code !== 0) throw new Error(`iperf3: ${ran.stdout} ${ran.stderr}`);
  return (JSON.parse(ran.stdout) as IperfReport).end.sum_sent;
}

type FlowCount = { readonly begun: number; readonly lost: number };

async function newFlows(): Promise<FlowCount> {
  let [begun, lost] = [0, 0];
  for (let turn = 0; turn < TURNS; turn++) {
    const to = { to: SERVER.ipv4, size: 22, port: 7_001 + turn };
    const plan = { ...to, kind: "first", rate: NEW_FLOWS, flows: TURN_FLOWS } as const;
    const { offered, delivered, ownDrops, receiverDrops } = await runLoad(bed.site, plan);
    begun += offered;
    lost += offered - delivered - ownDrops - receiverDrops;
  }
  return { begun, lost };
}

test(
  `${SECONDS} s of rotations under iperf3, ${RATE} packets and ${NEW_FLOWS} new flows a second`,
  async () => {
    const before = await missed();
    let isOver = false;
    const steady = { to: SERVER.ipv4, size: 22, port: 7_000, rate: RATE, flows: 16 };
    const traffic = Promise.all([
      runLoad(bed.site, { ...steady, kind: "send", seconds: SECONDS }),
      newFlows(),
      tcpStream(),
    ]).finally(() => {
      isOver = true;
    });
    let rounds = 0;
    while (!isOver) await rotateAllKeys(bed, ++rounds);
    const [turn, flows, tcp] = await traffic;
    const kernel = (await missed()) - before;
    const lost = turn.offered - turn.delivered - turn.ownDrops - turn.receiverDrops;
    console.log(
      `  ${rounds} rotations; ${turn.offered} packets, ${lost} lost; ${flows.begun} new flows, ` +
        `${flows.lost} failed; TCP ${Math.round(tcp.bytes / 1e6)} MB, ${tcp.retransmits} sent ` +
        `again; ${kernel} not taken from the kernel's rings`,
    );
    expect(rounds).toBeGreaterThan(1);
    expect(turn.offered).toBeGreaterThan((RATE * SECONDS) / 2);
    expect(flows.begun).toBe(TURN_FLOWS * TURNS);
    // Nothing, but for what the kernel's full rings never gave to the agents.
    expect(lost + flows.lost).toBeLessThanOrEqual(kernel);
    expect(dropsOfPackets(turn.agentDrops)).toEqual([]);
  },
  6 * MINUTE_MS,
);
