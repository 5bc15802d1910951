/** Nodes begin with settings of the compiler: what the engine itself says at each start. */
import { expect, test } from "bun:test";
import { COMPILER_SETTINGS } from "../../src/validator/compiler-settings.ts";
import { MAIN } from "./ledger-site.ts";

const [NAME = ""] = Object.keys(COMPILER_SETTINGS);
const RUN = ["validator", "run", "--dir", "/nonexistent"];
const MASTER_RUN = ["ledger", "master", "run", "--dir", "/nonexistent"];

const DUMP = { BUN_JSC_dumpOptions: "1" };

type Settings = Readonly<Record<string, string>>;

/** What the engine says at each of the process's starts that it was told, by option. */
function optionsOf(words: readonly string[], env: Settings) {
  const { stderr, exitCode } = Bun.spawnSync([process.execPath, MAIN, ...words], {
    stdout: "ignore",
    env: { PATH: process.env["PATH"] ?? "", ...DUMP, ...env },
  });
  const starts = stderr.toString().split("Modified JSC options:").slice(1);
  const options = starts.map((start) => {
    const found = [...start.matchAll(/^ +(\w+)=(\S+) \(default/gm)];
    return Object.fromEntries(found.map(([, name, value]) => [`BUN_JSC_${name}`, value]));
  });
  return { options, exitCode };
}

type Start = {
  readonly name: string;
  readonly words: readonly string[];
  readonly env?: Settings;
  /** At each of its starts. */
  readonly options: readonly Settings[];
  readonly exitCode: number;
};
const starting: readonly Start[] = [
  { name: "a validator", words: RUN, options: [{}, COMPILER_SETTINGS], exitCode: 1 },
  { name: "a master", words: MASTER_RUN, options: [{}, COMPILER_SETTINGS], exitCode: 1 },
  {
    name: "a validator with a setting of the user's",
    ...{ words: RUN, env: { [NAME]: "7" }, exitCode: 1 },
    options: [{ [NAME]: "7" }, { ...COMPILER_SETTINGS, [NAME]: "7" }],
  },
  {
    name: "a validator with all of them set, which begins once",
    ...{ words: RUN, env: COMPILER_SETTINGS, exitCode: 1 },
    options: [COMPILER_SETTINGS],
  },
  { name: "a validator's help", words: [...RUN, "--help"], options: [{}], exitCode: 0 },
  { name: "a refused flag", words: ["validator", "run"], options: [{}], exitCode: 2 },
];
test.each(starting)("the engine's settings: $name", ({ words, env, options, exitCode }) => {
  const ran = optionsOf(words, env ?? {});
  expect(ran.options).toEqual(options.map((one) => ({ ...DUMP, ...one })));
  // The process that was begun is the one that ends: its caller hears how.
  expect(ran.exitCode).toBe(exitCode);
});
