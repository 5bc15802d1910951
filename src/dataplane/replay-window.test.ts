/** The replay window against a Set, each edge of the window by one, and jumps round the ring. */
import { expect, test } from "bun:test";
import { Prng, seed } from "../../test/prng.ts";
import {
  COUNTER_MAX,
  ReplayWindow,
  WINDOW_OK,
  WINDOW_OLD,
  WINDOW_REPLAYED,
} from "./replay-window.ts";

/** Slow and obvious. */
class Oracle {
  private readonly seen = new Set<number>();
  private greatest = -1;

  constructor(private readonly window: number) {}

  check(counter: number): number {
    if (counter > COUNTER_MAX) return WINDOW_OLD;
    if (counter <= this.greatest - this.window) return WINDOW_OLD;
    return this.seen.has(counter) ? WINDOW_REPLAYED : WINDOW_OK;
  }

  mark(counter: number): void {
    this.seen.add(counter);
    this.greatest = Math.max(this.greatest, counter);
  }
}

const WINDOWS = [64, 65, 96, 100, 128, 1000, 4096, 65_535, 65_536];

for (const windowPackets of WINDOWS) {
  test(`agrees with a Set, window ${windowPackets} (SEED=${seed})`, () => {
    const random = new Prng(seed);
    const windows = new ReplayWindow(2, 2, windowPackets);
    for (const base of [0, 2 ** 31 - 50, 2 ** 32 - 50, 2 ** 40, COUNTER_MAX - 10 * windowPackets]) {
      windows.clear(1);
      const oracle = new Oracle(windowPackets);
      let front = base;
      for (let turn = 0; turn < 6000; turn++) {
        const counter = nextCounter(random, front, windowPackets);
        const expected = oracle.check(counter);
        expect(windows.check(1, 1, counter)).toBe(expected);
        if (random.oneIn(5)) continue; // its proof was wrong: nothing is marked
        expect(windows.mark(1, 1, counter)).toBe(expected);
        if (expected !== WINDOW_OK) continue;
        oracle.mark(counter);
        front = Math.max(front, counter);
      }
      expect(windows.greatest(1, 1)).toBe(front);
      expect(windows.greatest(1, 0)).toBe(-1);
      expect(windows.greatest(0, 1)).toBe(-1);
    }
  });
}

/** Mostly near the front, often at an edge of the window, sometimes a jump. */
function nextCounter(random: Prng, front: number, window: number): number {
  const pick = random.below(100);
  let counter = front + 1;
  if (pick < 40) counter = front - random.below(8);
  else if (pick < 60) counter = front - window + random.below(5) - 2;
  else if (pick < 70) counter = front - random.below(window + 10);
  else if (pick < 75) counter = front + random.below(70);
  else if (pick < 76) counter = front + window + random.below(5) - 2;
  else if (pick < 77) counter = front + random.below(3 * window);
  return Math.max(0, counter);
}

const EDGES = [
  { name: "the greatest again", behind: 0, result: WINDOW_REPLAYED },
  { name: "one behind", behind: 1, result: WINDOW_OK },
  { name: "the oldest in the window", behind: 4095, result: WINDOW_OK },
  { name: "one before the window", behind: 4096, result: WINDOW_OLD },
  { name: "two before the window", behind: 4097, result: WINDOW_OLD },
  { name: "one ahead", behind: -1, result: WINDOW_OK },
  { name: "a window ahead", behind: -4096, result: WINDOW_OK },
];
test.each(EDGES)("default window: $name", ({ behind, result }) => {
  const windows = new ReplayWindow(1);
  const greatest = 1_000_000;
  expect(windows.mark(0, 3, greatest)).toBe(WINDOW_OK);
  expect(windows.check(0, 3, greatest - behind)).toBe(result);
  expect(windows.check(0, 3, greatest - behind)).toBe(result); // checking changes nothing
  expect(windows.mark(0, 3, greatest - behind)).toBe(result);
  if (result === WINDOW_OK) {
    expect(windows.mark(0, 3, greatest - behind)).toBe(WINDOW_REPLAYED);
  }
  expect(windows.check(0, 4, greatest)).toBe(WINDOW_OK); // another lane knows nothing
});

test("after each step up to two windows, exactly the marked counters are refused", () => {
  const windowPackets = 128;
  for (let step = 1; step <= 2 * windowPackets + 2; step++) {
    const windows = new ReplayWindow(1, 1, windowPackets);
    const marked = new Set<number>();
    for (let counter = 300; counter < 300 + windowPackets; counter += 1 + (counter % 3)) {
      windows.mark(0, 0, counter);
      marked.add(counter);
    }
    const greatest = windows.greatest(0, 0) + step;
    windows.mark(0, 0, greatest);
    marked.add(greatest);
    for (let counter = greatest - windowPackets - 2; counter <= greatest + 2; counter++) {
      let expected = marked.has(counter) ? WINDOW_REPLAYED : WINDOW_OK;
      if (counter <= greatest - windowPackets) expected = WINDOW_OLD;
      expect(windows.check(0, 0, counter)).toBe(expected);
    }
  }
});

test("every counter of a long run is accepted once, shuffled within the window", () => {
  const windows = new ReplayWindow(1, 1, 64);
  for (let block = 0; block < 50; block++) {
    for (let i = 0; i < 64; i++) {
      expect(windows.mark(0, 0, block * 64 + ((i * 37) & 63))).toBe(WINDOW_OK);
    }
    for (let i = 0; i < 64; i++) {
      expect(windows.mark(0, 0, block * 64 + i)).toBe(WINDOW_REPLAYED);
    }
  }
});

test("counters to 2^53 - 1 count, 2^53 and above are refused and move nothing", () => {
  const windows = new ReplayWindow(1);
  expect(windows.mark(0, 0, 2 ** 40)).toBe(WINDOW_OK);
  expect(windows.check(0, 0, 2 ** 53)).toBe(WINDOW_OLD);
  expect(windows.mark(0, 0, 2 ** 53)).toBe(WINDOW_OLD);
  expect(windows.mark(0, 0, 2 ** 56 - 1)).toBe(WINDOW_OLD);
  expect(windows.greatest(0, 0)).toBe(2 ** 40);
  expect(windows.mark(0, 0, COUNTER_MAX)).toBe(WINDOW_OK);
  expect(windows.mark(0, 0, COUNTER_MAX)).toBe(WINDOW_REPLAYED);
  expect(windows.mark(0, 0, COUNTER_MAX - 1)).toBe(WINDOW_OK);
});

test("a slot cleared for a new session remembers nothing, neighbours keep all", () => {
  const windows = new ReplayWindow(3, 2);
  for (let slot = 0; slot < 3; slot++) {
    for (let counter = 0; counter < 5000; counter++) windows.mark(slot, 1, counter);
  }
  windows.clear(1);
  expect(windows.greatest(1, 1)).toBe(-1);
  for (let counter = 0; counter < 5000; counter++) {
    expect(windows.mark(1, 1, counter)).toBe(WINDOW_OK);
  }
  expect(windows.check(0, 1, 4999)).toBe(WINDOW_REPLAYED);
  expect(windows.check(2, 1, 4999)).toBe(WINDOW_REPLAYED);
});

test("a window outside 64 to 65,536 is refused", () => {
  expect(() => new ReplayWindow(1, 1, 63)).toThrow("replay window");
  expect(() => new ReplayWindow(1, 1, 65_537)).toThrow("replay window");
});
