/**
 * Runs bench/udp_load.c between two VMs of a site and says whether a run was lossless: offered =
 * delivered + counted at the generator's own port, and no drop counter of `abs` moved (issue "Tests
 * beside the unit tests"). Where the kernel dropped, the turn does not count and is repeated.
 */

import { dropsOf } from "../../src/lab/agent-drops.ts";
import { waitFor } from "../../src/lab/command.ts";
import type { Site } from "../../src/lab/site.ts";
import { BARE, UDP_LOAD } from "./harness.ts";

export interface LoadPlan {
  readonly kind: "send" | "first";
  readonly to: string;
  readonly port: number;
  /** UDP payload bytes. */
  readonly size: number;
  /** Packets a second; 0: as fast as the socket takes them. */
  readonly rate: number;
  readonly seconds?: number;
  readonly flows?: number;
  /** Silence after which the receiver has heard all; 3,000 ms. */
  readonly quietMs?: number;
}

export interface LoadTurn {
  readonly offered: number;
  readonly delivered: number;
  /** Counted at the generator's own port and socket. */
  readonly ownDrops: number;
  /** Counted at the receiving program's socket. */
  readonly receiverDrops: number;
  readonly pps: number;
  /** Drop counters of both agents that moved during the turn. */
  readonly agentDrops: Readonly<Record<string, number>>;
}

const TURNS_MAX = 3;
/** A busy machine may let a program wait for its processor for more than a second. */
const QUIET_MS = 3_000;
let runNumber = Math.floor(Math.random() * 60_000);

/** One run from VM `client` to VM `server`. */
export async function runLoad(site: Site, plan: LoadPlan): Promise<LoadTurn> {
  const run = String(++runNumber & 0xffff);
  const seconds = plan.seconds ?? 1;
  const before = await agentDrops(site);
  const port = String(plan.port);
  const lasting = String(seconds + 15);
  const receiveCommand = [UDP_LOAD, "receive", "--port", port, "--seconds", lasting];
  receiveCommand.push("--quiet-ms", String(plan.quietMs ?? QUIET_MS), "--run", run);
  const receiving = site.run("server", receiveCommand, { timeoutMs: (seconds + 20) * 1_000 });
  await waitFor("the receiver to be bound", async () => {
    const table = await site.run("server", ["cat", "/proc/net/udp", "/proc/net/udp6"]);
    const hex = plan.port.toString(16).toUpperCase().padStart(4, "0");
    return table.stdout.includes(`:${hex} `) ? true : undefined;
  });
  const send = [UDP_LOAD, plan.kind, "--to", plan.to, "--port", port, "--run", run];
  send.push("--size", String(plan.size), "--rate", String(plan.rate));
  if (plan.kind === "send") send.push("--seconds", String(seconds));
  if (plan.flows !== undefined) send.push("--flows", String(plan.flows));
  const sent = await site.run("client", send, { timeoutMs: (seconds + 20) * 1_000 });
  const received = await receiving;
  if (sent.code !== 0 || received.code !== 0) {
    throw new Error(`udp_load failed: ${sent.stderr} ${received.stderr}`);
  }
  const generator = JSON.parse(sent.stdout);
  const receiver = JSON.parse(received.stdout);
  return {
    offered: generator.offered,
    delivered: receiver.delivered,
    ownDrops: generator.send_errors + generator.own_port_drops + generator.own_send_buffer_drops,
    receiverDrops: receiver.socket_drops + receiver.udp_receive_buffer_drops,
    pps: generator.pps,
    agentDrops: difference(before, await agentDrops(site)),
  };
}

/** Packets a second that get through when as many as possible are offered. */
export async function measureCapacity(site: Site, plan: Omit<LoadPlan, "rate" | "kind">) {
  const seconds = 2;
  const turn = await runLoad(site, { ...plan, kind: "send", rate: 0, seconds });
  return Math.floor(turn.delivered / seconds);
}

/** Whether every packet is accounted for and no counter of `abs` moved. */
export function isLossless(turn: LoadTurn): boolean {
  const accounted = turn.delivered + turn.ownDrops === turn.offered;
  return accounted && Object.keys(turn.agentDrops).length === 0;
}

/** Runs the plan until a turn is not spoilt by the kernel's own drops, at most three times. */
export async function losslessTurn(site: Site, plan: LoadPlan): Promise<LoadTurn> {
  let turn = await runLoad(site, plan);
  for (let i = 1; i < TURNS_MAX && !isLossless(turn); i++) {
    console.log(`  turn ${i} was not lossless: ${JSON.stringify(turn)}`);
    turn = await runLoad(site, plan);
  }
  return turn;
}

async function agentDrops(site: Site): Promise<Record<string, number>> {
  const drops: Record<string, number> = {};
  if (BARE) return drops;
  for (const agent of site.agents()) {
    for (const [name, count] of Object.entries(dropsOf(await agent.status()))) {
      drops[`${agent.launch.vm}.${name}`] = count;
    }
  }
  return drops;
}

function difference(before: Readonly<Record<string, number>>, after: Record<string, number>) {
  const moved = Object.entries(after)
    .map(([name, count]) => [name, count - (before[name] ?? 0)] as const)
    .filter(([, count]) => count !== 0);
  return Object.fromEntries(moved);
}
