/**
 * Rules 5, 6 and 7: another leader of the same attempt; Castro & Liskov §4.4 and §4.5.2.
 *
 * 5. Time-out min(T0 * 2^view, 16 s): ROUND_CHANGE(view + 1). f + 1 higher ROUND_CHANGEs: jump, for
 *    one of them is honest. The timer of a later view runs once q have asked for it: a member that
 *    hears nobody does not run ahead of all others.
 * 6. After ROUND_CHANGE(v) no vote below v: `round.view` is that bound, and only grows.
 * 7. A PRE_PREPARE of a later view needs q ROUND_CHANGEs to it. If any is prepared, it must propose
 *    the hash of the highest prepared view. A ROUND_CHANGE is frozen once sent.
 */
import { abandon } from "./attempts.ts";
import { type Refusal, refuse } from "./block-fault.ts";
import { preparedFault } from "./certificate-check.ts";
import { paramsAt } from "./chain-state.ts";
import { isDecided } from "./deciding.ts";
import {
  cancelTimer,
  headerOf,
  isSignedByMember,
  openHeight,
  send,
  setTimer,
  sign,
  write,
} from "./ledger-node.ts";
import type { BlockHash, View } from "./ledger-units.ts";
import type { PrePrepareMessage, RoundChangeMessage } from "./message-types.ts";
import { contextOf, isView, type Round, rememberSent, seatOf } from "./round.ts";
import { mayVote, peersOf, roundOf, type Validator } from "./validator-state.ts";
import { progress } from "./voting.ts";

/** Rule 5's time-out. Capped, or a dozen dead leaders would take hours. */
export function viewTimeoutMs(view: View, t0Ms: number, maxMs: number): number {
  return Math.min(t0Ms * 2 ** view, maxMs);
}

/** Starts the present view's timer where it does not run, and may: there is a candidate. */
export function startViewTimer(validator: Validator, round: Round): void {
  if (round.attempt !== validator.attempt || round.isTimed || round.decided !== undefined) return;
  if (round.candidates.size === 0 || round.abandoned !== undefined) return;
  if (round.isChanging && changesFrom(round, round.view) < round.quorum) return;
  round.isTimed = true;
  const { viewTimeoutMs: t0Ms, viewTimeoutMaxMs } = paramsAt(
    validator.chain,
    openHeight(validator),
  );
  setTimer(validator, "view", viewTimeoutMs(round.view, t0Ms, viewTimeoutMaxMs));
}

/** A PRE_PREPARE of this view was accepted: its leader gets the whole time. */
export function enterView(validator: Validator, round: Round, view: View): void {
  const isNew = view > round.view || round.isChanging;
  round.view = view;
  round.isChanging = false;
  if (!isNew) return;
  round.isTimed = false;
  startViewTimer(validator, round);
}

export function onViewTimer(validator: Validator): void {
  const round = roundOf(validator, validator.attempt);
  if (round === undefined || !round.isTimed || isDecided(validator, round)) return;
  round.isTimed = false;
  const next = (round.view + 1) as View;
  if (isView(round, next)) changeRound(validator, round, next);
  else abandon(validator, round);
}

/** Rules 5 and 6. The message is on the disk before it is sent. */
function changeRound(validator: Validator, round: Round, view: View): void {
  if (view <= round.view || round.candidates.size === 0 || !mayVote(validator, round)) return;
  const message = sign<RoundChangeMessage>(validator, {
    kind: "ROUND_CHANGE",
    ...headerOf(validator, { attempt: round.attempt, view }),
    prepared: round.lock,
  });
  write(validator, { kind: "sent", message });
  countRoundChange(round, message);
  cancelTimer(validator, "view");
  round.isTimed = false;
  send(validator, peersOf(validator, round), message);
  startViewTimer(validator, round);
  progress(validator, round);
}

