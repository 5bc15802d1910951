/**
 * Which counters of a session's lanes were seen: each packet is accepted once. docs/wire.md "DATA".
 * Hot path. After RFC 6479: a ring of bits in words that is never shifted. Unlike there, advancing
 * clears single bits, so that no spare word is needed and the window is exactly as configured.
 * check() before the proof, mark() after it: a forged counter changes nothing.
 *
 * Memory is fixed (32 MiB of address space for 4,096 sessions) and touched lane by lane as packets
 * come. Counters are doubles, exact up to COUNTER_MAX; the sender renegotiates at 2^40.
 */
import { assert } from "../errors.ts";
import { SESSION_LANES } from "./session-table.ts";

export const WINDOW_OK = 0;
/** Older than the window, or beyond COUNTER_MAX. */
export const WINDOW_OLD = 1;
export const WINDOW_REPLAYED = 2;

export const COUNTER_MAX = 2 ** 53 - 1;
export const WINDOW_PACKETS = 4096;
export const WINDOW_PACKETS_MIN = 64;
export const WINDOW_PACKETS_MAX = 65536;

const NOTHING_SEEN = -1;

export class ReplayWindow {
  // Read by plain-ingress.ts, which writes mark() of the next counter out in its loop.
  /** Greatest counter marked + 1 in each lane, 0 when there is none: `lane * slots + slot`. */
  readonly next: Float64Array;
  readonly bits: Int32Array;
  readonly ringMask: number;
  private readonly laneWords: number;
  readonly cellWords: number;

  /**
   * @param slots sessions
   * @param lanes lanes of each
   * @param windowPackets how far behind the greatest counter one may be: that many counters count
   */
  constructor(
    readonly slots: number,
    readonly lanes: number = SESSION_LANES,
    readonly windowPackets: number = WINDOW_PACKETS,
  ) {
    assert(
      windowPackets >= WINDOW_PACKETS_MIN && windowPackets <= WINDOW_PACKETS_MAX,
      "replay window out of range",
    );
    const ringBits = 2 ** Math.ceil(Math.log2(windowPackets));
    this.ringMask = ringBits - 1;
    this.laneWords = ringBits / 32;
    this.next = new Float64Array(slots * lanes);
    // A line more than the bits: cells a power of two apart would share few sets of the cache.
    this.cellWords = this.laneWords + 16;
    this.bits = new Int32Array(slots * lanes * this.cellWords);
  }

  /** Whether a packet may be accepted, should its proof be valid. Changes nothing. */
  check(slot: number, lane: number, counter: number): number {
    const cell = lane * this.slots + slot;
    const next = this.next[cell];
    if (counter >= next) return counter <= COUNTER_MAX ? WINDOW_OK : WINDOW_OLD;
    if (counter < next - this.windowPackets) return WINDOW_OLD;
    const bit = counter & this.ringMask;
    const word = this.bits[cell * this.cellWords + (bit >>> 5)];
    return ((word >>> (bit & 31)) & 1) === 0 ? WINDOW_OK : WINDOW_REPLAYED;
  }

  /**
   * Marks the counter of a packet whose proof was valid; answers as check(), and only then marks.
   */
  mark(slot: number, lane: number, counter: number): number {
    const cell = lane * this.slots + slot;
    const next = this.next[cell];
    const bit = counter & this.ringMask;
    const at = cell * this.cellWords + (bit >>> 5);
    if (counter === next && next !== 0 && counter <= COUNTER_MAX) {
      // In order, as nearly all: the only bit that enters the window is set below.
      this.next[cell] = counter + 1;
    } else if (counter >= next) {
      if (counter > COUNTER_MAX) return WINDOW_OLD;
      this.advance(cell, next, counter);
      this.next[cell] = counter + 1;
    } else if (counter < next - this.windowPackets) {
      return WINDOW_OLD;
    } else if (((this.bits[at] >>> (bit & 31)) & 1) !== 0) {
      return WINDOW_REPLAYED;
    }
    this.bits[at] |= 1 << (bit & 31);
    return WINDOW_OK;
  }

  /** Forgets all lanes of a session that begins in this slot. */
  clear(slot: number): void {
    for (let lane = 0; lane < this.lanes; lane++) this.next[lane * this.slots + slot] = 0;
  }

  /** Greatest counter marked, or -1. */
  greatest(slot: number, lane: number): number {
    const next = this.next[lane * this.slots + slot];
    return next === 0 ? NOTHING_SEEN : next - 1;
  }

  /** Clears the bits of the counters from `next` to `counter`: they enter the window unseen. */
  private advance(cell: number, next: number, counter: number): void {
    const start = cell * this.cellWords;
    // A lane's first packet also clears what a session before left in the ring.
    if (next === 0 || counter - next >= this.ringMask) {
      for (let i = 0; i < this.laneWords; i++) this.bits[start + i] = 0;
      return;
    }
    const first = next & this.ringMask;
    const last = counter & this.ringMask;
    const firstWord = first >>> 5;
    const lastWord = last >>> 5;
    const fromFirst = -1 << (first & 31);
    const toLast = -1 >>> (31 - (last & 31));
    if (firstWord === lastWord && first <= last) {
      this.bits[start + firstWord] &= ~(fromFirst & toLast);
      return;
    }
    this.bits[start + firstWord] &= ~fromFirst;
    for (let step = 1; step < this.laneWords; step++) {
      const word = (firstWord + step) & (this.laneWords - 1);
      if (word === lastWord) break;
      this.bits[start + word] = 0;
    }
    this.bits[start + lastWord] &= ~toLast;
  }
}
