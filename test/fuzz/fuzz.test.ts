/** Runs the packet fuzzer in a process of its own, so that its resident growth is its own. */
import { test } from "bun:test";
import { runFuzzer } from "./fuzz-process.ts";
import { seedOfRun } from "./prng.ts";

const SECONDS_MAX = 300;
const seed = seedOfRun();

test(
  `packet parsers: 10 million structure-aware packets each (SEED=${seed})`,
  async () => runFuzzer("parser-fuzz.ts", { SEED: String(seed) }),
  SECONDS_MAX * 1_000,
);
