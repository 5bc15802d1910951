/**
 * The told story of `abs lab run`: every check in order, with what was tried, expected and
 * observed. A check that cannot even be made counts as failed.
 */
import { AbsError, messageOf } from "../errors.ts";
import { type Check, type Observed, StoryContext } from "./check.ts";
import { contractExpired, scdTampered, sessionsOnLedger } from "./checks-contracts.ts";
import { INJECTED_CHECKS } from "./checks-injected.ts";
import { bothBack, ledgerAgreed, oneStopped, twoStopped } from "./checks-ledger.ts";
import { DEATH_CHECKS, LOCAL_CHECKS } from "./checks-local.ts";
import { MANAGER_CHECKS } from "./checks-manager.ts";
import { JOIN_CHECKS, LEAVE_CHECKS, START_CHECKS } from "./checks-members.ts";
import { PROGRAM_CHECKS } from "./checks-programs.ts";
import type { Lab } from "./managed-lab.ts";

/** In the order they are told; those in which agents end come last since they change the lab. */
export const CHECKS: readonly Check[] = [
  ...START_CHECKS,
  ...PROGRAM_CHECKS,
  ...INJECTED_CHECKS,
  ...LOCAL_CHECKS,
  ...JOIN_CHECKS,
  ...MANAGER_CHECKS,
  ...LEAVE_CHECKS,
  ledgerAgreed,
  sessionsOnLedger,
  contractExpired,
  oneStopped,
  scdTampered,
  twoStopped,
  bothBack,
  ...DEATH_CHECKS,
];

/** One line of `abs lab run --output json`. */
export interface CheckResult {
  readonly name: string;
  readonly passed: boolean;
  readonly tried: string;
  readonly expected: string;
  readonly observed: string;
  /** Whether what must not happen happened; a refusal can also fail by a missing proof of it. */
  readonly breached: boolean;
  readonly seconds: number;
}

export interface StoryResult {
  readonly checks: readonly CheckResult[];
  readonly passed: number;
  readonly failed: number;
}

/** The checks of these names in the story's order; all of them when none is named. */
export function chooseChecks(names: readonly string[]): readonly Check[] {
  const unknown = names.filter((name) => !CHECKS.some((check) => check.name === name));
  if (unknown.length > 0) {
    const known = CHECKS.map((check) => check.name).join(", ");
    throw new AbsError("LAB_CHECK", `There is no check ${unknown.join(", ")}.`, `Use ${known}.`);
  }
  return names.length === 0 ? CHECKS : CHECKS.filter((check) => names.includes(check.name));
}

/** Runs the checks one after the other on a lab that is up; `tell` hears of each as it ends. */
export async function runStory(
  lab: Lab,
  checks: readonly Check[],
  options: { readonly tell?: (result: CheckResult) => void; readonly signal?: AbortSignal } = {},
): Promise<StoryResult> {
  const story = new StoryContext(lab);
  const results: CheckResult[] = [];
  // What could not be prepared shows in its check.
  const prepared = new Map(
    checks.map(({ name, prepare }) => [name, prepare?.(story).catch(() => {})]),
  );
  for (const check of checks) {
    options.signal?.throwIfAborted();
    await prepared.get(check.name);
    story.begin();
    const started = performance.now();
    const observed = await observe(story, check);
    const result: CheckResult = {
      name: check.name,
      passed: observed.passed,
      tried: check.tried,
      expected: check.expected,
      observed: observed.words,
      breached: observed.breached ?? false,
      seconds: Math.round(performance.now() - started) / 1_000,
    };
    results.push(result);
    options.tell?.(result);
  }
  const passed = results.filter((result) => result.passed).length;
  return { checks: results, passed, failed: results.length - passed };
}

async function observe(story: StoryContext, check: Check): Promise<Observed> {
  try {
    return await check.run(story);
  } catch (thrown) {
    return { passed: false, words: `the check could not be made: ${messageOf(thrown)}` };
  }
}
