/** The command line as scripts see it: results on standard output, everything else beside it. */
import { expect, test } from "bun:test";

const MAIN = new URL("./main.ts", import.meta.url).pathname;

const failing = [
  {
    args: ["agent", "status", "--state", "/nonexistent", "--output", "json"],
    exitCode: 3,
    words: "→",
  },
  {
    args: ["agent", "status", "--output", "yaml"],
    exitCode: 2,
    words: "OPTION_INVALID",
  },
  { args: ["lab", "status", "--name", "absent", "--output", "json"], exitCode: 1, words: "→" },
  { args: ["agent", "run"], exitCode: 2, words: "--help" },
];
test.each(failing)("$args fails beside standard output", ({ args, exitCode, words }) => {
  const { stdout, stderr, exitCode: ended } = Bun.spawnSync([process.execPath, MAIN, ...args]);
  expect(stdout.toString()).toBe("");
  expect(stderr.toString()).toContain(words);
  expect(ended).toBe(exitCode);
});
