/**
 * Notices that this VM is not the one that it was a moment ago: resumed from a snapshot, cloned, or
 * suspended. Then a counter might be used twice under one key, so all sessions must go before the
 * next packet. Three signs, each enough: CLOCK_BOOTTIME runs on while a guest sleeps and
 * CLOCK_MONOTONIC does not; the wall clock leaps against both when a paused guest gets the host's
 * time again; and the kernel announces a new VM generation id (virtual machines with a vmgenid
 * device, Linux 6.10 and later) as the device event NEW_VMGENID. The id itself is in no file that
 * programs can read. A hypervisor that restores a snapshot with neither device nor clock step
 * cannot be noticed from inside. CloneDetector is pure; it and CloneWatch allocate nothing.
 */
import {
  CLOCK_BOOTTIME,
  CLOCK_MONOTONIC,
  CLOCK_REALTIME,
  clockMicros,
  NETLINK_KOBJECT_UEVENT,
} from "./libc.ts";
import { NetlinkSocket } from "./netlink-socket.ts";

/** Reading two clocks one after the other: more than this apart is not the reading's fault. */
export const JUMP_MICROS_MIN = 50_000;
/** The kernel slews the wall clock by at most this share; what is faster was a step. */
const WALL_SLEW_PER_MICRO = 0.001;
/** A step that time servers make in ordinary life is not a snapshot. */
export const WALL_JUMP_MICROS_MIN = 5_000_000;
const READ_ATTEMPTS = 8;
const READ_SPREAD_MICROS_MAX = 1_000;
const KERNEL_EVENTS = 1;

/** The clocks at one instant, in microseconds. */
export type ClockReading = { monotonic: number; boottime: number; wall: number };

export const SAME_MACHINE = 0;
/** BOOTTIME ran on without MONOTONIC: the guest was suspended. */
export const SLEPT = 1;
/** The wall clock leapt: a snapshot was resumed, or somebody set the clock. */
export const WALL_LEAPT = 2;

/** Compares clock readings, one after the other. */
export class CloneDetector {
  #asleep: number;
  #wallAhead: number;
  #monotonic: number;

  constructor(first: ClockReading) {
    this.#monotonic = first.monotonic;
    this.#asleep = first.boottime - first.monotonic;
    this.#wallAhead = first.wall - first.boottime;
  }

  /** SAME_MACHINE, SLEPT or WALL_LEAPT since the reading before; that one is forgotten. */
  observe(reading: ClockReading): number {
    const elapsed = reading.monotonic - this.#monotonic;
    const asleep = reading.boottime - reading.monotonic;
    const wallAhead = reading.wall - reading.boottime;
    const slept = Math.abs(asleep - this.#asleep) >= JUMP_MICROS_MIN;
    const slew = Math.max(0, elapsed) * WALL_SLEW_PER_MICRO;
    const leapt = Math.abs(wallAhead - this.#wallAhead) >= WALL_JUMP_MICROS_MIN + slew;
    this.#monotonic = reading.monotonic;
    this.#asleep = asleep;
    this.#wallAhead = wallAhead;
    if (slept || elapsed < 0) return SLEPT;
    return leapt ? WALL_LEAPT : SAME_MACHINE;
  }
}

/** Where a CloneWatch reads the time; tests have clocks of their own. */
export interface Clocks {
  /** CLOCK_BOOTTIME in microseconds. */
  readonly boottime: () => number;
  readonly read: (out: ClockReading) => void;
}

/** A CloneDetector over clocks, cheap enough to ask before every burst. */
export class CloneWatch {
  readonly #reading: ClockReading = { monotonic: 0, boottime: 0, wall: 0 };
  readonly #detector: CloneDetector;

  constructor(readonly clocks: Clocks = MACHINE_CLOCKS) {
    clocks.read(this.#reading);
    this.#detector = new CloneDetector(this.#reading);
  }

  /**
   * Whether the guest slept since the last look, by one clock. A difference is looked at twice:
   * the thread may have been held up after it read `monotonic`.
   */
  hasSlept(monotonic: number): boolean {
    const { boottime, monotonic: before } = this.#reading;
    const drift = this.clocks.boottime() - monotonic - (boottime - before);
    if (monotonic >= before && drift < JUMP_MICROS_MIN && drift > -JUMP_MICROS_MIN) return false;
    return this.hasChanged();
  }

  /** Whether one of the clocks tells of another life of this VM; once for each time. */
  hasChanged(): boolean {
    this.clocks.read(this.#reading);
    return this.#detector.observe(this.#reading) !== SAME_MACHINE;
  }
}

/** Reads the clocks close together into `out`: a reading that was interrupted is made again. */
export function readClocks(out: ClockReading): void {
  for (let attempt = 0; attempt < READ_ATTEMPTS; attempt++) {
    const before = clockMicros(CLOCK_MONOTONIC);
    out.boottime = clockMicros(CLOCK_BOOTTIME);
    out.wall = clockMicros(CLOCK_REALTIME);
    out.monotonic = clockMicros(CLOCK_MONOTONIC);
    if (out.monotonic - before <= READ_SPREAD_MICROS_MAX) return;
  }
}

const MACHINE_CLOCKS: Clocks = { boottime: () => clockMicros(CLOCK_BOOTTIME), read: readClocks };

/** Listens for the kernel's announcement that the VM generation id has changed. */
export class GenerationListener {
  readonly #socket = new NetlinkSocket(KERNEL_EVENTS, NETLINK_KOBJECT_UEVENT);

  /** Whether it came since the last call. */
  changed(): boolean {
    return this.#socket.pollRaw().some(announcesGeneration);
  }

  close(): void {
    this.#socket.close();
  }
}

/** A kernel event is NUL-separated text: `change@/devices/…`, `ACTION=change`, `NEW_VMGENID=1`… */
export function announcesGeneration(event: Uint8Array): boolean {
  return new TextDecoder().decode(event).split("\0").includes("NEW_VMGENID=1");
}
