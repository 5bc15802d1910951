/** Runs the fuzzer of the manager channel in a process of its own. CHANNEL_SECONDS: 20. */
import { test } from "bun:test";
import { FRUGAL, runFuzzer } from "./fuzz-process.ts";
import { seedOfRun } from "./prng.ts";

const SECONDS = Number(process.env["CHANNEL_SECONDS"] ?? 20);
const seed = seedOfRun();

test(
  `the manager channel, both ends: ${SECONDS} s (SEED=${seed})`,
  async () =>
    runFuzzer(
      "manager-channel-fuzz.ts",
      { ...FRUGAL.environment, SEED: String(seed), CHANNEL_SECONDS: String(SECONDS) },
      FRUGAL.flags,
    ),
  (3 * SECONDS + 60) * 1_000,
);
