/**
 * The life of sessions between two agents over a simulated network: an hour in a moment.
 * docs/wire.md "HANDSHAKE", "Lifetimes". Replay a failure with SEED.
 */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { TENANT_TAG } from "../../src/units.ts";
import { seed } from "../prng.ts";
import { APP1, contractOf, type Pair, PEER, pairOf } from "./setup.ts";

/** Payload numbers that all differ. */
function counter(): () => number {
  let payload = 0;
  return () => ++payload;
}

function sorted(numbers: readonly number[]): number[] {
  return [...numbers].sort((left, right) => left - right);
}

function upTo(last: number): number[] {
  return Array.from({ length: last }, (_, i) => i + 1);
}

/** Both applications talk: a in role 0, b answers in role 1, at every tick one packet each way. */
function talk({ a, b }: Pair, next: () => number) {
  return () => {
    a.send(PEER, APP1, 0, next());
    if (b.delivered.length > 0) b.send(PEER, APP1, 1, next());
  };
}

function closesOf(pair: Pair): string[] {
  return [...pair.a.outputsOf("close"), ...pair.b.outputsOf("close")].map(({ reason }) => reason);
}

/** A simulated hour takes a second, more when the machine is busy. */
setDefaultTimeout(60_000);

describe(`SEED=${seed}`, () => {
  test("the first packet arrives after one handshake, with a cookie at first contact", () => {
    const pair = pairOf(seed);
    pair.a.send(PEER, APP1, 0, 1);
    pair.network.run(0.1);
    expect(pair.b.delivered).toEqual([1]);
    // Initiation, cookie reply, initiation with mac2, response.
    expect(pair.network.handshakes.map(({ message }) => message.length)).toEqual([
      237, 64, 237, 189,
    ]);
    pair.b.send(PEER, APP1, 1, 2);
    pair.network.run(0.1);
    expect(pair.a.delivered).toEqual([2]);
    expect(pair.a.sessions.list().map(({ initiator, role }) => [initiator, role])).toEqual([
      [true, 0],
    ]);
  });

  test("packets that wait for a session leave in order", () => {
    const { network, a, b } = pairOf(seed);
    network.weather.delay = [20_000, 20_000];
    for (let i = 1; i <= 20; i++) a.send(PEER, APP1, 0, i);
    network.run(1);
    expect(b.delivered).toEqual(upTo(20));
  });

  test("an hour of traffic: renegotiated, nothing lost, nothing left behind", () => {
    const pair = pairOf(seed);
    const next = counter();
    pair.network.weather = { loss: 0, duplicates: 0, delay: [100, 30_000] };
    pair.network.run(3600, talk(pair, next));
    // The last renegotiation may have been a moment ago: what it replaced receives for 5 s more.
    pair.network.run(7);
    // Or it came in these 7 s; then the next one is 480 s away.
    if (pair.a.sessions.list().length > 1) pair.network.run(7);
    const last = next() - 1;
    expect(sorted([...pair.a.delivered, ...pair.b.delivered])).toEqual(upTo(last));
    const installs = pair.a.outputsOf("install").length;
    // Every 480 to 540 s of the 600 s of busytime.
    expect(installs).toBeGreaterThanOrEqual(7);
    expect(installs).toBeLessThanOrEqual(8);
    expect(new Set(closesOf(pair))).toEqual(new Set(["replaced"]));
    // Only the initiator renegotiates: the responder never asked in role 1.
    expect(pair.a.sessions.refusals.get("role")).toBe(0);
    expect(pair.a.dropped + pair.b.dropped).toBe(0);
    expect(pair.a.sessions.list().length).toBe(1);
    expect(pair.b.sessions.list().length).toBe(1);
  });

  test("an hour of loss, doubles and reordering: only what the network took is missing", () => {
    const pair = pairOf(seed);
    const next = counter();
    pair.network.weather = { loss: 0.1, duplicates: 0.05, delay: [100, 80_000] };
    pair.network.run(3600, talk(pair, next));
    pair.network.weather.loss = 0;
    pair.network.run(1);
    const last = next() - 1;
    const delivered = new Set([...pair.a.delivered, ...pair.b.delivered]);
    const missing = last - delivered.size;
    expect(pair.a.unknownIndices + pair.b.unknownIndices).toBe(0);
    expect(pair.a.dropped + pair.b.dropped).toBe(0);
    expect(missing).toBe(pair.network.lostPayloads);
  });

  test("simultaneous initiation: both sessions work, through renegotiations", () => {
    const pair = pairOf(seed);
    const next = counter();
    pair.network.weather.delay = [500, 5_000];
    pair.network.run(2400, () => {
      pair.a.send(PEER, TENANT_TAG, 0, next());
      pair.b.send(PEER, TENANT_TAG, 0, next());
    });
    pair.network.run(1);
    const last = next() - 1;
    expect(sorted([...pair.a.delivered, ...pair.b.delivered])).toEqual(upTo(last));
    expect(pair.a.unknownIndices + pair.b.unknownIndices).toBe(0);
    expect(pair.a.sessions.list().length).toBeLessThanOrEqual(4);
  });

  test("a busy lifetime of ten seconds with loss of handshakes loses no payload", () => {
    const pair = pairOf(seed, { contracts: [contractOf({ busytime: 10, idletime: 5 })] });
    const next = counter();
    pair.network.weather.delay = [100, 3_000];
    pair.network.run(300, talk(pair, next));
    pair.network.run(1);
    expect(sorted([...pair.a.delivered, ...pair.b.delivered])).toEqual(upTo(next() - 1));
    expect(pair.a.outputsOf("install").length).toBeGreaterThan(30);
  });
});