/** What an own ROUND_CHANGE forbids and asks for: also when the log is replayed. */
export function countRoundChange(round: Round, message: RoundChangeMessage): void {
  rememberSent(round, message);
  round.view = message.view;
  round.isChanging = true;
  if (round.seat !== undefined) round.roundChanges.set(round.seat, message);
}

/** On entry the message is of the open height, from its signer. */
export function onRoundChange(validator: Validator, message: RoundChangeMessage): void {
  const round = roundOf(validator, message.attempt);
  if (round === undefined || message.view === 0 || !isView(round, message.view)) return;
  const seat = seatOf(round, message.signer);
  if (seat === undefined || seat === round.seat) return;
  const known = round.roundChanges.get(seat);
  if (known !== undefined && known.view >= message.view) return;
  if (roundChangeFault(validator, round, message) !== undefined) return;
  round.roundChanges.set(seat, message);
  jump(validator, round);
  startViewTimer(validator, round);
  progress(validator, round);
}

/** To the highest view that f + 1 ask for, or have gone beyond. */
function jump(validator: Validator, round: Round): void {
  const views = [...round.roundChanges.values()].map(({ view }) => view);
  views.sort((one, other) => other - one);
  const view = views[round.faults];
  if (view !== undefined && view > round.view) changeRound(validator, round, view);
}

/** Signature and certificate; only what was prepared in this attempt, below the target, counts. */
function roundChangeFault(
  validator: Validator,
  round: Round,
  message: RoundChangeMessage,
): Refusal | undefined {
  const { prepared } = message;
  if (!isSignedByMember(validator, message)) return refuse("vote-signature");
  if (prepared === undefined) return undefined;
  const isBelow = prepared.attempt === round.attempt && prepared.view < message.view;
  if (!isBelow) return refuse("attempt", "prepared elsewhere");
  return preparedFault(contextOf(validator, round.committee), prepared);
}

function changesFrom(round: Round, view: View): number {
  return [...round.roundChanges.values()].filter((message) => message.view >= view).length;
}

/** q ROUND_CHANGEs to exactly this view, the highest prepared among them; undefined: not yet. */
export function justify(round: Round, view: View): RoundChangeMessage[] | undefined {
  const changes = [...round.roundChanges.values()].filter((message) => message.view === view);
  if (changes.length < round.quorum) return undefined;
  changes.sort((one, other) => (other.prepared?.view ?? -1) - (one.prepared?.view ?? -1));
  return changes.slice(0, round.quorum);
}

/** Rule 7: the hash that was prepared in the highest view; undefined: the leader is free. */
export function boundByChanges(changes: readonly RoundChangeMessage[]): BlockHash | undefined {
  let highest: RoundChangeMessage["prepared"];
  for (const { prepared } of changes) {
    if (prepared !== undefined && prepared.view > (highest?.view ?? -1)) highest = prepared;
  }
  return highest?.blockHash;
}

/** Rule 7, of a PRE_PREPARE whose leader was proven. */
export function justificationFault(
  validator: Validator,
  round: Round,
  { view, attempt, height, chainId, blockHash, justification }: PrePrepareMessage,
): Refusal | undefined {
  if (view === 0) return justification.length === 0 ? undefined : refuse("quorum-short");
  const signers = new Set(justification.map(({ signer }) => signer));
  if (signers.size !== justification.length || signers.size < round.quorum) {
    return refuse("quorum-short", `${signers.size} ROUND_CHANGEs`);
  }
  for (const change of justification) {
    const isHere = change.height === height && change.attempt === attempt && change.view === view;
    if (!isHere || change.chainId !== chainId) return refuse("attempt", "ROUND_CHANGE elsewhere");
    if (seatOf(round, change.signer) === undefined) return refuse("committee");
    const fault = roundChangeFault(validator, round, change);
    if (fault !== undefined) return fault;
  }
  const bound = boundByChanges(justification);
  return bound === undefined || bound === blockHash ? undefined : refuse("bound-hash");
}
