/**
 * `abs ledger verify` finds any flipped bit: a chain of 1,000 blocks on the real curves, and one
 * bit of it at a time, wherever it lies. The seed in the title plays a failure again.
 */
import { beforeAll, describe, expect, test } from "bun:test";
import { concat } from "../../src/bytes.ts";
import type { ChainState } from "../../src/chain/chain-state.ts";
import type { Height } from "../../src/chain/ledger-units.ts";
import { ChainVerifier, verifyChain } from "../../src/chain/verify-chain.ts";
import { Prng, seed } from "../prng.ts";
import { ChainBuilder, contractOf, NobleKeys } from "./chain-builder.ts";

const BLOCKS = 1000;
const FLIPS = 2000;

describe(`an exported chain of ${BLOCKS} blocks (SEED=${seed})`, () => {
  const prng = new Prng(seed);
  const builder = new ChainBuilder(new NobleKeys(7), 4);
  let lines: Uint8Array[] = [];

  beforeAll(() => {
    for (let i = 0; i < BLOCKS; i++) {
      const isFull = i % 10 === 0;
      builder.add({ contracts: isFull ? [contractOf(3 * i), contractOf(3 * i + 1)] : [] });
    }
    lines = builder.lines();
  });

  test("verifies as it is, whatever the chunks, and reaches the tip", async () => {
    const whole = concat(...lines);
    const chunks: Uint8Array[] = [];
    for (let start = 0; start < whole.length; ) {
      const end = start + 1 + prng.below(20_000);
      chunks.push(whole.subarray(start, end));
      start = end;
    }
    const result = await verifyChain(chunks, builder.crypto);
    expect(result.isValid && result.state.blockHash).toBe(builder.state.blockHash);
  });

  /** What a verifier says of the lines from `index` on, when those before are what they were. */
  function verifyFrom(index: number, from: readonly Uint8Array[]): boolean {
    const before: ChainState | undefined = index === 0 ? undefined : builder.states[index - 1];
    const verifier = new ChainVerifier(builder.crypto, {}, before);
    for (const line of from) {
      verifier.take(line);
      if (verifier.isOver) break;
    }
    return verifier.finish().isValid;
  }

  test(`is refused with any one of ${FLIPS} random bits flipped`, () => {
    const sizes = lines.map((line) => line.length);
    const total = sizes.reduce((sum, size) => sum + size, 0);
    for (let i = 0; i < FLIPS; i++) {
      let at = prng.below(total);
      let index = 0;
      for (; at >= (sizes[index] ?? 0); index++) at -= sizes[index] ?? 0;
      const flipped = Uint8Array.from(lines[index] ?? []);
      flipped[at] = (flipped[at] ?? 0) ^ (1 << prng.below(8));
      const isValid = verifyFrom(index, [flipped, ...lines.slice(index + 1)]);
      expect({ index, at, isValid }).toEqual({ index, at, isValid: false });
    }
  });

  test("is refused with any bit of a line flipped, for a block and the genesis file", () => {
    for (const index of [0, BLOCKS]) {
      const line = lines[index] ?? new Uint8Array(0);
      for (let at = 0; at < line.length; at++) {
        const flipped = Uint8Array.from(line);
        flipped[at] = (flipped[at] ?? 0) ^ (1 << (at % 8));
        const isValid = verifyFrom(index, [flipped, ...lines.slice(index + 1, index + 3)]);
        expect({ index, at, isValid }).toEqual({ index, at, isValid: false });
      }
    }
  });

  test("is refused with a line missing, twice, or cut", () => {
    const two = lines.slice(0, 3);
    const [genesis, first, second] = two as [Uint8Array, Uint8Array, Uint8Array];
    const at = { height: 2 as Height };
    const said = (...parts: Uint8Array[]): boolean => {
      const verifier = new ChainVerifier(builder.crypto, at);
      for (const part of parts) verifier.take(part);
      return verifier.finish().isValid;
    };
    expect(said(genesis, first, second)).toBe(true);
    expect(said(genesis, second)).toBe(false);
    expect(said(genesis, first, first)).toBe(false);
    expect(said(genesis, first)).toBe(false);
    expect(said(genesis, first, second.subarray(0, -1))).toBe(false);
    expect(said(first, second)).toBe(false);
    expect(said()).toBe(false);
  });
});
