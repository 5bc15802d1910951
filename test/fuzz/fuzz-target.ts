/** One decoder for the decoder fuzzer: what to feed it, its answers, its time. */
import { AbsError } from "../../src/errors.ts";
import type { Prng } from "./prng.ts";

export interface DecoderTarget {
  readonly name: string;
  /** Of the run's time, in parts of the sum of all. */
  readonly share: number;
  /** Every reason it refuses for; another one is a fault. */
  readonly reasons: readonly string[];
  /** One input takes no longer. */
  readonly limitMs: number;
  /** An input, remembered by the caller for the case of a failure. */
  make(prng: Prng): unknown;
  /** Undefined when it parses, else the reason; throws on a fault. */
  run(input: never): string | undefined;
}

/** Runs a decoder whose only permitted throw is AbsError; the reason is `reasonOf` it. */
export function refusalOf(
  decode: () => unknown,
  reasonOf: (error: AbsError) => string = ({ code }) => code,
): string | undefined {
  try {
    decode();
    return undefined;
  } catch (thrown) {
    if (thrown instanceof AbsError) return reasonOf(thrown);
    throw thrown;
  }
}
