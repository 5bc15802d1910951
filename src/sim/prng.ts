/**
 * Random numbers of the simulator: xorshift128 (Marsaglia, 2003), seeded, handed down, never the
 * global generator, so that a seed replays exactly. Not for secrets.
 */

export class Prng {
  private readonly state = new Uint32Array(4);

  constructor(from: number) {
    for (let i = 0; i < 4; i++) this.state[i] = scramble(from + Math.imul(i + 1, 0x9e3779b9));
    for (let i = 0; i < 4; i++) this.u32();
  }

  /** For part `index` alone, so that dropping another part changes nothing here. */
  static of(seed: number, index: number): Prng {
    return new Prng(scramble(seed) ^ Math.imul(index + 1, 0xc2b2ae35));
  }

  u32(): number {
    const state = this.state;
    let next = state[0] as number;
    next ^= next << 11;
    next ^= next >>> 8;
    state[0] = state[1] as number;
    state[1] = state[2] as number;
    const last = state[3] as number;
    state[2] = last;
    state[3] = last ^ (last >>> 19) ^ next;
    return state[3] as number;
  }

  /** A whole number from 0 to `bound` - 1. */
  below(bound: number): number {
    return Math.floor((this.u32() / 2 ** 32) * bound);
  }

  /** A whole number from `low` to `high`, both possible. */
  between(low: number, high: number): number {
    return low + this.below(high - low + 1);
  }

  /** True once in `turns` on average. */
  oneIn(turns: number): boolean {
    return this.below(turns) === 0;
  }

  /** True in `share` of all cases, 0 to 1. */
  chance(share: number): boolean {
    return this.u32() / 2 ** 32 < share;
  }

  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)] as T;
  }

  /** `count` different ones in random order; all when there are not so many. */
  some<T>(from: readonly T[], count: number): T[] {
    const left = [...from];
    const taken: T[] = [];
    while (taken.length < count && left.length > 0) {
      taken.push(...left.splice(this.below(left.length), 1));
    }
    return taken;
  }

  bytes(count: number): Uint8Array {
    const bytes = new Uint8Array(count);
    for (let i = 0; i < count; i++) bytes[i] = this.below(256);
    return bytes;
  }
}

/** MurmurHash3's last step: neighbouring seeds get unlike states. */
function scramble(word: number): number {
  let mixed = word ^ (word >>> 16);
  mixed = Math.imul(mixed, 0x85ebca6b);
  mixed ^= mixed >>> 13;
  mixed = Math.imul(mixed, 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