describe(`idle and dead (SEED=${seed})`, () => {
  test("a session without traffic closes at idletime, and comes again when needed", () => {
    const pair = pairOf(seed);
    pair.a.send(PEER, APP1, 0, 1);
    pair.network.run(170);
    expect(pair.a.sessions.list().length).toBe(1);
    pair.network.run(30);
    expect(pair.a.sessions.list().length).toBe(0);
    expect(pair.b.sessions.list().length).toBe(0);
    expect(closesOf(pair)).toEqual(["idle", "idle"]);
    pair.a.send(PEER, APP1, 0, 2);
    pair.network.run(1);
    expect(pair.b.delivered).toEqual([1, 2]);
  });

  test("keep-alives are not traffic: with them alone the session still closes", () => {
    const pair = pairOf(seed, { contracts: [contractOf({ idletime: 60 })] });
    pair.a.send(PEER, APP1, 0, 1);
    pair.network.run(70);
    expect(pair.b.outputsOf("keepalive").length).toBeLessThanOrEqual(2);
    expect(pair.a.sessions.list().length + pair.b.sessions.list().length).toBe(0);
  });

  test("an idletime beyond busytime does not keep an unused session alive for ever", () => {
    const pair = pairOf(seed, { contracts: [contractOf({ busytime: 100, idletime: 250 })] });
    pair.a.send(PEER, APP1, 0, 1);
    pair.network.run(200);
    expect(pair.a.sessions.list().length).toBe(1);
    pair.network.run(100);
    expect(pair.a.sessions.list().length).toBe(0);
    expect(pair.b.sessions.list().length).toBe(0);
  });

  test("a packet at the last moment keeps the session on both sides", () => {
    for (let offset = 178_000; offset <= 182_000; offset += 250) {
      const pair = pairOf(seed + offset, { b: { hasAllowedFlow: () => true } });
      const { network, a, b } = pair;
      network.weather.delay = [40_000, 40_000];
      a.send(PEER, APP1, 0, 1);
      network.run(1);
      network.run(offset / 1000 - 1);
      const isOpen = a.sessions.list().length > 0;
      a.send(PEER, APP1, 0, 2);
      network.run(3);
      expect([offset, isOpen, b.delivered]).toEqual([offset, isOpen, [1, 2]]);
      a.send(PEER, APP1, 0, 3);
      network.run(10);
      expect([offset, b.delivered]).toEqual([offset, [1, 2, 3]]);
    }
  });

  test("one-way traffic: the receiver keeps the sender from thinking it is dead", () => {
    const pair = pairOf(seed);
    const next = counter();
    pair.network.run(120, () => pair.a.send(PEER, APP1, 0, next()));
    expect(pair.a.outputsOf("install").length).toBe(1);
    expect(pair.b.outputsOf("keepalive").length).toBeGreaterThanOrEqual(10);
  });

  test("a peer that is silent for 15 s gets a new handshake, and its session is kept", () => {
    const pair = pairOf(seed);
    const next = counter();
    pair.network.run(3, () => pair.a.send(PEER, APP1, 0, next()));
    pair.b.isRunning = false;
    const before = pair.network.handshakes.length;
    pair.network.run(10, () => pair.a.send(PEER, APP1, 0, next()));
    expect(pair.network.handshakes.length).toBe(before);
    pair.network.run(30, () => pair.a.send(PEER, APP1, 0, next()));
    expect(pair.network.handshakes.length).toBeGreaterThan(before);
    expect(pair.a.sessions.list().length).toBe(1);
    pair.b.isRunning = true;
    pair.network.run(15, () => pair.a.send(PEER, APP1, 0, next()));
    expect(pair.b.delivered).toContain(next() - 2);
  });

  test("nobody there: the packet is dropped and counted after 5 s and five attempts", () => {
    const pair = pairOf(seed);
    pair.b.isRunning = false;
    pair.a.send(PEER, APP1, 0, 1);
    pair.network.run(4.9);
    expect(pair.a.dropped).toBe(0);
    pair.network.run(0.2);
    expect(pair.a.dropped).toBe(1);
    expect(pair.network.handshakes.length).toBe(5);
    expect(pair.a.outputsOf("failed").map(({ reason }) => reason)).toEqual(["no-answer"]);
    expect(pair.a.sessions.pendingCount).toBe(0);
  });
});
