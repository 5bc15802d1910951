/** The hold queue against arrays; bounds; order; half-open counts and token buckets beside it. */
import { expect, test } from "bun:test";
import { Prng, seed } from "../../test/prng.ts";
import { HalfOpen } from "./half-open.ts";
import { HOLD_FULL, HOLD_OK, HOLD_PEER_FULL, HoldQueue } from "./hold-queue.ts";
import { TokenBuckets } from "./token-bucket.ts";

interface Held {
  owner: number;
  peer: number;
  handle: number;
  since: number;
}

function taken(queue: HoldQueue): Held & { rest: number[] } {
  const { owner, peer, handle, sinceUs, offset, length, context } = queue;
  return { owner, peer, handle, since: sinceUs, rest: [offset, length, context] };
}

test(`agrees with one array in the order of time (SEED=${seed})`, () => {
  const random = new Prng(seed);
  const queue = new HoldQueue(40, 6, 4, 15, 100);
  let oracle: Held[] = [];
  let now = 0;
  for (let turn = 0; turn < 100_000; turn++) {
    now += random.below(4);
    const owner = random.below(6);
    const peer = owner % 4;
    const pick = random.below(10);
    if (pick < 6) {
      const handle = random.u32();
      const result = queue.put(owner, peer, handle, handle ^ 1, handle ^ 2, handle ^ 3, now);
      const ofPeer = oracle.filter((held) => held.peer === peer).length;
      if (oracle.length === 40) expect(result).toBe(HOLD_FULL);
      else if (ofPeer === 15) expect(result).toBe(HOLD_PEER_FULL);
      else {
        expect(result).toBe(HOLD_OK);
        oracle.push({ owner, peer, handle, since: now });
      }
    } else if (pick < 9) {
      const expected = oracle.find((held) => held.owner === owner);
      expect(queue.takeOne(owner)).toBe(expected !== undefined);
      if (expected !== undefined) check(queue, expected);
      oracle = oracle.filter((held) => held !== expected);
    } else {
      const expected = oracle[0];
      const due = expected !== undefined && now - expected.since >= 100;
      expect(queue.nextExpiryUs()).toBe(expected === undefined ? Infinity : expected.since + 100);
      expect(queue.expireOne(now)).toBe(due);
      if (due) {
        check(queue, expected);
        oracle.shift();
      }
    }
    expect(queue.count).toBe(oracle.length);
    expect(queue.countOf(owner)).toBe(oracle.filter((held) => held.owner === owner).length);
    expect(queue.countOfPeer(peer)).toBe(oracle.filter((held) => held.peer === peer).length);
  }
});

function check(queue: HoldQueue, held: Held): void {
  const rest = [held.handle ^ 1, held.handle ^ 2, held.handle ^ 3].map((value) => value >>> 0);
  expect(taken(queue)).toEqual({ ...held, rest });
}

test("numbers out of range are refused as full, never written beside", () => {
  const queue = new HoldQueue(4, 2, 2);
  expect(queue.put(2, 0, 1, 1, 1, 0, 0)).toBe(HOLD_FULL);
  expect(queue.put(-1, 0, 1, 1, 1, 0, 0)).toBe(HOLD_FULL);
  expect(queue.put(0, 2, 1, 1, 1, 0, 0)).toBe(HOLD_PEER_FULL);
  expect(queue.put(0, -1, 1, 1, 1, 0, 0)).toBe(HOLD_PEER_FULL);
  expect(queue.takeOne(2)).toBe(false);
  expect(queue.takeOne(-1)).toBe(false);
  expect(queue.count).toBe(0);
  // A quarter of the capacity is one peer's share: docs/wire.md "HANDSHAKE".
  expect(queue.put(0, 0, 1, 1, 1, 0, 0)).toBe(HOLD_OK);
  expect(queue.put(1, 0, 1, 1, 1, 0, 0)).toBe(HOLD_PEER_FULL);
  expect(queue.put(1, 1, 1, 1, 1, 0, 0)).toBe(HOLD_OK);
});

test("a packet expires at holdUs, not one microsecond before", () => {
  const queue = new HoldQueue(4, 1, 1);
  queue.put(0, 0, 5, 0, 0, 0, 1000);
  expect(queue.expireOne(5_000_999)).toBe(false);
  expect(queue.expireOne(5_001_000)).toBe(true);
  expect(queue.handle).toBe(5);
  expect(queue.expireOne(Infinity)).toBe(false);
});

test("half-open flows: the limit is a peer's own, unknown peers have none", () => {
  const halfOpen = new HalfOpen(2, 3);
  for (let i = 0; i < 3; i++) expect(halfOpen.enter(0)).toBe(true);
  expect(halfOpen.isFull(0)).toBe(true);
  expect(halfOpen.enter(0)).toBe(false);
  expect(halfOpen.count(0)).toBe(3);
  expect(halfOpen.enter(1)).toBe(true);
  halfOpen.leave(0);
  expect(halfOpen.isFull(0)).toBe(false);
  halfOpen.leave(1);
  halfOpen.leave(1); // never below zero
  expect(halfOpen.count(1)).toBe(0);
  for (const peer of [-1, 2, Number.NaN]) {
    expect(halfOpen.enter(peer)).toBe(false);
    halfOpen.leave(peer);
  }
});

test("a bucket gives its depth at once, then one token an interval", () => {
  const buckets = new TokenBuckets(4, 10, 3);
  let now = 1e12;
  for (let round = 0; round < 3; round++) {
    expect([0, 1, 2, 3].map(() => buckets.take(1, now))).toEqual([true, true, true, false]);
    expect(buckets.take(2, now)).toBe(true); // another key
    expect(buckets.take(1, now + 99_000 - 50_000)).toBe(false);
    expect(buckets.take(1, now + 100_000)).toBe(true);
    expect(buckets.take(1, now + 100_000)).toBe(false);
    now += 3_600_000_000;
  }
  expect(buckets.take(5, now)).toBe(true);
  expect(buckets.take(-3, now)).toBe(true); // 2^32 - 3 is 1 modulo 4, as 5 is
  expect(buckets.take(1, now)).toBe(true);
  expect(buckets.take(9, now)).toBe(false);
});

test(`over any time a bucket gives no more than depth + rate × time (SEED=${seed})`, () => {
  const random = new Prng(seed);
  const buckets = new TokenBuckets(1, 1000, 20);
  let now = 0;
  let given = 0;
  for (let turn = 0; turn < 20_000; turn++) {
    now += random.below(1500);
    if (buckets.take(0, now)) given++;
    expect(given).toBeLessThanOrEqual(20 + now / 1000 + 1);
  }
  expect(given).toBeGreaterThan((now / 1000) * 0.9);
});
