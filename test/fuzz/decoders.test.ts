/**
 * Runs the decoder fuzzer in a process of its own, so that its resident growth is its own. Five
 * minutes, which DECODER_SECONDS shortens (bash keeps SECONDS for itself).
 */
import { expect, test } from "bun:test";
import { join } from "node:path";
import { seedOfRun } from "./prng.ts";

const SECONDS = Number(process.env["DECODER_SECONDS"] ?? 300);
const seed = seedOfRun();

test(
  `all decoders but the packet parsers: ${SECONDS} s (SEED=${seed})`,
  async () => {
    // A small heap and an allocator that gives back at once: what is resident is what is in use.
    // Without, the level swings by 20 MB although nothing is kept (it stays at 170 MB either way).
    const path = join(import.meta.dir, "decoders-fuzz.ts");
    const fuzzer = Bun.spawn([process.execPath, "--smol", path], {
      env: {
        ...process.env,
        MIMALLOC_PURGE_DELAY: "0",
        SEED: String(seed),
        DECODER_SECONDS: String(SECONDS),
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
  (2 * SECONDS + 60) * 1_000,
);
