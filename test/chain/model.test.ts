/**
 * Runs Spin on docs/model/agreement.pml: no two hashes decided at one height, and a counterexample
 * for every rule broken on purpose, so that the model is known to be able to fail.
 * docs/model/README.md has the same table and says what is covered.
 */
import { expect, test } from "bun:test";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";

const ROOT = join(import.meta.dir, "../..");
const MODEL = join(ROOT, "docs/model/agreement.pml");
const README = readFileSync(join(ROOT, "docs/model/README.md"), "utf8");
const MEMORY_MIB = 700;
/** Of a core, not of the clock: 13 are needed, however busy the machine is. */
const CPU_SECONDS_MAX = 90;
const TIMEOUT_MS = 600_000;

/** Runs a command in `directory`; fails the test with its words when it does not succeed. */
async function run(directory: string, command: readonly string[]): Promise<string> {
  const child = Bun.spawn([...command], { cwd: directory, stdout: "pipe", stderr: "pipe" });
  const [out, error] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  expect(await child.exited, `${command.join(" ")}\n${out}${error}`).toBe(0);
  return out;
}

/** Spin's verdict: how many errors, of how many states, and was everything visited? */
async function verify(name: string, options: readonly string[]) {
  const directory = join(ROOT, "build/model", name.replaceAll(/\W+/g, "-"));
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  await run(directory, ["spin", "-a", ...options, MODEL]);
  const defines = ["-DSAFETY", "-DNOREDUCE", `-DMEMLIM=${MEMORY_MIB}`];
  await run(directory, ["gcc", "-w", "-O2", ...defines, "-o", "pan", "pan.c"]);
  const limited = `ulimit -t ${CPU_SECONDS_MAX} && exec ./pan -m10000`;
  const out = await run(directory, ["bash", "-c", limited]);
  const number = (pattern: RegExp) => Number(pattern.exec(out)?.[1]);
  rmSync(directory, { recursive: true });
  return {
    errors: number(/errors: (\d+)/),
    states: number(/(\d+) states, stored/),
    isWhole: !/Search not completed|max search depth too small|memory limit/i.test(out),
  };
}

const sound = [
  { name: "two attempts of two views", options: [] },
  { name: "one attempt of three views", options: ["-DATTEMPTS=1", "-DVIEWS=3"] },
  { name: "three attempts of one view", options: ["-DATTEMPTS=3", "-DVIEWS=1"] },
];

// All three at once, for the machines that have the cores.
test.concurrent.each(sound)(
  "the model decides no two hashes: $name",
  async ({ name, options }) => {
    const { errors, states, isWhole } = await verify(name, options);
    expect({ errors, isWhole }).toEqual({ errors: 0, isWhole: true });
    expect(README).toContain(`| ${name} |`);
    expect(README).toContain(`| ${states.toLocaleString("en")} | no error |`);
  },
  TIMEOUT_MS,
);

const THREE_ATTEMPTS = ["-DATTEMPTS=3", "-DVIEWS=1"];
const broken = [
  { name: "q = 2 of 4", options: ["-DQUORUM=2"] },
  { name: "two liars of four", options: ["-DLIARS=2", "-DHONEST=2"] },
  { name: "two votes in a view (rule 2)", options: ["-DTWO_VOTES"] },
  { name: "votes below a ROUND_CHANGE (rule 6)", options: ["-DNO_RULE_6"] },
  { name: "no justification of a later view (rule 7)", options: ["-DNO_RULE_7"] },
  {
    name: "any prepared hash, not the highest (rule 7)",
    options: ["-DANY_PREPARED", "-DATTEMPTS=1", "-DVIEWS=3"],
  },
  { name: "ABANDONs bind nothing", options: ["-DNO_CARRY"] },
  { name: "votes after ABANDON", options: ["-DVOTE_AFTER_ABANDON"] },
  {
    name: "ABANDON carries only own certificates",
    options: ["-DNO_INHERITANCE", ...THREE_ATTEMPTS],
  },
  {
    name: "ABANDON before a CANDIDATE of that attempt",
    options: ["-DABANDON_BEFORE_CANDIDATE", ...THREE_ATTEMPTS],
  },
];

test.each(broken)(
  "the model finds two hashes decided with $name",
  async ({ name, options }) => {
    const { errors } = await verify(name, options);
    expect(errors).toBe(1);
    expect(README).toContain(`| ${name} |`);
  },
  TIMEOUT_MS,
);
