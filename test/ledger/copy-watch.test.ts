/** A node that runs by itself notices that it may be a copy; what it does then is rule 8's. */
import { afterEach, expect, test } from "bun:test";
import { CopyWatch } from "../../src/node/copy-watch.ts";
import type { ClockReading } from "../../src/takeover/clone-detector.ts";

let watch: CopyWatch | undefined;
afterEach(() => watch?.close());

/** Clocks that a test moves, in seconds. */
function setUp() {
  const now: ClockReading = { monotonic: 1e6, boottime: 1e6, wall: 1.7e15 };
  const copies: string[] = [];
  watch = new CopyWatch({
    onCopy: (reason) => copies.push(reason),
    onDeaf: () => {},
    clocks: { boottime: () => now.boottime, read: (out) => Object.assign(out, now) },
  });
  const pass = (seconds: Partial<ClockReading>): void => {
    for (const name of ["monotonic", "boottime", "wall"] as const) {
      now[name] += (seconds[name] ?? 0) * 1e6;
    }
    watch?.look();
  };
  return { pass, copies };
}

const all = (seconds: number): ClockReading => {
  return { monotonic: seconds, boottime: seconds, wall: seconds };
};

const cases = [
  { name: "time that passes", moves: [all(1), all(3600), all(0.01)], count: 0 },
  { name: "a wall clock set by 4 s", moves: [{ ...all(1), wall: 5 }], count: 0 },
  { name: "a wall clock that leapt by an hour", moves: [{ ...all(1), wall: 3601 }], count: 1 },
  { name: "a wall clock that went back", moves: [{ ...all(1), wall: -3600 }], count: 1 },
  { name: "a guest that slept", moves: [{ ...all(60), monotonic: 1 }], count: 1 },
  { name: "one leap, told once", moves: [{ ...all(1), wall: 90 }, all(1), all(1)], count: 1 },
  {
    name: "two leaps",
    moves: [
      { ...all(1), wall: 90 },
      { ...all(1), wall: -90 },
    ],
    count: 2,
  },
];
test.each(cases)("$name", ({ moves, count }) => {
  const { pass, copies } = setUp();
  for (const move of moves) pass(move);
  expect(copies).toEqual(Array(count).fill("real and boot time moved against each other"));
});
