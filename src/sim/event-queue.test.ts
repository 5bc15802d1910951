import { expect, test } from "bun:test";
import { EventQueue } from "./event-queue.ts";
import { Prng } from "./prng.ts";

test("events come out by time, equal times in the order they went in", () => {
  const prng = new Prng(7);
  const queue = new EventQueue<{ time: number; order: number }>();
  const put: { time: number; order: number }[] = [];
  const out: { time: number; order: number }[] = [];
  for (let order = 0; order < 2000; order++) {
    const event = { time: prng.below(50), order };
    queue.add(event.time, event);
    put.push(event);
  }
  for (let event = queue.take(); event !== undefined; event = queue.take()) out.push(event);
  expect(out).toEqual(put.toSorted((a, b) => a.time - b.time || a.order - b.order));
  expect([queue.size, queue.nextTime]).toEqual([0, Number.POSITIVE_INFINITY]);
});

test("the same seed gives the same numbers, another seed others", () => {
  const numbers = (seed: number) => Array.from({ length: 8 }, Prng.prototype.u32, new Prng(seed));
  expect(numbers(1)).toEqual(numbers(1));
  expect(numbers(1)).not.toEqual(numbers(2));
});
