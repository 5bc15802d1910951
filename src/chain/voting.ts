/**
 * Rules 2 and 3: PRE_PREPARE, PREPARE, the lock and COMMIT; Castro & Liskov, OSDI '99, §4.2.
 *
 * 2. A valid PRE_PREPARE of the right leader: the vote is on the disk before PREPARE is sent, and
 *    there is at most one a view.
 * 3. Prepared is a PRE_PREPARE, which counts as the leader's PREPARE, and q - 1 PREPAREs of other
 *    seats on the same hash: the lock is on the disk before COMMIT is sent.
 * 6. No vote below a view for which ROUND_CHANGE was sent.
 *
 * Votes are counted only where the block itself was found valid. round-change.ts says which hash a
 * later view may propose (rule 7).
 */
import { refuse } from "./block-fault.ts";
import { refuseBlock } from "./candidate.ts";
import { leaderSeat, type PreparedCertificate } from "./certificate.ts";
import { leaderBeta } from "./certificate-check.ts";
import { committeeHash } from "./certificate-codec.ts";
import { paramsAt } from "./chain-state.ts";
import { type LeaderPlace, vrfAlpha } from "./choosing.ts";
import { tryDecide } from "./deciding.ts";
import {
  headerOf,
  isSignedByMember,
  openHeight,
  ownKeys,
  plainHeader,
  send,
  sign,
  write,
} from "./ledger-node.ts";
import type { BlockHash, NodeId, View } from "./ledger-units.ts";
import { justificationHash } from "./message-parts.ts";
import type {
  BodyRequest,
  CommitMessage,
  PrePrepareMessage,
  PrepareMessage,
  RoundChangeMessage,
} from "./message-types.ts";
import {
  type Candidate,
  collectVotes,
  contextOf,
  isLeader,
  isView,
  leaderOf,
  newestCandidate,
  type Round,
  rememberSent,
  seatOf,
  votesOf,
} from "./round.ts";
import { boundByChanges, enterView, justificationFault, justify } from "./round-change.ts";
import type { OwnVote } from "./step-types.ts";
import { mayVote, peersOf, roundOf, type Validator } from "./validator-state.ts";
import { accuse } from "./witness.ts";

/** Whatever became possible by what was learnt last. Each part looks for itself. */
export function progress(validator: Validator, round: Round): void {
  tryPropose(validator, round);
  for (const view of [...round.prePrepares.keys()].sort((one, other) => one - other)) {
    tryPrepare(validator, round, view);
    tryCommit(validator, round, view);
    tryDecide(validator, round, view);
  }
}

/** The leader of the present view proposes, once: its PRE_PREPARE is its vote (rule 2). */
function tryPropose(validator: Validator, round: Round): void {
  const { view } = round;
  if (!isLeader(round, view) || !mayVote(validator, round)) return;
  if (round.prepared.has(view) || round.decided !== undefined) return;
  const justification = view === 0 ? [] : justify(round, view);
  if (justification === undefined) return;
  const carried = boundByChanges(justification) ?? round.boundHash;
  const candidate = carried === undefined ? newestCandidate(round) : round.candidates.get(carried);
  if (candidate === undefined) {
    if (carried !== undefined) askForBody(validator, carried, peersOf(validator, round));
    return;
  }
  if (carried === undefined && !isTimely(validator, round, candidate)) return;
  const message = prePrepareOf(validator, round, candidate, justification);
  if (message === undefined) return;
  vote(validator, round, message);
  round.prePrepares.set(view, message);
  enterView(validator, round, view);
}

function prePrepareOf(
  validator: Validator,
  round: Round,
  { core, blockHash }: Candidate,
  justification: readonly RoundChangeMessage[],
): PrePrepareMessage | undefined {
  const keys = ownKeys(validator);
  if (keys === undefined) return undefined;
  const alpha = vrfAlpha(placeOf(validator, round, round.view), validator.chain.seed);
  const place = { attempt: round.attempt, view: round.view };
  return sign<PrePrepareMessage>(validator, {
    kind: "PRE_PREPARE",
    ...headerOf(validator, { ...place, term: core.term }),
    blockHash,
    committeeHash: committeeHash(round.committee),
    vrfProof: keys.vrf.prove(alpha),
    justificationHash: justificationHash(justification),
    committee: round.committee,
    justification,
  });
}

function placeOf(validator: Validator, round: Round, view: View): LeaderPlace {
  const { chainId } = validator.chain;
  return { chainId, height: openHeight(validator), attempt: round.attempt, view };
}

/** On entry the message is of the open height, from its signer. */
export function onPrePrepare(validator: Validator, message: PrePrepareMessage): void {
  const round = roundOf(validator, message.attempt);
  const { view } = message;
  if (round === undefined || !isView(round, view)) return;
  if (leaderOf(round, view) !== message.signer || message.signer === validator.nodeId) return;
  const known = round.prePrepares.get(view);
  if (known !== undefined) {
    const isOther = known.blockHash !== message.blockHash && isSignedByMember(validator, message);
    if (isOther) accuse(validator, known, message);
    return;
  }
  // Votes of an older view still decide (rule 4), so it is kept; rule 6 is kept at the vote.
  if (!isProven(validator, round, message)) return;
  if (justificationFault(validator, round, message) !== undefined) return;
  round.prePrepares.set(view, message);
  if (view >= round.view) enterView(validator, round, view);
  progress(validator, round);
}

/** Identity and random output of the leader, before anything else of the message counts. */
function isProven(validator: Validator, round: Round, message: PrePrepareMessage): boolean {
  if (message.committeeHash !== committeeHash(round.committee)) return false;
  if (message.justificationHash !== justificationHash(message.justification)) return false;
  if (!isSignedByMember(validator, message)) return false;
  const place = placeOf(validator, round, message.view);
  const context = contextOf(validator, round.committee);
  return leaderBeta(context, place, message.vrfProof) !== undefined;
}

