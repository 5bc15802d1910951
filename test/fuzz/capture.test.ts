/** Runs the capture fuzzer in a process of its own: 20 s, or CAPTURE_SECONDS. */
import { test } from "bun:test";
import { FRUGAL, runFuzzer } from "./fuzz-process.ts";
import { seedOfRun } from "./prng.ts";

const SECONDS = Number(process.env["CAPTURE_SECONDS"] ?? 20);
const seed = seedOfRun();

test(
  `capture readers and flow tracker: ${SECONDS} s (SEED=${seed})`,
  async () =>
    runFuzzer(
      "capture-fuzz.ts",
      { ...FRUGAL.environment, SEED: String(seed), CAPTURE_SECONDS: String(SECONDS) },
      FRUGAL.flags,
    ),
  (SECONDS + 60) * 1_000,
);
