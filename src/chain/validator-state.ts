/**
 * The memory of one validator between steps, and who may vote. Rounds are of the open height; what
 * must outlive a crash is in the vote log (recovery.ts). docs/ledger.md "Agreement".
 */
import type { PreparedCertificate } from "./certificate.ts";
import { committeeOf } from "./chain-state.ts";
import type { DigestChecks } from "./digest-check.ts";
import type { Freeze } from "./freeze.ts";
import { type LedgerNode, masterId, ownKeys } from "./ledger-node.ts";
import type { Attempt, Height, NodeId } from "./ledger-units.ts";
import type { ForcedRedrawMessage, LedgerMessage } from "./message-types.ts";
import { createRound, type Round } from "./round.ts";

/** Attempts beyond the present one whose votes are kept until their CANDIDATE comes. */
const ATTEMPTS_AHEAD = 2;

/** recovery.ts tells why this is enough. */
export type Observation = {
  /** Whose heights, none above the own tip, came since the return. */
  readonly answered: Set<NodeId>;
  /** Votes again once this is sealed; undefined: too few answers. */
  until: Height | undefined;
};

export type Validator = LedgerNode & {
  readonly kind: "validator";
  readonly rounds: Map<Attempt, Round>;
  /** The one it votes in. */
  attempt: Attempt;
  /** After ABANDON(h, a): never a vote in an attempt below this one. */
  lowestAttempt: Attempt;
  /** The highest certificate that CANDIDATEs of this height brought along. */
  inherited: PreparedCertificate | undefined;
  readonly redraws: Map<Attempt, ForcedRedrawMessage>;
  /** Rule 8: no vote while it is there. */
  observing: Observation | undefined;
  /** A survey was answered: no vote before its FORCED_REDRAW, its release or a block. freeze.ts */
  freeze: Freeze;
  /** A FORCED_REDRAW named it: from this attempt of the open height on it votes all the same. */
  readmittedFrom: Attempt | undefined;
  /** Of the height after the open one, a few of each sender. */
  readonly early: Map<NodeId, LedgerMessage[]>;
  readonly digests: DigestChecks;
  readonly checkPeriodMs: number;
  /** Rule 8: while the vote log is replayed nothing is signed. */
  isReplaying: boolean;
  readonly wasWiped: boolean;
  readonly onlyCatchesUp: boolean;
};

/** The round of an attempt, made when it is first heard of; undefined: too far ahead. */
export function roundOf(validator: Validator, attempt: Attempt): Round | undefined {
  const known = validator.rounds.get(attempt);
  if (known !== undefined) return known;
  if (attempt > validator.attempt + ATTEMPTS_AHEAD) return undefined;
  return openRound(validator, attempt);
}

/** The same without a limit, for an attempt that is proven to be open. */
export function openRound(validator: Validator, attempt: Attempt): Round {
  const redraw = validator.redraws.get(attempt);
  const committee = redraw?.committee ?? committeeOf(validator.chain, attempt);
  const known = validator.rounds.get(attempt);
  if (known !== undefined && sameCommittee(known.committee, committee)) return known;
  const round = createRound(validator, attempt, committee);
  validator.rounds.set(attempt, round);
  return round;
}

function sameCommittee(one: readonly NodeId[], other: readonly NodeId[]): boolean {
  return one.length === other.length && one.every((nodeId, i) => nodeId === other[i]);
}

/** Whether this validator may sign votes in a round now. */
export function mayVote(validator: Validator, round: Round): boolean {
  if (validator.isReplaying || validator.stoppedBy !== undefined) return false;
  if (round.seat === undefined || validator.onlyCatchesUp) return false;
  if (validator.freeze.pending.size > 0) return false;
  if (round.attempt !== validator.attempt || round.attempt < validator.lowestAttempt) return false;
  if (round.abandoned !== undefined || isObserving(validator, round)) return false;
  return ownKeys(validator) !== undefined;
}

function isObserving(validator: Validator, round: Round): boolean {
  if (validator.observing === undefined) return false;
  return validator.readmittedFrom === undefined || round.attempt < validator.readmittedFrom;
}

/** The others of a round's committee. */
export function peersOf(validator: Validator, round: Round): NodeId[] {
  return round.committee.filter((nodeId) => nodeId !== validator.nodeId);
}

export function isMaster(validator: Validator, from: NodeId): boolean {
  return from === masterId(validator);
}
