/**
 * Sets of byte values (0..255), immutable, as eight words. Control plane: compiling and linting.
 */

export class ByteSet {
  static readonly ALL = ByteSet.range(0, 255);
  static readonly NONE = new ByteSet(new Uint32Array(8));

  /** Worked out when first asked for: compiling asks the same sets often. */
  #values: number[] | undefined;

  private constructor(readonly words: Uint32Array) {}

  /** The set of `words`, as another process had them. */
  static fromWords(words: Uint32Array): ByteSet {
    return new ByteSet(words);
  }

  static of(...values: readonly number[]): ByteSet {
    const words = new Uint32Array(8);
    for (const value of values)
      words[value >>> 5] = (words[value >>> 5] ?? 0) | (1 << (value & 31));
    return new ByteSet(words);
  }

  /** All values from `low` to `high`, both included. */
  static range(low: number, high: number): ByteSet {
    return ByteSet.of(...Array.from({ length: high - low + 1 }, (_, i) => low + i));
  }

  has(value: number): boolean {
    return (((this.words[value >>> 5] ?? 0) >>> (value & 31)) & 1) === 1;
  }

  union(other: ByteSet): ByteSet {
    return new ByteSet(this.words.map((word, i) => word | (other.words[i] ?? 0)));
  }

  intersect(other: ByteSet): ByteSet {
    return new ByteSet(this.words.map((word, i) => word & (other.words[i] ?? 0)));
  }

  complement(): ByteSet {
    return new ByteSet(this.words.map((word) => ~word));
  }

  /** Letters of either case where one case is in the set (ASCII). */
  caseless(): ByteSet {
    const added: number[] = [];
    for (let upper = 0x41; upper <= 0x5a; upper++) {
      if (this.has(upper)) added.push(upper + 32);
      if (this.has(upper + 32)) added.push(upper);
    }
    return this.union(ByteSet.of(...added));
  }

  /** Ascending. */
  values(): readonly number[] {
    if (this.#values !== undefined) return this.#values;
    const values: number[] = [];
    for (let value = 0; value < 256; value++) if (this.has(value)) values.push(value);
    this.#values = values;
    return values;
  }

  get size(): number {
    return this.values().length;
  }

  get isEmpty(): boolean {
    return this.words.every((word) => word === 0);
  }

  equals(other: ByteSet): boolean {
    return this.words.every((word, i) => word === other.words[i]);
  }

  /** The same text for equal sets. */
  get key(): string {
    return this.words.join(",");
  }
}
