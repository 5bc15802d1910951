/**
 * A fuzzer in a process of its own, so that its resident growth is its own. What it prints is
 * shown; a word on standard error or another exit code than 0 fails the test.
 */
import { expect } from "bun:test";
import { join } from "node:path";

/**
 * A small heap and an allocator that gives back at once: what is resident is what is in use.
 * Without, the level swings by 20 MB although nothing is kept (it stays at 170 MB either way).
 */
export const FRUGAL = { flags: ["--smol"], environment: { MIMALLOC_PURGE_DELAY: "0" } };

export async function runFuzzer(
  file: string,
  environment: Readonly<Record<string, string>>,
  flags: readonly string[] = [],
): Promise<void> {
  const fuzzer = Bun.spawn([process.execPath, ...flags, join(import.meta.dir, file)], {
    env: { ...process.env, ...environment },
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
}
