/**
 * When JavaScriptCore compiles in a node of the ledger that is a process of its own.
 * docs/adr/016-compiler-settings-of-a-node.md. A node does the same few things in every block, and
 * blocks are few: with the defaults it interprets most of them for its first thousands of blocks,
 * while its threads compile, and optimise too early, what the cores are wanted for.
 * JavaScriptCore reads its options from the environment when a process starts, and never again: so
 * the process replaces itself once, before it has opened anything.
 */
import { messageOf } from "../errors.ts";

/** Counted in calls and turns of loops; defaults 500, 1,000 and 64,000. */
export const COMPILER_SETTINGS = {
  BUN_JSC_thresholdForJITAfterWarmUp: "100",
  BUN_JSC_thresholdForOptimizeAfterWarmUp: "400",
  BUN_JSC_thresholdForFTLOptimizeAfterWarmUp: "200000",
} as const;

type Environment = Readonly<Record<string, string | undefined>>;

/** What stands in it already is the user's word; undefined: nothing is missing. */
export function withCompilerSettings(environment: Environment): Environment | undefined {
  const isWhole = Object.keys(COMPILER_SETTINGS).every((name) => environment[name] !== undefined);
  return isWhole ? undefined : { ...COMPILER_SETTINGS, ...environment };
}

/**
 * Begins this process anew with them, with the same number, files and words; returns where it has
 * them, or where the executable is gone: then it runs without.
 * @param command the words that run this program; the first is the path of the executable
 */
export function ensureCompilerSettings(
  command: readonly string[],
  onFailure: (words: string) => void,
): void {
  const environment = withCompilerSettings(process.env);
  const [executable] = command;
  if (environment === undefined || executable === undefined) return;
  try {
    process.execve?.(executable, command, environment as NodeJS.ProcessEnv);
  } catch (thrown) {
    onFailure(`Begun without settings of the compiler: ${messageOf(thrown)}`);
  }
}
