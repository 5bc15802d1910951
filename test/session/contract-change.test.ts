/**
 * Changes of contracts as a ledger brings them: one side hears before the other, or never, or has
 * not been given the new secret. docs/wire.md "Lifetimes": nothing is lost. Time is simulated.
 */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import type { Contract } from "../../src/session/contract.ts";
import type { EpochSeconds } from "../../src/units.ts";
import { seed } from "../prng.ts";
import { APP1, contractOf, type Pair, PEER, pairOf, SECOND_SC_ID, secretOf } from "./setup.ts";
import type { SimulatedAgent } from "./simulated-agent.ts";
import { START_WALL } from "./simulated-network.ts";

setDefaultTimeout(60_000);

const first = contractOf();
const second = contractOf({ "sc-id": SECOND_SC_ID });
const over = contractOf({ active: false });

/** Traffic both ways at every tick; true when all of it arrived. */
function flows(pair: Pair, seconds: number): boolean {
  const { a, b } = pair;
  const from = [a.delivered.length, b.delivered.length];
  let sent = 0;
  pair.network.run(seconds, () => {
    sent++;
    a.send(PEER, APP1, 0, sent);
    b.send(PEER, APP1, 1, sent);
  });
  pair.network.run(0.1);
  return [a, b].every(({ delivered }, i) => delivered.length - (from[i] ?? 0) === sent);
}

function hear(agent: SimulatedAgent, ...contracts: readonly Contract[]): void {
  agent.step({ type: "contracts", contracts });
}

/** Contracts and generations that the agent's live sessions are under. */
function usesOf(agent: SimulatedAgent): string[] {
  const uses = agent.sessions
    .list()
    .filter(({ phase }) => phase === "live")
    .flatMap(({ myUse, peerUse }) => [myUse, peerUse])
    .map(({ contract, generation }) => `${contract.scId.slice(0, 1)}${generation.generation}`);
  return [...new Set(uses)].sort();
}

function opened(contracts: readonly Contract[]): Pair {
  const pair = pairOf(seed, {
    contracts: [...contracts],
    a: { hasAllowedFlow: () => true },
    b: { hasAllowedFlow: () => true },
  });
  pair.a.send(PEER, APP1, 0, 0);
  pair.network.run(0.5);
  expect(flows(pair, 2)).toBe(true);
  return pair;
}

describe("a contract that is made inactive", () => {
  test.each([0, 0.3, 2, 4])("the responder hears of it %d s before the initiator", (seconds) => {
    const pair = opened([first]);
    for (const agent of [pair.a, pair.b]) hear(agent, first, second);
    hear(pair.b, over, second);
    expect(flows(pair, seconds)).toBe(true);
    hear(pair.a, over, second);
    expect(flows(pair, 20)).toBe(true);
    expect(usesOf(pair.a)).toEqual(["b1"]);
  });

  test.each([0.3, 4, 8])("the initiator hears of it %d s before the responder", (seconds) => {
    const pair = opened([first]);
    for (const agent of [pair.a, pair.b]) hear(agent, first, second);
    hear(pair.a, over, second);
    expect(flows(pair, seconds)).toBe(true);
    hear(pair.b, over, second);
    expect(flows(pair, 20)).toBe(true);
    expect(usesOf(pair.a)).toEqual(["b1"]);
  });

  test("an initiator that never hears of it is helped by the responder before the end", () => {
    const pair = opened([first]);
    for (const agent of [pair.a, pair.b]) hear(agent, first, second);
    hear(pair.b, over, second);
    const before = pair.network.handshakes.length;
    expect(flows(pair, 30)).toBe(true);
    expect(usesOf(pair.b)).toEqual(["b1"]);
    // One handshake, a second attempt perhaps; not one after the other until the old session ends.
    expect(pair.network.handshakes.length - before).toBeLessThanOrEqual(12);
    expect(pair.b.outputsOf("close").map(({ reason }) => reason)).toContain("contract-ended");
  });

  test("while a handshake is under way: its session moves on", () => {
    const pair = pairOf(seed, { contracts: [first] });
    pair.a.send(PEER, APP1, 0, 1);
    for (const agent of [pair.a, pair.b]) hear(agent, over, second);
    expect(flows(pair, 0)).toBe(true);
    pair.network.run(20);
    expect(pair.b.delivered).toContain(1);
    expect(usesOf(pair.a)).toEqual(["b1"]);
  });

  test("and active again in time: the session stays", () => {
    const pair = opened([first]);
    for (const agent of [pair.a, pair.b]) hear(agent, over);
    expect(flows(pair, 3)).toBe(true);
    for (const agent of [pair.a, pair.b]) hear(agent, first);
    expect(flows(pair, 30)).toBe(true);
    expect(usesOf(pair.a)).toEqual(["a1"]);
  });
});

describe("a new generation", () => {
  const endsAt = (START_WALL / 1000 + 600) as EpochSeconds;
  const both = contractOf({}, [{ ...secretOf(1), endsAt }, secretOf(2, 2)]);
  const lacking = contractOf({}, [{ ...secretOf(1), endsAt }]);

  test("that both have: sessions go to it within seconds", () => {
    const pair = opened([first]);
    hear(pair.b, both);
    expect(flows(pair, 0.5)).toBe(true);
    hear(pair.a, both);
    expect(flows(pair, 20)).toBe(true);
    expect(usesOf(pair.a)).toEqual(["a2"]);
  });

  test("that the responder has not got: the old one is used, and the new one once it has", () => {
    const pair = opened([first]);
    hear(pair.a, both);
    hear(pair.b, lacking);
    expect(flows(pair, 30)).toBe(true);
    expect(usesOf(pair.a)).toEqual(["a1"]);
    const handshakes = pair.a.outputsOf("install").length;
    expect(flows(pair, 20)).toBe(true);
    // It is not asked all the time.
    expect(pair.a.outputsOf("install").length).toBe(handshakes);
    hear(pair.b, both);
    expect(flows(pair, 70)).toBe(true);
    expect(usesOf(pair.a)).toEqual(["a2"]);
  });

  test("that the initiator has not got: its sessions begin all the same", () => {
    const pair = pairOf(seed, { contracts: [lacking] });
    hear(pair.b, both);
    pair.a.send(PEER, APP1, 0, 1);
    pair.network.run(5);
    expect(pair.b.delivered).toEqual([1]);
    expect(usesOf(pair.a)).toEqual(["a1"]);
  });

  test.each(["initiator", "responder"])("that the %s has lost again", (who) => {
    const pair = opened([first]);
    for (const agent of [pair.a, pair.b]) hear(agent, both);
    expect(flows(pair, 20)).toBe(true);
    expect(usesOf(pair.a)).toEqual(["a2"]);
    // As after a restart with an older file; the other one knows better.
    const loser = who === "initiator" ? pair.a : pair.b;
    hear(loser, lacking);
    pair.network.run(20);
    expect(flows(pair, 20)).toBe(true);
    expect(usesOf(loser)).toEqual(["a1"]);
  });

  test("that nobody else ever gets: sessions under the old one end with it", () => {
    const pair = opened([first]);
    hear(pair.a, both);
    hear(pair.b, lacking);
    expect(flows(pair, 560)).toBe(true);
    pair.network.run(60);
    expect(usesOf(pair.a)).toEqual([]);
  });
});
