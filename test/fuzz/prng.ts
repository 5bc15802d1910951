/** Seeded random numbers for fuzzing and property tests: sfc32, so a failure can be replayed. */
export class Prng {
  #a: number;
  #b: number;
  #c = 0x9e37_79b9;
  #count = 1;

  constructor(readonly seed: number) {
    this.#a = seed | 0;
    this.#b = ~seed | 0;
    for (let i = 0; i < 12; i++) this.next();
  }

  /** 32 random bits, unsigned. */
  next(): number {
    const sum = (((this.#a + this.#b) | 0) + this.#count) | 0;
    this.#count = (this.#count + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + sum;
    return sum >>> 0;
  }

  /** A number from 0 to `limit` - 1; `limit` is at most 65,536. */
  below(limit: number): number {
    return ((this.next() >>> 16) * limit) >>> 16;
  }
}

/** The seed of this run: SEED of the environment, else random. Print it in the test's name. */
export function seedOfRun(): number {
  const given = process.env["SEED"];
  return given === undefined ? crypto.getRandomValues(new Uint32Array(1))[0] : Number(given);
}