/** On entry the message is of the open height, from its signer. */
export function onVote(validator: Validator, message: PrepareMessage | CommitMessage): void {
  const round = roundOf(validator, message.attempt);
  if (round === undefined || !isView(round, message.view)) return;
  const seat = seatOf(round, message.signer);
  if (seat === undefined || seat === round.seat) return;
  const isPrepare = message.kind === "PREPARE";
  const votes = votesOf(isPrepare ? round.prepares : round.commits, message.view);
  const known = votes.get(seat);
  if (known !== undefined) {
    if (known.message.blockHash !== message.blockHash) accuse(validator, known.message, message);
    return;
  }
  votes.set(seat, { message, isVerified: false });
  // One view at a time: without its PRE_PREPARE nothing can follow from a vote.
  if (!round.prePrepares.has(message.view)) return;
  if (isPrepare) tryCommit(validator, round, message.view);
  tryDecide(validator, round, message.view);
}

/** Rule 2. */
function tryPrepare(validator: Validator, round: Round, view: View): void {
  const proposal = round.prePrepares.get(view);
  if (proposal === undefined || view < round.view || !mayVote(validator, round)) return;
  if (round.prepared.has(view)) return;
  const { blockHash } = proposal;
  const candidate = round.candidates.get(blockHash);
  const carried = boundByChanges(proposal.justification) ?? round.boundHash;
  if (candidate === undefined) {
    if (carried === blockHash) askForBody(validator, blockHash, [proposal.signer]);
    return;
  }
  if (round.boundHash !== undefined && round.boundHash !== blockHash) return;
  if (proposal.term !== candidate.core.term) return;
  if (carried !== blockHash && !isTimely(validator, round, candidate)) return;
  const message = sign<PrepareMessage>(validator, {
    kind: "PREPARE",
    ...headerOf(validator, { attempt: round.attempt, view, term: candidate.core.term }),
    blockHash,
  });
  vote(validator, round, message);
}

/** ±30 s of the own clock, only for a first vote on a hash that no certificate carries (rule 1). */
function isTimely(validator: Validator, round: Round, { core, blockHash }: Candidate): boolean {
  const { clockWindowSeconds } = paramsAt(validator.chain, core.height);
  const apart = Math.abs(core.timestamp - validator.at.epoch);
  if (apart <= clockWindowSeconds || isVotedOn(round, blockHash)) return true;
  refuseBlock(validator, round, blockHash, refuse("clock", `${apart} s from this clock`));
  return false;
}

function isVotedOn(round: Round, blockHash: BlockHash): boolean {
  for (const voted of round.prepared.values()) if (voted === blockHash) return true;
  return round.lock?.blockHash === blockHash;
}

/** Rule 3. */
function tryCommit(validator: Validator, round: Round, view: View): void {
  const proposal = round.prePrepares.get(view);
  if (proposal === undefined || view < round.view || !mayVote(validator, round)) return;
  const { blockHash, term } = proposal;
  if (round.committed.has(view) || !round.candidates.has(blockHash)) return;
  // A restarted member may have prepared another hash of a leader that lies.
  if ((round.prepared.get(view) ?? blockHash) !== blockHash) return;
  // q - 1, not q: the PRE_PREPARE stands for the leader's own PREPARE.
  const needed = round.quorum - 1;
  const leader = leaderSeat(view, round.committee.length);
  const wanted = { blockHash, term, needed };
  const votes = collectVotes(validator, votesOf(round.prepares, view), wanted, leader);
  if (votes === undefined) return;
  const certificate: PreparedCertificate = {
    term,
    height: openHeight(validator),
    attempt: round.attempt,
    view,
    blockHash,
    committeeHash: proposal.committeeHash,
    vrfProof: proposal.vrfProof,
    justificationHash: proposal.justificationHash,
    leaderSignature: proposal.signature,
    ...votes,
  };
  round.lock = certificate;
  write(validator, { kind: "lock", height: certificate.height, certificate });
  const message = sign<CommitMessage>(validator, {
    kind: "COMMIT",
    ...headerOf(validator, { attempt: round.attempt, view, term }),
    blockHash,
  });
  vote(validator, round, message);
}

/** A vote binds: it is on the disk before anyone can see it. */
function vote(
  validator: Validator,
  round: Round,
  message: PrePrepareMessage | PrepareMessage | CommitMessage,
): void {
  write(validator, { kind: "sent", message });
  countOwn(round, message);
  send(validator, peersOf(validator, round), message);
}

/** Own votes as they are counted, and what they forbid: also when the log is replayed. */
export function countOwn(round: Round, message: OwnVote): void {
  rememberSent(round, message);
  if (message.kind === "PRE_PREPARE") {
    round.prepared.set(message.view, message.blockHash);
  } else if (message.kind === "PREPARE" || message.kind === "COMMIT") {
    const isPrepare = message.kind === "PREPARE";
    const own = isPrepare ? round.prepared : round.committed;
    own.set(message.view, message.blockHash);
    const votes = votesOf(isPrepare ? round.prepares : round.commits, message.view);
    if (round.seat !== undefined) votes.set(round.seat, { message, isVerified: true });
  }
}

/** Of a hash that a certificate carries and that no CANDIDATE brought. */
export function askForBody(validator: Validator, blockHash: BlockHash, to: readonly NodeId[]) {
  const request: BodyRequest = {
    kind: "BODY_REQ",
    ...plainHeader(validator, openHeight(validator)),
    blockHashes: [blockHash],
  };
  send(validator, to, request);
}
