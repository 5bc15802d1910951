/**
 * Anything at any time: loss, restarts, snapshots, clocks, load, contracts and peers that change,
 * replays of all that was ever sent. Whatever happened, once the network is calm for a while
 * traffic flows both ways, loses nothing, and no table is larger than it should be.
 */
import { expect, setDefaultTimeout, test } from "bun:test";
import { TENANT_TAG } from "../../src/units.ts";
import { type Prng, seed } from "../prng.ts";
import { APP1, contractOf, type Pair, PEER, pairOf, SECOND_SC_ID, secretOf } from "./setup.ts";
import type { SimulatedAgent } from "./simulated-agent.ts";

const TURNS = 60;
/** Old sessions of four bindings rest beside new ones; 31 is the most that 80 runs had. */
const CHAOS_SESSIONS_MAX = 64;
/** A live one and one that retires, for each binding. */
const CALM_SESSIONS_MAX = 8;
const RUNS = Number(process.env["RUNS"] ?? 12);

setDefaultTimeout(60_000);

const CONTRACTS = [
  contractOf({ busytime: 40, idletime: 12 }),
  contractOf({ "sc-id": SECOND_SC_ID, busytime: 25, idletime: 30 }, [secretOf(2), secretOf(3, 2)]),
];

/** Makes an agent as it should be: running, with all contracts and peers. */
function mend(agent: SimulatedAgent): void {
  agent.isRunning = true;
  agent.step({ type: "contracts", contracts: CONTRACTS });
  agent.step({ type: "peers", ...agent.setup.config });
}

function disturb(agent: SimulatedAgent, prng: Prng): void {
  const ways = [
    () => agent.restart(),
    () => agent.step({ type: "forget-all" }),
    () => {
      agent.clockOffset = (prng.below(7200) - 3600) * 1000;
    },
    () => {
      agent.isUnderLoad = prng.oneIn(2);
    },
    () => {
      agent.isRunning = false;
    },
    () => agent.step({ type: "contracts", contracts: CONTRACTS.slice(prng.below(2)) }),
    () => agent.step({ type: "contracts", contracts: CONTRACTS.slice(0, prng.below(2)) }),
    () => agent.step({ type: "peers", ...agent.setup.config, peers: [] }),
  ];
  const way = ways[prng.below(2 * ways.length)];
  if (way === undefined) mend(agent);
  else way();
}

/** Replays some message of the past to the agent, and checks its tables. */
function attack({ network }: Pair, agent: SimulatedAgent): void {
  const past = network.handshakes;
  const old = past[network.prng.below(Math.max(1, past.length))];
  if (old !== undefined) agent.receiveHandshake(old.message, old.from.setup.address);
  expect(agent.sessions.list().length).toBeLessThanOrEqual(CHAOS_SESSIONS_MAX);
  expect(agent.sessions.pendingCount).toBeLessThanOrEqual(2);
}

function chaos(from: number): void {
  const open = { hasAllowedFlow: () => true };
  const pair = pairOf(from, { contracts: CONTRACTS, a: open, b: open });
  const { network, a, b } = pair;
  const { prng } = network;
  let payload = 0;
  const talk = () => {
    if (prng.oneIn(3)) a.send(PEER, APP1, 0, ++payload);
    if (prng.oneIn(3)) b.send(PEER, APP1, 1, ++payload);
    for (const agent of [a, b]) if (prng.oneIn(5)) agent.send(PEER, TENANT_TAG, 0, ++payload);
  };
  for (let turn = 0; turn < TURNS; turn++) {
    const [loss, duplicates] = [prng.below(40) / 100, prng.below(20) / 100];
    network.weather = { loss, duplicates, delay: [100, 200 + prng.below(300_000)] };
    disturb(prng.oneIn(2) ? a : b, prng);
    for (const agent of [a, b]) attack(pair, agent);
    network.run(prng.below(8), talk);
  }
  network.weather = { loss: 0, duplicates: 0, delay: [100, 5_000] };
  for (const agent of [a, b]) {
    mend(agent);
    agent.isUnderLoad = false;
  }
  // Long enough for silence to be noticed (15 s) and a handshake that was under way to end.
  network.run(41, talk);
  const calm = payload;
  for (const agent of [a, b]) agent.delivered.length = 0;
  network.run(120, talk);
  network.run(1);
  const arrived = new Set([...a.delivered, ...b.delivered]);
  const missing = [...Array(payload - calm).keys()].filter((i) => !arrived.has(calm + 1 + i));
  expect(missing).toEqual([]);
  for (const agent of [a, b]) {
    expect(agent.sessions.list().length).toBeLessThanOrEqual(CALM_SESSIONS_MAX);
  }
}

test.each(Array.from({ length: RUNS }, (_, i) => seed + i))("chaos, then calm (SEED=%i)", chaos);
