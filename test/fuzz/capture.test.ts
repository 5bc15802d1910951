/** Runs the capture fuzzer in a process of its own: 20 s, or CAPTURE_SECONDS. */
import { expect, test } from "bun:test";
import { join } from "node:path";
import { seedOfRun } from "./prng.ts";

const SECONDS = Number(process.env["CAPTURE_SECONDS"] ?? 20);
const seed = seedOfRun();

test(
  `capture readers and flow tracker: ${SECONDS} s (SEED=${seed})`,
  async () => {
    const path = join(import.meta.dir, "capture-fuzz.ts");
    const fuzzer = Bun.spawn([process.execPath, "--smol", path], {
      env: {
        ...process.env,
        MIMALLOC_PURGE_DELAY: "0",
        SEED: String(seed),
        CAPTURE_SECONDS: String(SECONDS),
      },
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
  (SECONDS + 60) * 1_000,
);
