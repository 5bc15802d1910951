/**
 * What many seeds played: how often each number of validators, each fault, each lie, and how it
 * went. A kind that hardly ever happened is a fault of the simulator: a lie that nobody tells
 * finds nothing (design/ledger.md "Simulator").
 */
import { FAULT_KINDS, type FaultKind } from "./fault.ts";
import { LIE_KINDS, type LieKind } from "./lie.ts";
import { OPERATOR_ACTS, type OperatorAct } from "./operator.ts";
import { VALIDATORS_MAX } from "./scenario.ts";

/** How one seed went. Counts are of what happened, not of what was planned. */
export type SeedResult = {
  readonly seed: number;
  readonly validators: number;
  readonly heights: number;
  readonly viewChanges: number;
  readonly attempts: number;
  readonly isReal: boolean;
  readonly messages: number;
  readonly faults: Readonly<Partial<Record<FaultKind, number>>>;
  readonly lies: Readonly<Partial<Record<LieKind, number>>>;
  readonly operator: Readonly<Partial<Record<OperatorAct, number>>>;
  /** What broke, in words; undefined: nothing. */
  readonly violation: string | undefined;
  /** Whether that is want of progress. */
  readonly isStalled: boolean;
};

export type Tally = {
  seeds: number;
  violations: number;
  /** Of these, want of progress. */
  stalls: number;
  real: number;
  messages: number;
  /** Seeds that broke, the first of them. */
  failing: number[];
  /** Counts of seeds by value. */
  validators: Record<string, number>;
  heights: Record<string, number>;
  viewChanges: Record<string, number>;
  attempts: Record<string, number>;
  /** Counts of seeds in which it happened at least once. */
  faults: Record<string, number>;
  lies: Record<string, number>;
  operator: Record<string, number>;
};

const FAILING_KEPT = 20;
/** Of 10,000 seeds, each kind is in at least 100. */
const RARE_SHARE = 0.01;
/** Below so many seeds, chance decides what is rare. */
export const SEEDS_FOR_RARITY = 5000;

export function emptyTally(): Tally {
  return {
    seeds: 0,
    violations: 0,
    stalls: 0,
    real: 0,
    messages: 0,
    failing: [],
    validators: {},
    heights: {},
    viewChanges: {},
    attempts: {},
    faults: {},
    lies: {},
    operator: {},
  };
}

export function count(into: Record<string, number>, key: string | number, by = 1): void {
  into[key] = (into[key] ?? 0) + by;
}

export function addSeed(tally: Tally, result: SeedResult): void {
  tally.seeds++;
  tally.messages += result.messages;
  if (result.isReal) tally.real++;
  if (result.violation !== undefined) {
    tally.violations++;
    if (tally.failing.length < FAILING_KEPT) tally.failing.push(result.seed);
  }
  if (result.isStalled) tally.stalls++;
  count(tally.validators, result.validators);
  count(tally.heights, result.heights);
  count(tally.viewChanges, result.viewChanges);
  count(tally.attempts, result.attempts);
  for (const kind of Object.keys(result.faults)) count(tally.faults, kind);
  for (const kind of Object.keys(result.lies)) count(tally.lies, kind);
  for (const act of Object.keys(result.operator)) count(tally.operator, act);
}

export function addTally(into: Tally, part: Tally): void {
  into.seeds += part.seeds;
  into.violations += part.violations;
  into.stalls += part.stalls;
  into.real += part.real;
  into.messages += part.messages;
  into.failing = [...into.failing, ...part.failing].sort((a, b) => a - b).slice(0, FAILING_KEPT);
  for (const name of HISTOGRAMS) {
    for (const [key, by] of Object.entries(part[name])) count(into[name], key, by);
  }
}

export const HISTOGRAMS = [
  "validators",
  "heights",
  "viewChanges",
  "attempts",
  "faults",
  "lies",
  "operator",
] as const;

/** Kinds that happened in less than one seed in a hundred, with how often; of those allowed. */
export function rareKinds(tally: Tally): string[] {
  const least = tally.seeds * RARE_SHARE;
  const rare = (kinds: readonly (string | number)[], counts: Record<string, number>) =>
    kinds
      .filter((kind) => (counts[kind] ?? 0) < least)
      .map((kind) => `${kind}: ${counts[kind] ?? 0}`);
  const sizes = Array.from({ length: VALIDATORS_MAX }, (_, i) => i + 1);
  return [
    ...rare(sizes, tally.validators).map((words) => `validators ${words}`),
    ...rare(FAULT_KINDS, tally.faults),
    ...rare(LIE_KINDS, tally.lies),
    ...rare(OPERATOR_ACTS, tally.operator),
  ];
}
