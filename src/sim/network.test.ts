import { expect, test } from "bun:test";
import type { Fault } from "./fault.ts";
import { Network } from "./network.ts";

const base: Omit<Fault, "kind"> = {
  ...{ fromMs: 100, untilMs: 200, participants: [0, 1], share: 1, ms: 1000 },
};
const AT_PLAY = 150;

/** How often 0 → 1, 0 → 2, 2 → 0 and 2 → 3 arrive. */
const cases = [
  { kind: "partition", copies: [1, 0, 0, 1] },
  { kind: "one-way", copies: [1, 0, 1, 1] },
  { kind: "loss", copies: [0, 0, 0, 1] },
  { kind: "duplicate", copies: [2, 2, 2, 1] },
  { kind: "slow", copies: [1, 1, 1, 1] },
  { kind: "crash", copies: [1, 1, 1, 1] },
] as const;
const LINKS = [
  [0, 1],
  [0, 2],
  [2, 0],
  [2, 3],
] as const;

test.each([...cases])("$kind lets through what it may", ({ kind, copies }) => {
  const counted: string[] = [];
  const network = new Network(1, [{ ...base, kind }], (hit) => counted.push(hit));
  const arrive = (ms: number) => LINKS.map(([from, to]) => network.delays(ms, from, to).length);
  expect(arrive(AT_PLAY)).toEqual([...copies]);
  expect(counted.length > 0).toBe(kind !== "crash");
  expect(arrive(base.untilMs)).toEqual([1, 1, 1, 1]);
});

test("slow and reordered messages take longer, all others a few milliseconds", () => {
  const slow = new Network(1, [{ ...base, kind: "slow" }], () => {});
  expect(slow.delays(AT_PLAY, 0, 2)[0]).toBeGreaterThanOrEqual(1000);
  expect(slow.delays(AT_PLAY, 2, 3)[0]).toBeLessThan(20);
  const reorder = new Network(1, [{ ...base, kind: "reorder" }], () => {});
  const delays = Array.from({ length: 50 }, () => reorder.delays(AT_PLAY, 0, 2)[0] ?? 0);
  expect(delays).not.toEqual(delays.toSorted((a, b) => a - b));
});
