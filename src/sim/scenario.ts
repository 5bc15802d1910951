/**
 * What one seed plays: how many nodes, which faults, which lies. A function of the seed and the
 * options, and data only, so that shrink.ts can play it again with less.
 */
import { faultsOf } from "../chain/certificate.ts";
import {
  FAULT_KINDS,
  FAULTS_END_MS,
  type Fault,
  type FaultKind,
  isObserving,
  isOfKeys,
  isOfOperators,
  makeFault,
  makeHaste,
  makeMasterLoss,
} from "./fault.ts";
import { isMasterLie, LIE_KINDS, type Lie, type LieKind } from "./lie.ts";
import { Prng } from "./prng.ts";

export const VALIDATORS_MAX = 20;
/** Sealed blocks after which a seed has played enough, once its faults are over. */
export const HEIGHTS = 10;
/** One seed in so many signs with secp256k1 and draws with edwards25519. */
const REAL_EVERY = 50;
/** Of all seeds, and of those whose committees bear no fault. */
const MASTER_LOST_EVERY = 10;
const HOUR_MS = 3_600_000;
const NEEDED_DISK_LOST_EVERY = 3;
const HASTY_EVERY = 3;
const ROTATION_EVERY = 4;
const ROTATIONS_MAX = 3;

/** What can be told only after a view failed, or with a certificate in hand. */
const SELDOM: readonly LieKind[] = [
  "unjustified-leader",
  "forged-certificate",
  "stale-certificate",
  "selective-leader-q-1",
];

export type Scenario = {
  readonly seed: number;
  /** Committee size. */
  readonly validators: number;
  /** Nodes of the ledger: committees are drawn of them. */
  readonly nodes: number;
  readonly heights: number;
  readonly isReal: boolean;
  readonly faults: readonly Fault[];
  readonly lies: readonly Lie[];
};

export type ScenarioOptions = {
  /** Fixed; otherwise 1 to 20, each as likely. */
  readonly validators: number | undefined;
  /** Only these kinds, of faults and of lies; undefined: all. */
  readonly faults: readonly (FaultKind | LieKind)[] | undefined;
};

export function makeScenario(seed: number, options: ScenarioOptions): Scenario {
  const prng = Prng.of(seed, 0);
  const drawn = prng.between(1, VALIDATORS_MAX);
  const validators = options.validators ?? drawn;
  // Most often all are in every committee; else the draw decides.
  const nodes = prng.oneIn(4) ? validators + prng.between(1, 3) : validators;
  const f = faultsOf(validators);
  const lies = makeLies(prng, { nodes, f, allowed: options.faults });
  const spare = f - new Set(lies.filter(isOfMember).map((lie) => lie.participant)).size;
  return {
    seed,
    validators,
    nodes,
    heights: HEIGHTS,
    isReal: seed % REAL_EVERY === 0,
    faults: [
      ...makeFaults(prng, { nodes, spare, allowed: options.faults }).flatMap((fault) =>
        withWrongClock(fault, Prng.of(seed, 7), options.faults),
      ),
      ...makeLosses(Prng.of(seed, 5), {
        ...{ nodes, validators, allowed: options.faults },
        isMasterTrusted: lies.every(isOfMember),
      }),
      ...makeRotations(Prng.of(seed, 9), { nodes, allowed: options.faults }),
    ],
    lies,
  };
}

function isOfMember(lie: Lie): boolean {
  return !isMasterLie(lie.kind);
}

type Limits = {
  readonly nodes: number;
  readonly allowed: readonly (FaultKind | LieKind)[] | undefined;
};

/**
 * At least one lie where f >= 1; up to f liars, up to three lies each. One master in four lies.
 * Where kinds are asked for there are as many liars as can be, and each tells all that it may.
 */
