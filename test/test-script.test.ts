/**
 * The script that plays the suites (scripts/test.sh), in a folder of its own with small suites of
 * its own: what it counts, what gets a second try (docs/adr/017-a-second-try.md), and what it says.
 */
import { expect, test } from "bun:test";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const SCRIPT = join(import.meta.dir, "../scripts/test.sh");

const RIGHT = `test("right", () => {});`;
const WRONG = `test("wrong", () => expect(1).toBe(2));`;
/** Fails when it is played for the first time. */
const DISTURBED = `test("disturbed", () => {
  const isFirst = !existsSync(import.meta.path + ".played");
  writeFileSync(import.meta.path + ".played", "");
  expect(isFirst).toBe(false);
});`;

/** Plays `suite` with files of the given tests; what it printed, and whether it was content. */
function play(suite: string, files: Record<string, string>): { lines: string[]; passes: boolean } {
  const folder = mkdtempSync(join(tmpdir(), "abst-suites-"));
  try {
    for (const part of ["scripts", "build", `test/${suite}`]) {
      mkdirSync(join(folder, part), { recursive: true });
    }
    copyFileSync(SCRIPT, join(folder, "scripts/test.sh"));
    symlinkSync(process.execPath, join(folder, "build/bun"));
    for (const [name, body] of Object.entries(files)) {
      const head = `import { expect, test } from "bun:test";
import { existsSync, writeFileSync } from "node:fs";
`;
      writeFileSync(join(folder, "test", suite, `${name}.test.ts`), head + body);
    }
    const result = Bun.spawnSync(["bash", "scripts/test.sh", suite], { cwd: folder });
    const lines = result.stdout.toString().trim().split("\n");
    return { lines, passes: result.exitCode === 0 };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test("what passes and what fails is counted, and a second try changes nothing about it", () => {
  const { lines, passes } = play("e2e", { a: RIGHT + WRONG, b: RIGHT });
  expect(passes).toBe(false);
  expect(lines.at(-1)).toBe("2 passed, 1 failed");
  expect(lines.filter((line) => line.startsWith("== "))).toEqual([
    ...["== e2e-a", "== e2e-a-again", "== e2e-b"],
  ]);
});

test("a file that was disturbed is played once more, and the output says so", () => {
  const { lines, passes } = play("e2e", { a: RIGHT + DISTURBED, b: RIGHT });
  expect(lines.at(-1)).toBe("3 passed, 0 failed");
  expect(passes).toBe(true);
  expect(lines.some((line) => /^e2e-a .* 2 passed .*\(a second try\)$/.test(line))).toBe(true);
  expect(lines.some((line) => /^failed at its first try: e2e-a: disturbed/.test(line))).toBe(true);
});

test("of a suite in one process only the files that failed are played again", () => {
  const { lines } = play("unit", { a: RIGHT + DISTURBED, b: RIGHT });
  expect(lines.at(-1)).toBe("3 passed, 0 failed");
  expect(lines.filter((line) => line.startsWith("(pass) right"))).toHaveLength(3);
});

test("no second try: more files than a disturbance explains", () => {
  const files = Object.fromEntries(["a", "b", "c", "d"].map((name) => [name, DISTURBED]));
  expect(play("e2e", files).lines.at(-1)).toBe("3 passed, 1 failed");
  expect(play("unit", files).lines.at(-1)).toBe("0 passed, 4 failed");
});

test("no second try: what random numbers decide alone, a crash, a test that is skipped", () => {
  for (const suite of ["sim", "fuzz", "mutations"]) {
    expect(play(suite, { a: RIGHT + DISTURBED }).lines.at(-1)).toBe("1 passed, 1 failed");
  }
  const crash = `${RIGHT}test("dies", () => process.kill(process.pid, "SIGKILL"));`;
  expect(play("e2e", { a: crash }).passes).toBe(false);
  const skipped = `${RIGHT}test.skip("skipped", () => {});`;
  expect(play("e2e", { a: skipped + DISTURBED }).lines.at(-1)).toBe("1 passed, 2 failed");
});
