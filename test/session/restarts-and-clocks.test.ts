/**
 * Restarts, snapshots and clocks: docs/wire.md "Time stamps", "A starting agent", "Dead peers".
 * Whatever a clock says, and whoever starts again, two honest agents find each other.
 */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import type { Micros } from "../../src/units.ts";
import { seed } from "../prng.ts";
import { APP1, contractOf, type Pair, PEER, pairOf } from "./setup.ts";

setDefaultTimeout(60_000);

const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;

function counter(): () => number {
  let payload = 0;
  return () => ++payload;
}

/** Sends from a to b for a while and tells which of the payloads arrived. */
function arrivals(
  pair: Pair,
  seconds: number,
  next: () => number,
): { first: number; all: boolean } {
  const from = pair.b.delivered.length;
  const begin = next();
  pair.a.send(PEER, APP1, 0, begin);
  let last = begin;
  pair.network.run(seconds, () => {
    last = next();
    pair.a.send(PEER, APP1, 0, last);
  });
  pair.network.run(0.2);
  const seen = pair.b.delivered.slice(from).sort((left, right) => left - right);
  return { first: seen[0] ?? 0, all: seen.length === last - begin + 1 };
}

describe(`SEED=${seed}`, () => {
  test("the initiator starts again: its new handshake ends the old sessions of the peer", () => {
    const pair = pairOf(seed);
    const next = counter();
    arrivals(pair, 3, next);
    const [old] = pair.b.sessions.list();
    pair.a.restart();
    expect(arrivals(pair, 3, next).all).toBe(true);
    expect(pair.b.sessions.list().length).toBe(1);
    expect(pair.b.sessions.list()[0]?.receiverIndex).not.toBe(old?.receiverIndex);
    expect(pair.b.outputsOf("close").map(({ reason }) => reason)).toContain("peer-restarted");
  });

  test("one starts again right after the other had made a session: its mark ends that one too", () => {
    const pair = pairOf(seed);
    const next = counter();
    arrivals(pair, 3, next);
    pair.b.send(PEER, APP1, 0, next());
    pair.network.run(0.2);
    pair.a.restart();
    arrivals(pair, 0.2, next);
    const from = pair.a.delivered.length;
    const after = next();
    pair.b.send(PEER, APP1, 0, after);
    pair.network.run(0.2);
    expect(pair.a.delivered.slice(from)).toEqual([after]);
  });

  test("the responder starts again and handshakes at once: traffic goes on within 2 s", () => {
    const pair = pairOf(seed, { a: { hasAllowedFlow: () => true } });
    const next = counter();
    arrivals(pair, 3, next);
    const bindings = pair.b.sessions.list().map(({ peer, tag, role }) => ({ peer, tag, role }));
    expect(bindings).toEqual([{ peer: PEER, tag: APP1, role: 1 }]);
    pair.b.restart();
    for (const binding of bindings) pair.b.step({ type: "need", ...binding });
    pair.network.run(2);
    expect(arrivals(pair, 3, next).all).toBe(true);
    expect(pair.a.outputsOf("close").map(({ reason }) => reason)).toContain("peer-restarted");
  });

  test("the responder starts again and says nothing: the initiator notices by the silence", () => {
    const pair = pairOf(seed);
    const next = counter();
    arrivals(pair, 3, next);
    pair.b.restart();
    expect(arrivals(pair, 17, next).all).toBe(false);
    expect(arrivals(pair, 3, next).all).toBe(true);
  });

  test("the hint that an index is unknown makes it quicker", () => {
    const pair = pairOf(seed);
    pair.b.answersHints = true;
    const next = counter();
    arrivals(pair, 3, next);
    pair.b.restart();
    arrivals(pair, 1, next);
    expect(arrivals(pair, 3, next).all).toBe(true);
  });

  test("both start again at once", () => {
    const pair = pairOf(seed);
    const next = counter();
    arrivals(pair, 3, next);
    pair.a.restart();
    pair.b.restart();
    expect(arrivals(pair, 3, next).all).toBe(true);
  });

  test("several applications at start: the mark of one handshake does not end the others", () => {
    const entitled = [1, 2] as unknown as (typeof APP1)[];
    const pair = pairOf(seed);
    const peers = pair.b.setup.config.peers.map((peer) => ({ ...peer, entitledTags: entitled }));
    pair.b.step({ type: "peers", peers, tags: pair.b.setup.config.tags });
    for (let turn = 0; turn < 5; turn++) {
      pair.network.weather = { loss: turn === 0 ? 0 : 0.3, duplicates: 0.2, delay: [100, 20_000] };
      for (const tag of [0, 1, 2] as (typeof APP1)[]) pair.a.send(PEER, tag, 0, 1000 + tag);
      pair.network.run(12);
      pair.network.weather = { loss: 0, duplicates: 0, delay: [100, 100] };
      const from = pair.b.delivered.length;
      for (const tag of [0, 1, 2] as (typeof APP1)[]) pair.a.send(PEER, tag, 0, tag + 1);
      pair.network.run(1);
      expect(pair.b.delivered.slice(from).sort()).toEqual([1, 2, 3]);
      pair.a.restart();
    }
  });
});

