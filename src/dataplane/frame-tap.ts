/**
 * Copies of the outside port's frames for `abs capture`, as they came and as they are about to go.
 * Hot path. It exists only while somebody captures (SendQueue.tap); a frame that finds the ring
 * full is counted there as lost, and traffic never waits for it.
 *
 * A record is of type FRAME_RECEIVED or FRAME_SENT: when, in monotonic microseconds, as a double;
 * little-endian; the frame.
 */
import type { RecordRing } from "./record-ring.ts";

export const FRAME_RECEIVED = 1;
export const FRAME_SENT = 2;
export const FRAME_TIME = 0;
export const FRAME_BYTES = 8;

export class FrameTap {
  constructor(
    readonly ring: RecordRing,
    /** The pool. */
    readonly memory: DataView,
  ) {}

  /** The first `count` frames at `offset`, of `length` bytes. */
  copy(type: number, offset: Uint32Array, length: Uint32Array, count: number, nowUs: number): void {
    for (let i = 0; i < count; i++) this.#one(type, offset[i], length[i], nowUs);
  }

  #one(type: number, from: number, length: number, nowUs: number): void {
    const at = this.ring.begin(type, FRAME_BYTES + length);
    if (at < 0) return;
    const out = this.ring.memory;
    out.setFloat64(at + FRAME_TIME, nowUs, true);
    const to = at + FRAME_BYTES;
    let done = 0;
    for (; done + 4 <= length; done += 4) {
      out.setInt32(to + done, this.memory.getInt32(from + done, true), true);
    }
    for (; done < length; done++) out.setUint8(to + done, this.memory.getUint8(from + done));
    this.ring.commit();
  }
}
