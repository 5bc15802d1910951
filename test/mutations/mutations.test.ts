/**
 * The mutation gate (design/ledger.md "Shape of the code, and its tests"): each rule broken on
 * purpose must be noticed. A patch of this folder is applied to a copy of the tree, never a switch
 * in the product; the command in its head is run there and must fail with the words it names.
 * The same commands pass on the tree as it is.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";

const ROOT = join(import.meta.dir, "../..");
const COPIES = join(ROOT, "build/mutations");
/** Ten seconds of two cores for the longest; the rest is for machines that do more than this. */
const TIMEOUT_MS = 300_000;
const COPIED = [
  "src",
  "test/chain",
  "test/prng.ts",
  "package.json",
  "tsconfig.json",
  "bunfig.toml",
];

type Mutation = {
  readonly name: string;
  readonly what: string;
  readonly command: readonly string[];
  /** What the failing command says. */
  readonly words: RegExp;
};

/** The head of a patch: `# What:`, `# Run:` and `# Says:` lines, then what `patch` reads. */
function readMutation(file: string): Mutation {
  const text = readFileSync(join(import.meta.dir, file), "utf8");
  const line = (word: string) => new RegExp(`^# ${word}: (.+)$`, "m").exec(text)?.[1] ?? "";
  return {
    name: file.replace(".patch", ""),
    what: line("What"),
    command: line("Run").split(" "),
    words: new RegExp(line("Says")),
  };
}

const mutations = readdirSync(import.meta.dir)
  .filter((file) => file.endsWith(".patch"))
  .map(readMutation)
  .sort((one, other) => (one.name < other.name ? -1 : 1));

/** `abs …` and `bun test …` in the copy. */
async function run(copy: string, [program, ...rest]: readonly string[]) {
  const argv =
    program === "abs"
      ? [process.execPath, "src/cli/main.ts", ...rest]
      : [process.execPath, ...rest];
  const child = Bun.spawn(argv, { cwd: copy, stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  const [out, error] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  return { code: await child.exited, text: out + error };
}

function makeCopy(name: string): string {
  const copy = join(COPIES, name);
  mkdirSync(join(copy, "test"), { recursive: true });
  for (const path of COPIED) cpSync(join(ROOT, path), join(copy, path), { recursive: true });
  for (const path of ["build", "node_modules", "signatures", "templates", "docs"]) {
    symlinkSync(join(ROOT, path), join(copy, path));
  }
  return copy;
}

beforeAll(() => rmSync(COPIES, { recursive: true, force: true }));
afterAll(() => rmSync(COPIES, { recursive: true, force: true }));

test("the gate has a patch for every rule that the design names", () => {
  expect(mutations.map(({ name }) => name)).toEqual([
    "capless-timer",
    "freeze-dropped",
    "height-not-signed",
    "no-sync-before-vote",
    "quorum-2f-plus-1",
    "quorum-2f-plus-1-of-6",
    "rule-6-dropped",
    "rule-7-dropped",
    "rule-8-own-clock",
    "signatures-in-block-hash",
    "timer-before-candidate",
  ]);
});

const commands = [...new Set(mutations.map(({ command }) => command.join(" ")))];

test.each(commands)(
  "`%s` passes on the tree as it is",
  async (command) => {
    const copy = makeCopy("whole");
    const { code, text } = await run(copy, command.split(" "));
    rmSync(copy, { recursive: true });
    expect({ code, text: code === 0 ? "" : text }).toEqual({ code: 0, text: "" });
  },
  TIMEOUT_MS,
);

test.each(mutations)(
  "$name is noticed: $what",
  async ({ name, command, words }) => {
    const copy = makeCopy(name);
    const patch = ["patch", "-p1", "--fuzz=0", "-i", join(import.meta.dir, `${name}.patch`)];
    const applied = Bun.spawnSync(patch, { cwd: copy });
    expect(applied.exitCode, applied.stdout.toString()).toBe(0);
    const { code, text } = await run(copy, command);
    rmSync(copy, { recursive: true });
    expect(code).not.toBe(0);
    expect(text).toMatch(words);
  },
  TIMEOUT_MS,
);
