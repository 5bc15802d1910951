/**
 * Buffers that put the first bytes of something together from parts in any order: of a TCP
 * direction from segments, of an IP packet from fragments. Hot path. A fixed number of seats of a
 * fixed size, and for each which of its bytes are there; bytes that came first stay.
 */

export class PrefixBuffers {
  readonly bytes: Uint8Array;
  readonly memory: DataView;
  /** By seat: parts that brought something. */
  readonly parts: Uint16Array;
  readonly #mask: Int32Array;
  readonly #maskWords: number;
  readonly #free: Uint16Array;
  #freeCount = 0;

  /** @param seatBytes a multiple of 32 */
  constructor(
    readonly seats: number,
    readonly seatBytes: number,
  ) {
    this.bytes = new Uint8Array(new ArrayBuffer(seats * seatBytes));
    this.memory = new DataView(this.bytes.buffer);
    this.parts = new Uint16Array(seats);
    this.#maskWords = seatBytes / 32;
    this.#mask = new Int32Array(seats * this.#maskWords);
    this.#free = new Uint16Array(seats);
    this.clear();
  }

  /** All seats are free. */
  clear(): void {
    for (let i = 0; i < this.seats; i++) this.#free[i] = this.seats - 1 - i;
    this.#freeCount = this.seats;
  }

  /** An empty seat, or -1. */
  take(): number {
    if (this.#freeCount === 0) return -1;
    const seat = this.#free[--this.#freeCount];
    this.empty(seat);
    return seat;
  }

  release(seat: number): void {
    this.#free[this.#freeCount++] = seat;
  }

  empty(seat: number): void {
    this.parts[seat] = 0;
    const at = seat * this.#maskWords;
    for (let i = 0; i < this.#maskWords; i++) this.#mask[at + i] = 0;
  }

  /** Puts [start, end) of `from` at `offset`, which may be negative; what does not fit is left. */
  put(seat: number, offset: number, from: Uint8Array, start: number, end: number): void {
    const first = offset < 0 ? 0 : offset;
    const reach = offset + end - start;
    const last = reach < this.seatBytes ? reach : this.seatBytes;
    const mask = seat * this.#maskWords;
    let fresh = 0;
    for (let i = first; i < last; i++) {
      const word = mask + (i >> 5);
      const bit = 1 << (i & 31);
      if ((this.#mask[word] & bit) !== 0) continue;
      this.#mask[word] |= bit;
      this.bytes[seat * this.seatBytes + i] = from[start + i - offset];
      fresh = 1;
    }
    if (this.parts[seat] < 0xffff) this.parts[seat] += fresh;
  }

  /** Bytes from the start without a gap. */
  contiguous(seat: number): number {
    const mask = seat * this.#maskWords;
    let word = 0;
    while (word < this.#maskWords && this.#mask[mask + word] === -1) word++;
    if (word === this.#maskWords) return this.seatBytes;
    const missing = ~this.#mask[mask + word];
    return 32 * word + 31 - Math.clz32(missing & -missing);
  }
}