describe("clocks never lock a host out", () => {
  test("the sender's clock is set back a day while it runs", () => {
    const pair = pairOf(seed, { contracts: [contractOf({ busytime: 20 })] });
    const next = counter();
    arrivals(pair, 3, next);
    pair.a.clockOffset = -DAY_MS;
    expect(arrivals(pair, 60, next).all).toBe(true);
  });

  test("the sender's clock is set back a day while it is down", () => {
    const pair = pairOf(seed);
    const next = counter();
    arrivals(pair, 3, next);
    pair.a.clockOffset = -DAY_MS;
    pair.a.restart();
    expect(arrivals(pair, 3, next).all).toBe(true);
    expect(pair.b.sessions.refusals.get("stamp")).toBe(0);
  });

  test("clocks an hour apart, either way", () => {
    for (const offset of [HOUR_MS, -HOUR_MS]) {
      const pair = pairOf(seed, { contracts: [contractOf({ busytime: 20 })] });
      pair.a.clockOffset = offset;
      expect(arrivals(pair, 60, counter()).all).toBe(true);
    }
  });

  test("a lost disk and a clock set back: a reset of the stamp or a restart mends it", () => {
    const pair = pairOf(seed);
    const next = counter();
    arrivals(pair, 3, next);
    pair.a.clockOffset = -DAY_MS;
    pair.a.restart(false);
    expect(arrivals(pair, 3, next).all).toBe(false);
    expect(pair.b.sessions.refusals.get("stamp")).toBeGreaterThan(0);
    pair.b.step({ type: "reset-stamp", peer: PEER });
    expect(arrivals(pair, 3, next).first).toBeGreaterThan(0);
    pair.a.clockOffset = -2 * DAY_MS;
    pair.a.restart(false);
    pair.b.restart();
    expect(arrivals(pair, 3, next).all).toBe(true);
  });

  test("stamps are saved before they are sent, and rarely", () => {
    const pair = pairOf(seed, { contracts: [contractOf({ busytime: 10 })] });
    arrivals(pair, 100, counter());
    const sends = pair.a.outputsOf("send").length;
    expect(pair.a.outputsOf("persist-stamp").length).toBeLessThan(sends);
    const types = pair.a.outputs.map(({ type }) => type);
    expect(types.indexOf("persist-stamp")).toBeLessThan(types.indexOf("send"));
  });
});

describe("a virtual machine resumed from a snapshot", () => {
  test("forgets every session, and finds its peers again", () => {
    const pair = pairOf(seed);
    const next = counter();
    arrivals(pair, 3, next);
    const before = pair.a.sessions.list().map(({ receiverIndex }) => receiverIndex);
    pair.a.step({ type: "forget-all" });
    expect(pair.a.outputsOf("close").map(({ reason }) => reason)).toEqual(["forgotten"]);
    expect(pair.a.sessions.list()).toEqual([]);
    expect(arrivals(pair, 3, next).all).toBe(true);
    const after = pair.a.sessions.list().map(({ receiverIndex }) => receiverIndex);
    expect(after).not.toEqual(before);
    expect(pair.b.sessions.list().length).toBe(1);
  });

  test("a handshake under way is given up, and what waits for it is told", () => {
    const pair = pairOf(seed);
    pair.b.isRunning = false;
    pair.a.send(PEER, APP1, 0, 1);
    pair.a.step({ type: "forget-all" });
    expect(pair.a.dropped).toBe(1);
    expect(pair.a.sessions.pendingCount).toBe(0);
  });
});

test("an activity report that comes after its session is closed changes nothing", () => {
  const pair = pairOf(seed);
  arrivals(pair, 1, counter());
  const [session] = pair.a.sessions.list();
  if (session === undefined) throw new Error("a session was expected");
  pair.a.step({ type: "forget-all" });
  const now = pair.network.now;
  const { slot } = session;
  const never = 0 as Micros;
  expect(pair.a.step({ type: "confirmed", slot })).toEqual([]);
  expect(
    pair.a.step({
      type: "activity",
      slot,
      lastSent: now,
      lastReceived: never,
      lastHeard: never,
      packetsSent: 1,
    }),
  ).toEqual([]);
});
