/**
 * Runs the decoder fuzzer in a process of its own, so that its resident growth is its own. Five
 * minutes, which DECODER_SECONDS shortens (bash keeps SECONDS for itself).
 */
import { test } from "bun:test";
import { FRUGAL, runFuzzer } from "./fuzz-process.ts";
import { seedOfRun } from "./prng.ts";

const SECONDS = Number(process.env["DECODER_SECONDS"] ?? 300);
const seed = seedOfRun();

test(
  `all decoders but the packet parsers: ${SECONDS} s (SEED=${seed})`,
  async () =>
    runFuzzer(
      "decoders-fuzz.ts",
      { ...FRUGAL.environment, SEED: String(seed), DECODER_SECONDS: String(SECONDS) },
      FRUGAL.flags,
    ),
  (4 * SECONDS + 60) * 1_000,
);
