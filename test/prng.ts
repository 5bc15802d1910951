/**
 * Random numbers that a failing test can be replayed with: SEED in the environment, printed in the
 * test's name. xorshift128 (Marsaglia, 2003); not for secrets. One is made a test and handed down.
 */

/** Seed of this run: SEED of the environment, or a fresh one. */
export const seed = Number(process.env["SEED"] ?? crypto.getRandomValues(new Uint32Array(1))[0]);

export class Prng {
  private readonly state = new Uint32Array(4);

  constructor(from: number) {
    this.state.set([from, from ^ 0x9e3779b9, Math.imul(from, 0x85ebca6b), 0x1234567]);
    for (let i = 0; i < 20; i++) this.u32();
  }

  u32(): number {
    let next = this.state[0];
    next ^= next << 11;
    next ^= next >>> 8;
    this.state[0] = this.state[1];
    this.state[1] = this.state[2];
    this.state[2] = this.state[3];
    this.state[3] ^= (this.state[3] >>> 19) ^ next;
    return this.state[3];
  }

  /** A whole number from 0 to `bound` - 1. */
  below(bound: number): number {
    return Math.floor((this.u32() / 2 ** 32) * bound);
  }

  /** True once in `turns` on average. */
  oneIn(turns: number): boolean {
    return this.below(turns) === 0;
  }
}
