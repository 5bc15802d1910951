/** The timer wheel against an array: nothing early, nothing lost, nothing twice. */
import { expect, test } from "bun:test";
import { Prng, seed } from "../../test/prng.ts";
import { TimerWheel } from "./timer-wheel.ts";

const TICK = 1000;

test(`agrees with an array of timers (SEED=${seed})`, () => {
  const random = new Prng(seed);
  let now = 12_345_678;
  const wheel = new TimerWheel(200, TICK, now, 16);
  const oracle = new Map<number, { at: number; timer: number }>();
  const dead: number[] = [];
  let id = 0;
  for (let turn = 0; turn < 30_000; turn++) {
    const pick = random.below(10);
    if (pick < 5) {
      const at = now + random.below(random.oneIn(4) ? 4_000_000 : 20_000) - 500;
      const timer = wheel.set(at, id & 7, id);
      if (oracle.size === 200) expect(timer).toBe(-1);
      else oracle.set(id, { at, timer });
      id++;
    } else if (pick < 7 && oracle.size > 0) {
      const ids = [...oracle.keys()];
      const victim = ids[random.below(ids.length)];
      const timer = oracle.get(victim)?.timer ?? -1;
      expect(wheel.cancel(timer)).toBe(true);
      expect(wheel.cancel(timer)).toBe(false);
      oracle.delete(victim);
      dead.push(timer);
    } else {
      now += random.below(random.oneIn(20) ? 3_000_000 : 5000);
      for (let fired = 16; fired === 16; ) {
        fired = wheel.advance(now);
        for (let i = 0; i < fired; i++) {
          const firedId = wheel.firedId[i];
          const timer = oracle.get(firedId);
          expect(timer).toBeDefined();
          expect(timer?.at).toBeLessThanOrEqual(now);
          expect(wheel.firedKind[i]).toBe(firedId & 7);
          oracle.delete(firedId);
          if (timer !== undefined) dead.push(timer.timer);
        }
      }
      for (const { at } of oracle.values()) expect(at).toBeGreaterThan(now - 2 * TICK);
    }
    expect(wheel.count).toBe(oracle.size);
  }
  for (const timer of dead) {
    const isReused = [...oracle.values()].some((entry) => entry.timer === timer);
    if (!isReused) expect(wheel.cancel(timer)).toBe(false);
  }
  expect(wheel.count).toBe(oracle.size);
});

test("never early, at most one tick late, also far beyond one turn of the wheel", () => {
  for (const delay of [0, 1, 999, 1000, 1001, 1_023_999, 1_024_000, 1_024_001, 3_600_000_000]) {
    const start = 500;
    const wheel = new TimerWheel(1, TICK, start);
    wheel.set(start + delay, 3, 4);
    if (delay > 0) expect(wheel.advance(start + delay - 1)).toBe(0);
    expect(wheel.advance(start + delay + TICK)).toBe(1);
    expect([wheel.firedKind[0], wheel.firedId[0]]).toEqual([3, 4]);
    expect(wheel.advance(start + delay + 10 * TICK)).toBe(0);
  }
});

test("a timer in the past fires within a tick; a full wheel refuses", () => {
  const wheel = new TimerWheel(2, TICK, 0);
  expect(wheel.advance(50_000)).toBe(0);
  const first = wheel.set(10, 1, 1);
  expect(first).toBeGreaterThanOrEqual(0);
  expect(wheel.set(Number.MAX_SAFE_INTEGER, 2, 2)).toBeGreaterThanOrEqual(0);
  expect(wheel.set(10, 3, 3)).toBe(-1);
  expect(wheel.advance(50_000 + TICK)).toBe(1);
  expect(wheel.cancel(first)).toBe(false);
  const again = wheel.set(90_000, 4, 4);
  expect(again).not.toBe(first);
  expect(wheel.cancel(first)).toBe(false);
  expect(wheel.cancel(again)).toBe(true);
  expect(wheel.cancel(-1)).toBe(false);
  expect(wheel.cancel(1 << 20)).toBe(false);
});

test("what one advance cannot give out, the next ones do, after a sleep of days as well", () => {
  const wheel = new TimerWheel(1000, TICK, 0, 10);
  for (let id = 0; id < 1000; id++) wheel.set(id * 977, 0, id);
  const seen = new Set<number>();
  for (let turn = 0; turn < 100; turn++) {
    expect(wheel.advance(1e12)).toBe(10);
    for (let i = 0; i < 10; i++) seen.add(wheel.firedId[i]);
  }
  expect(seen.size).toBe(1000);
  expect(wheel.advance(1e12)).toBe(0);
});
