/** Signs that a VM was suspended, resumed from a snapshot or cloned. */
import { expect, test } from "bun:test";
import {
  announcesGeneration,
  type ClockReading,
  CloneDetector,
  CloneWatch,
  GenerationListener,
  JUMP_MICROS_MIN,
  readClocks,
  SAME_MACHINE,
  SLEPT,
  WALL_JUMP_MICROS_MIN,
  WALL_LEAPT,
} from "./clone-detector.ts";

const SECOND = 1_000_000;
const START: ClockReading = { monotonic: 50 * SECOND, boottime: 50 * SECOND, wall: 1e15 };

function after(elapsed: number, changes: Partial<ClockReading> = {}): ClockReading {
  const { monotonic = 0, boottime = 0, wall = 0 } = changes;
  return {
    monotonic: START.monotonic + elapsed + monotonic,
    boottime: START.boottime + elapsed + boottime,
    wall: START.wall + elapsed + wall,
  };
}

const cases = [
  { name: "an hour passes", reading: after(3_600 * SECOND), result: SAME_MACHINE },
  {
    name: "the guest sleeps a second",
    reading: after(0, { boottime: SECOND, wall: SECOND }),
    result: SLEPT,
  },
  {
    name: "the guest sleeps just long enough",
    reading: after(0, { boottime: JUMP_MICROS_MIN, wall: JUMP_MICROS_MIN }),
    result: SLEPT,
  },
  {
    name: "a reading is delayed between two clocks",
    reading: after(0, { boottime: JUMP_MICROS_MIN - 1 }),
    result: SAME_MACHINE,
  },
  {
    name: "BOOTTIME falls back against MONOTONIC",
    reading: after(SECOND, { boottime: -SECOND }),
    result: SLEPT,
  },
  {
    name: "both run backwards, as after a restored memory image",
    reading: after(-SECOND),
    result: SLEPT,
  },
  {
    name: "a paused guest gets the host's time",
    reading: after(SECOND, { wall: 3_600 * SECOND }),
    result: WALL_LEAPT,
  },
  {
    name: "the clock is set back a day",
    reading: after(SECOND, { wall: -86_400 * SECOND }),
    result: WALL_LEAPT,
  },
  {
    name: "a time server steps the clock a little",
    reading: after(SECOND, { wall: WALL_JUMP_MICROS_MIN - 1 }),
    result: SAME_MACHINE,
  },
  {
    name: "a time server slews the clock for a day without a reading",
    reading: after(86_400 * SECOND, { wall: 43 * SECOND }),
    result: SAME_MACHINE,
  },
];
test.each(cases)("CloneDetector: $name", ({ reading, result }) => {
  expect(new CloneDetector(START).observe(reading)).toBe(result);
});

test("each sign is told once", () => {
  const detector = new CloneDetector(START);
  expect(detector.observe(after(0, { boottime: SECOND, wall: SECOND }))).toBe(SLEPT);
  expect(detector.observe(after(1, { boottime: SECOND, wall: SECOND }))).toBe(SAME_MACHINE);
});

/** Clocks that a test sets; `heldUp` is added to the next single look at BOOTTIME. */
class FakeClocks {
  now: ClockReading = { ...START };
  heldUp = 0;
  looks = 0;
  readings = 0;
  boottime = (): number => {
    this.looks++;
    const late = this.heldUp;
    this.heldUp = 0;
    return this.now.boottime + late;
  };
  read = (out: ClockReading): void => {
    this.readings++;
    Object.assign(out, this.now);
  };

  pass(us: number, change: Partial<ClockReading> = {}): void {
    const { monotonic = 0, boottime = 0, wall = 0 } = change;
    this.now.monotonic += us + monotonic;
    this.now.boottime += us + boottime;
    this.now.wall += us + wall;
  }
}

test("CloneWatch: a turn costs one look at one clock", () => {
  const clocks = new FakeClocks();
  const watch = new CloneWatch(clocks);
  for (let turn = 1; turn <= 1_000; turn++) {
    clocks.pass(3_600 * SECOND);
    expect(watch.hasSlept(clocks.now.monotonic)).toBe(false);
    expect([clocks.looks, clocks.readings]).toEqual([turn, 1]);
  }
});

test("CloneWatch: sleep is told before the next burst, once", () => {
  const clocks = new FakeClocks();
  const watch = new CloneWatch(clocks);
  for (let turn = 0; turn < 3; turn++) {
    clocks.pass(SECOND, { boottime: JUMP_MICROS_MIN, wall: JUMP_MICROS_MIN });
    expect(watch.hasSlept(clocks.now.monotonic)).toBe(true);
    expect(watch.hasSlept(clocks.now.monotonic)).toBe(false);
  }
});

test("CloneWatch: clocks that run backwards are those of a restored image", () => {
  const clocks = new FakeClocks();
  const watch = new CloneWatch(clocks);
  clocks.pass(-SECOND);
  expect(watch.hasSlept(clocks.now.monotonic)).toBe(true);
});

test("CloneWatch: a thread held up between two clocks is no clone", () => {
  const clocks = new FakeClocks();
  const watch = new CloneWatch(clocks);
  clocks.heldUp = 60 * SECOND;
  expect(watch.hasSlept(clocks.now.monotonic)).toBe(false);
  expect(clocks.readings).toBe(2);
});

test("CloneWatch: the wall clock's leap is told by the look at all clocks, once", () => {
  const clocks = new FakeClocks();
  const watch = new CloneWatch(clocks);
  clocks.pass(SECOND, { wall: 3_600 * SECOND });
  expect(watch.hasSlept(clocks.now.monotonic)).toBe(false);
  expect(watch.hasChanged()).toBe(true);
  expect(watch.hasChanged()).toBe(false);
});

test("the real clocks are those of one machine", () => {
  const reading = { monotonic: 0, boottime: 0, wall: 0 };
  readClocks(reading);
  const detector = new CloneDetector(reading);
  expect(reading.boottime).toBeGreaterThanOrEqual(reading.monotonic - 1_000);
  expect(Math.abs(reading.wall / 1_000 - Date.now())).toBeLessThan(1_000);
  for (let i = 0; i < 1_000; i++) {
    readClocks(reading);
    expect(detector.observe(reading)).toBe(SAME_MACHINE);
  }
});

test("the kernel's announcement of a new VM generation", () => {
  const event = (text: string): Uint8Array => new TextEncoder().encode(text);
  const device = "change@/devices/platform/vmgenid\0ACTION=change\0SUBSYSTEM=platform\0";
  expect(announcesGeneration(event(`${device}NEW_VMGENID=1\0SEQNUM=7\0`))).toBe(true);
  expect(announcesGeneration(event(`${device}SEQNUM=7\0`))).toBe(false);
  const listener = new GenerationListener();
  expect(listener.changed()).toBe(false);
  listener.close();
});
