/**
 * The first bytes of a TCP direction put together from several segments: when the first one is too
 * short for a signature, or came after later ones. Hot path. A seat holds GATHER_BYTES of one
 * direction and which of them are there; bytes that came first stay (a repetition changes nothing).
 */

/** As the agent waits (design/agent.md "Egress" 4). */
export const GATHER_SEGMENTS = 3;
export const GATHER_BYTES = 512;
/** Directions that wait at the same time; further ones are judged by what they have. */
const SEATS = 8192;
const MASK_WORDS = GATHER_BYTES / 32;

export class FirstSegments {
  readonly bytes = new Uint8Array(new ArrayBuffer(SEATS * GATHER_BYTES));
  /** Segments that brought something. */
  readonly segments = new Uint8Array(SEATS);
  readonly #mask = new Int32Array(SEATS * MASK_WORDS);
  readonly #free = new Uint16Array(SEATS);
  #freeCount = 0;

  constructor() {
    this.clear();
  }

  clear(): void {
    for (let i = 0; i < SEATS; i++) this.#free[i] = SEATS - 1 - i;
    this.#freeCount = SEATS;
  }

  /** An empty seat, or -1. */
  take(): number {
    if (this.#freeCount === 0) return -1;
    const seat = this.#free[--this.#freeCount];
    this.segments[seat] = 0;
    const at = seat * MASK_WORDS;
    for (let i = 0; i < MASK_WORDS; i++) this.#mask[at + i] = 0;
    return seat;
  }

  release(seat: number): void {
    this.#free[this.#freeCount++] = seat;
  }

  /** Puts [start, end) of `from` at `offset` of the direction; `offset` may be negative. */
  put(seat: number, offset: number, from: Uint8Array, start: number, end: number): void {
    const first = offset < 0 ? 0 : offset;
    const length = end - start;
    const last = offset + length < GATHER_BYTES ? offset + length : GATHER_BYTES;
    const mask = seat * MASK_WORDS;
    let fresh = 0;
    for (let i = first; i < last; i++) {
      const word = mask + (i >> 5);
      const bit = 1 << (i & 31);
      if ((this.#mask[word] & bit) !== 0) continue;
      this.#mask[word] |= bit;
      this.bytes[seat * GATHER_BYTES + i] = from[start + i - offset];
      fresh = 1;
    }
    this.segments[seat] += fresh;
  }

  /** Bytes from the start without a gap. */
  contiguous(seat: number): number {
    const mask = seat * MASK_WORDS;
    let count = 0;
    while (count < GATHER_BYTES && this.#mask[mask + (count >> 5)] === -1) count += 32;
    while (count < GATHER_BYTES && ((this.#mask[mask + (count >> 5)] >>> (count & 31)) & 1) === 1) {
      count++;
    }
    return count;
  }
}
