/** Queue and rate: what a peer can make this side hold, and how fast it is read. */
import { expect, test } from "bun:test";
import { RateLimit } from "./rate-limit.ts";
import { SendQueue } from "./send-queue.ts";

const frame = (type: number, sizeBytes = 0) => ({ flag: 1, type, body: new Uint8Array(sizeBytes) });

test("beyond its count the oldest frames leave", () => {
  const queue = new SendQueue({ framesMax: 2, bytesMax: 1000 });
  for (const type of [1, 2, 3]) queue.push(frame(type));
  expect(queue.take(1000).map(({ type }) => type)).toEqual([2, 3]);
  expect([queue.take(1000), queue.lost]).toEqual([[], 1]);
});

test("beyond its bytes too, headers counted", () => {
  const queue = new SendQueue({ framesMax: 10, bytesMax: 100 });
  queue.push(frame(1, 44));
  queue.push(frame(2, 44));
  expect(queue.length).toBe(2);
  queue.push(frame(3, 1));
  expect([queue.length, queue.lost, queue.take(0)[0]?.type]).toEqual([2, 1, 2]);
});

test("what fits leaves together, and one frame at least", () => {
  const queue = new SendQueue({ framesMax: 10, bytesMax: 1000 });
  for (const [type, sizeBytes] of [1, 14, 300, 14].entries()) queue.push(frame(type, sizeBytes));
  const taken = [27, 100, 100].map((bytesMax) => queue.take(bytesMax).map(({ type }) => type));
  expect(taken).toEqual([[0, 1], [2], [3]]);
});

test("a burst is free, debt is paid by waiting, and time earns no more than the burst", () => {
  const limit = new RateLimit({ perSecond: 1000, burst: 100 }, 0);
  expect(limit.take(100, 0)).toBe(0);
  expect(limit.take(50, 0)).toBe(50);
  expect(limit.take(0, 50)).toBe(0);
  expect(limit.take(100, 1_000_000)).toBe(0);
  expect(limit.take(1, 1_000_000)).toBe(1);
  // A clock that steps back earns nothing.
  expect(limit.take(1, 0)).toBe(2);
});
