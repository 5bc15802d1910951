/**
 * One end of a record ring in a Worker of its own, for record-ring.test.ts. The writer sends
 * numbered records of random lengths whose bytes follow from the number; the reader checks each and
 * reports.
 */
import { RecordRing } from "../src/dataplane/record-ring.ts";
import { Prng } from "./prng.ts";

declare const self: Worker;

export interface RingJob {
  readonly buffer: SharedArrayBuffer;
  readonly end: "writer" | "reader";
  readonly seed: number;
  readonly records: number;
  readonly lengthMax: number;
  /** Wait this long before each record, so that the reader falls asleep. */
  readonly pauseMs: number;
}

export interface RingReport {
  readonly received: number;
  readonly mistakes: number;
  readonly refused: number;
}

/** The byte at `i` of record `number`. */
export function byteOf(number: number, i: number): number {
  return (Math.imul(number, 31) + i) & 0xff;
}

const PAUSE = new Int32Array(new SharedArrayBuffer(4));
/** Turns without success before the core is left to the other end. */
const SPINS = 200;

function write(job: RingJob): RingReport {
  const ring = new RecordRing(job.buffer);
  const random = new Prng(job.seed);
  let refused = 0;
  for (let number = 0; number < job.records; number++) {
    const length = random.below(job.lengthMax + 1);
    if (job.pauseMs > 0) Atomics.wait(PAUSE, 0, 0, job.pauseMs);
    let at = ring.begin(number, length);
    while (at < 0) {
      if (++refused % SPINS === 0) Atomics.wait(PAUSE, 0, 0, 0.05);
      at = ring.begin(number, length);
    }
    for (let i = 0; i < length; i++) ring.memory.setUint8(at + i, byteOf(number, i));
    ring.commit();
  }
  return { received: 0, mistakes: 0, refused };
}

function read(job: RingJob): RingReport {
  const ring = new RecordRing(job.buffer);
  const random = new Prng(job.seed);
  let mistakes = 0;
  let received = 0;
  let empty = 0;
  while (received < job.records) {
    const at = ring.peek();
    if (at < 0) {
      if (++empty % SPINS === 0) Atomics.wait(PAUSE, 0, 0, 0.05);
      continue;
    }
    if (ring.type !== received || ring.length !== random.below(job.lengthMax + 1)) mistakes++;
    for (let i = 0; i < ring.length; i++) {
      if (ring.memory.getUint8(at + i) !== byteOf(received, i)) mistakes++;
    }
    ring.release();
    received++;
  }
  return { received, mistakes: mistakes + ring.corruptions, refused: 0 };
}

self.onmessage = (event: MessageEvent<RingJob>) => {
  postMessage(event.data.end === "writer" ? write(event.data) : read(event.data));
};