function makeLies(prng: Prng, limits: Limits & { readonly f: number }): Lie[] {
  const { nodes, f, allowed } = limits;
  const kinds = LIE_KINDS.filter((kind) => allowed?.includes(kind) ?? true);
  const ofMaster = kinds.filter(isMasterLie);
  // Lies that need a view change on top are drawn four times as often, and told whenever they can.
  const ofMember = kinds
    .filter((kind) => !isMasterLie(kind))
    .flatMap((kind) => (SELDOM.includes(kind) ? [kind, kind, kind, kind] : [kind]));
  const everybody = Array.from({ length: nodes }, (_, i) => i);
  const areAsked = allowed !== undefined;
  const liars = prng.some(everybody, f === 0 || areAsked ? f : prng.between(1, f));
  const lies: Lie[] = liars.flatMap((participant) => {
    const told = prng.some(ofMember, areAsked ? ofMember.length : prng.between(1, 3));
    return [...new Set(told)].map((kind) => ({
      ...{ kind, participant },
      share: SELDOM.includes(kind) ? 1 : prng.pick([0.1, 0.3, 1]),
    }));
  });
  if (areAsked || prng.oneIn(4)) {
    const kind = prng.some(ofMaster, 1);
    lies.push(
      ...kind.map((one) => ({
        kind: one,
        participant: nodes,
        share: areAsked ? 1 : prng.pick([0.1, 0.3]),
      })),
    );
  }
  return lies;
}

/** At least three kinds where so many are allowed. */
function makeFaults(prng: Prng, limits: Limits & { readonly spare: number }): Fault[] {
  const { nodes, spare, allowed } = limits;
  const kinds = FAULT_KINDS.filter(
    (kind) => !isOfOperators(kind) && !isOfKeys(kind) && (allowed?.includes(kind) ?? true),
  );
  const lasting = kinds.filter(isObserving);
  const passing = kinds.filter((kind) => !isObserving(kind));
  // Some twice, so that faults of a kind overlap as well.
  const chosen = [
    ...prng.some(lasting, Math.min(spare, prng.below(3))),
    ...prng.some(passing, prng.between(3, 5)),
    ...prng.some(passing, prng.below(3)),
  ];
  return chosen.map((kind) => makeFault(kind, nodes, prng));
}

/** A machine that comes back without its disk often does not know the time either (rule 8). */
function withWrongClock(fault: Fault, prng: Prng, allowed: ScenarioOptions["faults"]): Fault[] {
  const isAllowed = allowed?.includes("clock-skew") ?? true;
  if (!isObserving(fault.kind) || !isAllowed || prng.oneIn(2)) return [fault];
  const fromMs = fault.untilMs - 1;
  const untilMs = Math.min(fromMs + prng.between(500, 5000), FAULTS_END_MS);
  const ms = prng.between(1, 5) * (prng.oneIn(2) ? HOUR_MS : -HOUR_MS);
  return [fault, { ...fault, kind: "clock-skew", fromMs, untilMs, ms }];
}

/** Of some nodes at a time, and of the same again. */
function makeRotations(prng: Prng, { nodes, allowed }: Limits): Fault[] {
  const isDue =
    allowed === undefined ? prng.oneIn(ROTATION_EVERY) : allowed.includes("key-rotation");
  const count = isDue ? prng.between(1, ROTATIONS_MAX) : 0;
  return Array.from({ length: count }, () => makeFault("key-rotation", nodes, prng));
}

type LossLimits = Limits & { readonly validators: number; readonly isMasterTrusted: boolean };

/** What operators mend or make: some seeds have one, all where they are asked for. */
function makeLosses(prng: Prng, limits: LossLimits): Fault[] {
  const { nodes, validators, allowed, isMasterTrusted } = limits;
  const f = faultsOf(validators);
  const isDue = (kind: FaultKind, turns: number): boolean =>
    allowed === undefined ? prng.oneIn(turns) : allowed.includes(kind);
  const losses: Fault[] = [];
  const isReturning = isDue("master-returns", 2);
  if (isDue("master-lost", MASTER_LOST_EVERY)) losses.push(...makeMasterLoss(nodes, prng));
  if (!isReturning) losses.splice(1);
  // A committee of one and the master hold all that is sealed: both lost at once is the chain lost.
  const isLast = validators === 1 && losses.length > 0;
  if (f === 0 && !isLast && isDue("needed-disk-lost", NEEDED_DISK_LOST_EVERY)) {
    losses.push(makeFault("needed-disk-lost", nodes, prng));
  }
  // A redraw trusts the master that gathers the answers, and that it outlives it.
  const isMasterLasting = isMasterTrusted && !losses.some(({ kind }) => kind === "master-lost");
  if (isMasterLasting && isDue("hasty-operator", HASTY_EVERY)) losses.push(makeHaste(nodes, prng));
  return losses;
}
