/**
 * Records from one thread to one other over shared memory. design/README.md "Threads of an agent
 * process": commands one way, punts the other. Single producer, single consumer, no locks.
 * Hot path. Fixed memory; when full, begin() returns -1 and the record is counted as lost: the
 * writer never waits. doorbell.ts wakes a reader that sleeps.
 *
 * A record is u32 length, u32 type, payload, padded to 8 bytes, and lies in one piece: one that
 * would wrap is preceded by filler. `head` and `tail` count bytes modulo 2^32. The reader believes
 * nothing: a length that does not fit what was published drops everything unread and is counted.
 */
import { assert } from "../errors.ts";

const RECORD_HEADER_BYTES = 8;
const FILLER = 0xffffffff;
/** Control words, each in a cache line of its own. */
const W_HEAD = 0;
const W_TAIL = 16;
const W_LOST = 32;
const W_DOORBELL = 48;
const W_SLEEPING = 64;
const W_SIZE = 80;
const CONTROL_BYTES = 512;
export const RING_BYTES_MIN = 64;
export const RING_BYTES_MAX = 2 ** 30;

/** Set-up. Shared memory for a ring of `sizeBytes` (a power of two) of records. */
export function newRing(sizeBytes: number): SharedArrayBuffer {
  assert(
    sizeBytes >= RING_BYTES_MIN &&
      sizeBytes <= RING_BYTES_MAX &&
      Number.isInteger(Math.log2(sizeBytes)),
    "a ring's size is a power of two",
  );
  const buffer = new SharedArrayBuffer(CONTROL_BYTES + sizeBytes);
  new Int32Array(buffer, 0, CONTROL_BYTES / 4)[W_SIZE] = sizeBytes;
  return buffer;
}

export class RecordRing {
  /** All of the buffer; begin() and peek() return offsets in it. */
  readonly memory: DataView;
  readonly bytes: Uint8Array;
  /** Of the record that peek() found last; `length` is its payload's. */
  type = 0;
  length = 0;
  /** Times the reader met what the writer cannot have written. */
  corruptions = 0;

  /** One word, for Atomics.waitAsync: counts up each time the writer rings. */
  readonly doorbell: Int32Array;

  private readonly control: Int32Array;
  private readonly sizeBytes: number;
  private readonly mask: number;
  /**
   * The writer's own, so that it never depends on what the reader's side may have done to memory.
   */
  private tail: number;
  /** Tail after the record being written. */
  private pendingTail = 0;
  private open = false;
  /** The reader's: head after the record that peek() found. */
  private followingHead = 0;

  /** @param buffer from newRing(); each end makes a RecordRing over it */
  constructor(readonly buffer: SharedArrayBuffer) {
    this.control = new Int32Array(buffer, 0, CONTROL_BYTES / 4);
    this.doorbell = this.control.subarray(W_DOORBELL, W_DOORBELL + 1);
    this.memory = new DataView(buffer);
    this.bytes = new Uint8Array(buffer);
    this.sizeBytes = this.control[W_SIZE];
    this.mask = this.sizeBytes - 1;
    assert(buffer.byteLength === CONTROL_BYTES + this.sizeBytes, "not the memory of a ring");
    this.tail = this.control[W_TAIL] & ~7;
    assert(this.sizeBytes >= RING_BYTES_MIN && (this.sizeBytes & this.mask) === 0, "not a ring");
  }

  /** Largest payload that an empty ring takes, wherever it stands. */
  get payloadBytesMax(): number {
    return this.sizeBytes / 2 - RECORD_HEADER_BYTES;
  }

  // Writer.

  /**
   * Opens a record of a `type` below 2^32 - 1. Returns the offset of its `length` payload bytes in
   * `memory`, or -1 (the record is lost and counted) when there is no room. commit() publishes it;
   * the next begin() without commit() gives it up.
   */
  begin(type: number, length: number): number {
    const needed = RECORD_HEADER_BYTES + ((length + 7) & ~7);
    if (!(length >= 0 && length <= this.payloadBytesMax)) return this.lose();
    const tail = this.tail;
    const used = (tail - Atomics.load(this.control, W_HEAD)) | 0;
    const position = tail & this.mask;
    const toEnd = this.sizeBytes - position;
    const filler = toEnd < needed ? toEnd : 0;
    if (used < 0 || used + filler + needed > this.sizeBytes) return this.lose();
    if (filler !== 0) {
      this.memory.setUint32(CONTROL_BYTES + position, filler - RECORD_HEADER_BYTES, true);
      this.memory.setUint32(CONTROL_BYTES + position + 4, FILLER, true);
    }
    const at = CONTROL_BYTES + ((position + filler) & this.mask);
    this.memory.setUint32(at, length, true);
    this.memory.setUint32(at + 4, type, true);
    this.pendingTail = (tail + filler + needed) | 0;
    this.open = true;
    return at + RECORD_HEADER_BYTES;
  }

  /** Publishes the record opened last, and rings when the reader sleeps. */
  commit(): void {
    if (!this.open) return;
    this.open = false;
    this.tail = this.pendingTail;
    Atomics.store(this.control, W_TAIL, this.tail);
    if (Atomics.load(this.control, W_SLEEPING) !== 0) this.ring();
  }

  /** Wakes a reader that waits at the doorbell. */
  ring(): void {
    Atomics.store(this.control, W_SLEEPING, 0);
    Atomics.add(this.control, W_DOORBELL, 1);
    Atomics.notify(this.control, W_DOORBELL);
  }

  // Reader.

  /** Offset of the oldest record's payload, or -1 when there is none; sets `type` and `length`. */
  peek(): number {
    let head = Atomics.load(this.control, W_HEAD);
    const tail = Atomics.load(this.control, W_TAIL);
    // Filler is followed by a record, so that two turns are enough.
    for (let turn = 0; turn < 2; turn++) {
      const used = (tail - head) | 0;
      if (used === 0) return -1;
      const position = head & this.mask;
      const toEnd = this.sizeBytes - position;
      if (used < RECORD_HEADER_BYTES || used > this.sizeBytes || (head & 7) !== 0) break;
      const length = this.memory.getUint32(CONTROL_BYTES + position, true);
      const needed = RECORD_HEADER_BYTES + ((length + 7) & ~7);
      if (length > this.sizeBytes || needed > used || needed > toEnd) break;
      const type = this.memory.getUint32(CONTROL_BYTES + position + 4, true);
      head = (head + needed) | 0;
      if (type === FILLER) continue;
      this.type = type;
      this.length = length;
      this.followingHead = head;
      return CONTROL_BYTES + position + RECORD_HEADER_BYTES;
    }
    this.corruptions++;
    Atomics.store(this.control, W_HEAD, tail);
    return -1;
  }

  /** Gives the memory of the record that peek() found back to the writer. */
  release(): void {
    Atomics.store(this.control, W_HEAD, this.followingHead);
  }

  get isEmpty(): boolean {
    return Atomics.load(this.control, W_HEAD) === Atomics.load(this.control, W_TAIL);
  }

  /** Records lost for want of room since the start. */
  get lost(): number {
    return Atomics.load(this.control, W_LOST) >>> 0;
  }

  /** Says that the reader is about to sleep; returns the doorbell's count to wait on. */
  prepareToSleep(): number {
    const count = Atomics.load(this.control, W_DOORBELL);
    Atomics.store(this.control, W_SLEEPING, 1);
    return count;
  }

  private lose(): number {
    this.open = false;
    Atomics.add(this.control, W_LOST, 1);
    return -1;
  }
}
