/**
 * Faults of a simulated world: what breaks, when, for whom. Data only, so that a failing seed can
 * be run again with fewer of them (shrink.ts). design/ledger.md "Simulator": lossy, slow,
 * reordered, duplicated, partitioned, crashing with loss of unsynced writes, disk faults, clock
 * skew. Times are milliseconds of the simulated world.
 */
import type { Prng } from "./prng.ts";

export const FAULT_KINDS = [
  "loss", // a share of messages vanishes
  "slow", // messages of some nodes take long
  "reorder", // each message takes a time of its own
  "duplicate", // a share arrives twice, the second much later
  "partition", // two groups hear nothing of each other
  "one-way", // a group is heard by nobody, and hears
  "crash", // down; what was not synced is gone
  "torn-crash", // down; of what was not synced, the first part is there
  "pause", // stopped like a virtual machine; all messages arrive at its end
  "disk-full", // writes fail
  "disk-slow", // a sync takes long
  "disk-lost", // down, and back with an empty disk
  "disk-rot", // bits of the contracts' tables flip
  "snapshot", // a copy of the machine may run elsewhere
  "clock-skew", // wall clock off, by seconds or by hours
  "clock-jump", // wall clock is set forth, then back too far
  "master-crash", // as "crash", of the master
  "master-lost", // keys and disk, for good: at its end the recovery key appoints an heir
  "master-returns", // the lost one is found, and goes on where it stopped
  "needed-disk-lost", // as "disk-lost" where a committee bears none: a redraw has to name the node
  "key-rotation", // no fault: a node gets new ledger and VRF keys, and goes on voting
  "hasty-operator", // redraws wherever the program lets it, while the committee can decide
] as const;
export type FaultKind = (typeof FAULT_KINDS)[number];

/** Drawn apart from the others. */
export function isOfKeys(kind: FaultKind): boolean {
  return kind === "key-rotation";
}

/** These do not mend themselves: operator.ts does. */
const OF_OPERATORS: readonly FaultKind[] = [
  ...(["master-lost", "master-returns", "needed-disk-lost", "hasty-operator"] as const),
];

export function isOfOperators(kind: FaultKind): boolean {
  return OF_OPERATORS.includes(kind);
}

/** Seat of the master among the participants: behind all nodes. */
export type Participant = number;

export type Fault = {
  readonly kind: FaultKind;
  readonly fromMs: number;
  readonly untilMs: number;
  /** Whom it hits: indices of nodes; `nodes.length` of the world is the master. */
  readonly participants: readonly Participant[];
  /** Of messages that are hit, 0 to 1. */
  readonly share: number;
  /** How much: of delay, of a sync, of a clock. */
  readonly ms: number;
};

/** The last fault ends here at the latest: then progress is due. */
export const FAULTS_END_MS = 12_000;
const FIRST_FAULT_MS = 200;

export function isActive(fault: Fault, nowMs: number): boolean {
  return fault.fromMs <= nowMs && nowMs < fault.untilMs;
}

/** A fault of this kind at a random time, for random nodes of 0 to `nodes` - 1. */
export function makeFault(kind: FaultKind, nodes: number, prng: Prng): Fault {
  const lengthMs = prng.between(300, 5000);
  const fromMs = prng.between(FIRST_FAULT_MS, FAULTS_END_MS - lengthMs - 1);
  const everybody = Array.from({ length: nodes + 1 }, (_, i) => i);
  const members = everybody.slice(0, nodes);
  const participants =
    kind === "master-crash"
      ? [nodes]
      : prng.some(isOfNode(kind) ? members : everybody, prng.between(1, hitMax(kind, nodes)));
  return {
    kind,
    fromMs,
    untilMs: fromMs + lengthMs,
    participants,
    share: prng.between(5, 50) / 100,
    ms: delayOf(kind, prng),
  };
}

/** The master is gone until an operator acts; and is found again some time after that. */
export function makeMasterLoss(nodes: number, prng: Prng): [Fault, Fault] {
  const common = { participants: [nodes], share: 0, ms: 0 };
  const fromMs = prng.between(FIRST_FAULT_MS, FAULTS_END_MS / 2);
  const untilMs = fromMs + prng.between(300, 3000);
  const foundMs = prng.between(untilMs + 1, FAULTS_END_MS - 2);
  return [
    { kind: "master-lost", fromMs, untilMs, ...common },
    { kind: "master-returns", fromMs: foundMs, untilMs: foundMs + 1, ...common },
  ];
}

/** In a hurry for most of the time that there are faults. */
export function makeHaste(nodes: number, prng: Prng): Fault {
  const fromMs = prng.between(FIRST_FAULT_MS, FAULTS_END_MS / 2);
  const untilMs = prng.between(fromMs + 2000, FAULTS_END_MS);
  return { kind: "hasty-operator", fromMs, untilMs, participants: [nodes], share: 0, ms: 0 };
}

function isOfNode(kind: FaultKind): boolean {
  return kind !== "partition" && kind !== "one-way" && !isOfLinks(kind);
}

/** After it a node observes for a while: no more may than the committee bears as liars. */
export function isObserving(kind: FaultKind): boolean {
  return kind === "disk-lost" || kind === "snapshot";
}

function isOfLinks(kind: FaultKind): boolean {
  return kind === "loss" || kind === "slow" || kind === "reorder" || kind === "duplicate";
}

function hitMax(kind: FaultKind, nodes: number): number {
  if (isOfLinks(kind)) return nodes + 1;
  return isObserving(kind) || isOfOperators(kind) ? 1 : Math.max(1, Math.ceil(nodes / 2));
}

function delayOf(kind: FaultKind, prng: Prng): number {
  switch (kind) {
    case "slow":
      return prng.between(100, 3000);
    case "reorder":
      return prng.between(20, 500);
    case "duplicate":
      return prng.between(10, 4000);
    case "disk-slow":
      return prng.between(20, 800);
    case "clock-skew":
    case "clock-jump": {
      const offset = prng.oneIn(2) ? prng.between(1000, 25_000) : prng.between(1, 5) * 3_600_000;
      return prng.oneIn(2) ? offset : -offset;
    }
    default:
      return 0;
  }
}
