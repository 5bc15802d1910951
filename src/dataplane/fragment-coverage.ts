/**
 * Which bytes of the packets in reassembly were seen, to find overlaps (RFC 5722) and completeness.
 * Hot path. One bit for each 8 bytes of the largest packet: exact, and bounded at 1 KiB an entry.
 */

const UNITS_MAX = 8_192; // of 8 bytes
const SEEN_WORDS = UNITS_MAX / 32;

export class FragmentCoverage {
  readonly #seen: Int32Array;
  readonly #unitsSeen: Uint32Array;
  readonly #unitsEnd: Uint32Array; // end of what was seen
  readonly #unitsTotal: Uint32Array; // 0 until the last fragment came

  constructor(entries: number) {
    this.#seen = new Int32Array(entries * SEEN_WORDS);
    this.#unitsSeen = new Uint32Array(entries);
    this.#unitsEnd = new Uint32Array(entries);
    this.#unitsTotal = new Uint32Array(entries);
  }

  clear(entry: number): void {
    this.#seen.fill(0, entry * SEEN_WORDS, (entry + 1) * SEEN_WORDS);
    this.#unitsSeen[entry] = 0;
    this.#unitsEnd[entry] = 0;
    this.#unitsTotal[entry] = 0;
  }

  /**
   * Marks `bytes` from `offsetBytes` (a multiple of 8) as seen. False when some were seen before,
   * or when they lie past the end that the last fragment gave, or give another end.
   */
  mark(entry: number, offsetBytes: number, bytes: number, moreFragments: number): boolean {
    const first = offsetBytes >>> 3;
    const end = (offsetBytes + bytes + 7) >>> 3;
    const total = this.#unitsTotal[entry];
    if (end > UNITS_MAX || (total !== 0 && end > total)) return false;
    if (moreFragments === 0) {
      if (total !== 0 || this.#unitsEnd[entry] > end) return false;
      this.#unitsTotal[entry] = end;
    }
    const words = entry * SEEN_WORDS;
    let unit = first;
    while (unit < end) {
      const bit = unit & 31;
      const count = Math.min(32 - bit, end - unit);
      const mask = (count === 32 ? -1 : (1 << count) - 1) << bit;
      const word = words + (unit >>> 5);
      if ((this.#seen[word] & mask) !== 0) return false;
      this.#seen[word] |= mask;
      unit += count;
    }
    this.#unitsSeen[entry] += end - first;
    this.#unitsEnd[entry] = Math.max(this.#unitsEnd[entry], end);
    return true;
  }

  /** Whether every byte of the original packet was seen. */
  isWhole(entry: number): boolean {
    return this.#unitsTotal[entry] !== 0 && this.#unitsSeen[entry] === this.#unitsTotal[entry];
  }
}
