/** Runs the packet fuzzer in a process of its own, so that its resident growth is its own. */
import { expect, test } from "bun:test";
import { join } from "node:path";
import { seedOfRun } from "./prng.ts";

const SECONDS_MAX = 300;
const seed = seedOfRun();

test(
  `packet parsers: 10 million structure-aware packets each (SEED=${seed})`,
  async () => {
    const fuzzer = Bun.spawn([process.execPath, join(import.meta.dir, "parser-fuzz.ts")], {
      env: { ...process.env, SEED: String(seed) },
      stdout: "pipe",
      stderr: "pipe",
    });
    const [output, errors, exitCode] = await Promise.all([
      new Response(fuzzer.stdout).text(),
      new Response(fuzzer.stderr).text(),
      fuzzer.exited,
    ]);
    console.log(output.trimEnd());
    expect(errors).toBe("");
    expect(exitCode).toBe(0);
  },
  SECONDS_MAX * 1_000,
);
