/**
 * Rule 4: q COMMITs on one (attempt, view, hash) decide. COMMITs of older views keep counting. The
 * SCD does not change here but on the SEAL. The leader of the view sends RESULT to the master; the
 * others do after a delay by rank, so that a silent leader hides nothing. A leader who sees that
 * too many refuse sends NO_QUORUM.
 */
import { leaderSeat } from "./certificate.ts";
import {
  cancelTimer,
  headerOf,
  isSignedByMember,
  masterId,
  openHeight,
  ownKeys,
  send,
  setTimer,
  sign,
} from "./ledger-node.ts";
import type { View } from "./ledger-units.ts";
import type { NoQuorumMessage, RejectMessage, ResultMessage } from "./message-types.ts";
import { collectVotes, isLeader, type Round, seatOf, votesOf } from "./round.ts";
import { roundOf, type Validator } from "./validator-state.ts";

/** One rank after the other: a RESULT and its SEAL take less. */
const RANK_DELAY_MS = 200;

/**
 * The leader verifies q COMMITs at once, for its RESULT. The others expect the SEAL, which brings a
 * quorum of its own: they verify those they have when it does not come, or somebody asks.
 */
export function tryDecide(validator: Validator, round: Round, view: View): void {
  if (round.decided !== undefined || !hasCommits(round, view)) return;
  const rank = rankOf(round, view);
  if (rank === undefined || rank === 0) decide(validator, round, view);
  else if (!round.isResultDue) {
    round.isResultDue = true;
    setTimer(validator, "result", rank * RANK_DELAY_MS);
  }
  if (rank === 0) sendResult(validator, round);
}

/** After the leader's seat, which has 0; undefined: not of the committee. */
function rankOf({ seat, committee }: Round, view: View): number | undefined {
  if (seat === undefined) return undefined;
  return (seat - leaderSeat(view, committee.length) + committee.length) % committee.length;
}

/** As many as decide, if their signatures hold. */
function hasCommits(round: Round, view: View): boolean {
  const blockHash = round.prePrepares.get(view)?.blockHash;
  if (blockHash === undefined) return false;
  let count = 0;
  for (const { message } of votesOf(round.commits, view).values()) {
    if (message.blockHash === blockHash) count++;
  }
  return count >= round.quorum;
}

function decide(validator: Validator, round: Round, view: View): void {
  const proposal = round.prePrepares.get(view);
  if (proposal === undefined) return;
  const { blockHash, term, vrfProof } = proposal;
  const wanted = { blockHash, term, needed: round.quorum };
  const votes = collectVotes(validator, votesOf(round.commits, view), wanted);
  if (votes === undefined) return;
  const quorum = { attempt: round.attempt, view, ...votes };
  round.decided = { term, height: openHeight(validator), blockHash, quorum, vrfProof };
  cancelTimer(validator, "view");
}

/** Whether q COMMITs of any view hold: looked at now, whosever part it is to show them. */
export function isDecided(validator: Validator, round: Round): boolean {
  for (const view of round.prePrepares.keys()) {
    if (round.decided === undefined && hasCommits(round, view)) decide(validator, round, view);
  }
  return round.decided !== undefined;
}

export function onResultTimer(validator: Validator): void {
  for (const round of validator.rounds.values()) {
    round.isResultDue = false;
    sendResult(validator, round);
  }
}

/** RESULT is no vote: it only shows what others signed, and may be sent by anyone, at any time. */
export function sendResult(validator: Validator, round: Round): void {
  if (validator.stoppedBy !== undefined || !isDecided(validator, round)) return;
  const { decided } = round;
  if (decided === undefined || ownKeys(validator) === undefined) return;
  const { quorum, blockHash, term, vrfProof } = decided;
  const place = { attempt: quorum.attempt, view: quorum.view, term };
  const result = sign<ResultMessage>(validator, {
    kind: "RESULT",
    ...headerOf(validator, place),
    blockHash,
    quorum,
    vrfProof,
  });
  send(validator, [masterId(validator)], result);
}

/** To the leader: once q can no longer agree, the master hears of it with the signed refusals. */
export function onReject(validator: Validator, message: RejectMessage): void {
  const round = roundOf(validator, message.attempt);
  const seat = round === undefined ? undefined : seatOf(round, message.signer);
  if (round === undefined || seat === undefined || !isLeader(round, round.view)) return;
  if (round.rejects.get(seat)?.blockHash === message.blockHash) return;
  if (!isSignedByMember(validator, message) || ownKeys(validator) === undefined) return;
  round.rejects.set(seat, message);
  const refusals = [...round.rejects.values()].filter(
    ({ blockHash }) => blockHash === message.blockHash,
  );
  if (refusals.length !== round.committee.length - round.quorum + 1) return;
  const notice = sign<NoQuorumMessage>(validator, {
    kind: "NO_QUORUM",
    ...headerOf(validator, { attempt: round.attempt, view: round.view }),
    blockHash: message.blockHash,
    refusals,
  });
  send(validator, [masterId(validator)], notice);
}
