/**
 * What a validator knows of one attempt at one height: its committee, candidates, votes. Data and
 * counting; candidate.ts, voting.ts, deciding.ts, round-change.ts and attempts.ts fill it.
 * docs/ledger.md "Agreement". Bounded: views are below n, and a seat has one place in each list.
 */

import type { BlockBody, BlockCore } from "./block.ts";
import type { CommittedCertificate, PreparedCertificate } from "./certificate.ts";
import { type Committee, faultsOf, leaderSeat, quorumOf, type SeatBitmap } from "./certificate.ts";
import type { CheckContext } from "./certificate-check.ts";
import { type ChainState, memberKeysAt } from "./chain-state.ts";
import type { SignatureCheck } from "./crypto-interface.ts";
import { type LedgerNode, openHeight } from "./ledger-node.ts";
import type {
  Attempt,
  BlockHash,
  CandidateSequence,
  NodeId,
  Seat,
  Signature,
  Term,
  View,
} from "./ledger-units.ts";
import { checkOf } from "./message-signing.ts";
import type {
  AbandonMessage,
  CandidateMessage,
  CommitMessage,
  PrePrepareMessage,
  PrepareMessage,
  RejectMessage,
  RoundChangeMessage,
} from "./message-types.ts";
import type { OwnVote } from "./step-types.ts";

/** A block that was found valid: what may be voted on. */
export type Candidate = {
  readonly blockHash: BlockHash;
  readonly core: BlockCore;
  readonly body: BlockBody;
  /** The state after it. */
  readonly next: ChainState;
  /** Of the term that sent it; a fetched body has none and is older than all. */
  readonly term: Term;
  readonly sequence: CandidateSequence;
  /** The master's word; undefined where a certificate stands for it. */
  readonly message: CandidateMessage | undefined;
};

export type Vote = { readonly message: PrepareMessage | CommitMessage; isVerified: boolean };
/** One vote a seat. */
export type Votes = Map<Seat, Vote>;

export type Round = {
  readonly attempt: Attempt;
  readonly committee: Committee;
  /** Own; undefined: not of this committee. */
  readonly seat: Seat | undefined;
  readonly quorum: number;
  readonly faults: number;
  readonly candidates: Map<BlockHash, Candidate>;
  /** What ABANDONs or a FORCED_REDRAW bind this attempt to; undefined: nothing. */
  boundHash: BlockHash | undefined;
  /** Rule 6: never a vote below. */
  view: View;
  /** Whether ROUND_CHANGE(view) was sent and its PRE_PREPARE is still awaited. */
  isChanging: boolean;
  isTimed: boolean;
  readonly prePrepares: Map<View, PrePrepareMessage>;
  readonly prepares: Map<View, Votes>;
  readonly commits: Map<View, Votes>;
  /** The highest of each seat. */
  readonly roundChanges: Map<Seat, RoundChangeMessage>;
  readonly rejects: Map<Seat, RejectMessage>;
  /** Own votes, restored after a crash: at most one hash a view and kind. */
  readonly prepared: Map<View, BlockHash>;
  readonly committed: Map<View, BlockHash>;
  readonly refused: Set<BlockHash>;
  /** Rule 3, the highest of this attempt: the lock. */
  lock: PreparedCertificate | undefined;
  decided: CommittedCertificate | undefined;
  /** Enough COMMITs are here to decide; the SEAL is awaited before they are verified. */
  isResultDue: boolean;
  abandoned: AbandonMessage | undefined;
  /** Sent, by kind and view: repeated as they were. */
  readonly sent: Map<string, OwnVote>;
};

export function createRound(node: LedgerNode, attempt: Attempt, committee: Committee): Round {
  const seat = committee.indexOf(node.nodeId);
  return {
    attempt,
    committee,
    seat: seat < 0 ? undefined : (seat as Seat),
    quorum: quorumOf(committee.length),
    faults: faultsOf(committee.length),
    candidates: new Map(),
    boundHash: undefined,
    view: 0 as View,
    isChanging: false,
    isTimed: false,
    prePrepares: new Map(),
    prepares: new Map(),
    commits: new Map(),
    roundChanges: new Map(),
    rejects: new Map(),
    prepared: new Map(),
    committed: new Map(),
    refused: new Set(),
    lock: undefined,
    decided: undefined,
    isResultDue: false,
    abandoned: undefined,
    sent: new Map(),
  };
}

export function contextOf(node: LedgerNode, committee: Committee): CheckContext {
  return { state: node.chain, committee, crypto: node.crypto };
}

export function seatOf(round: Round, nodeId: NodeId): Seat | undefined {
  const seat = round.committee.indexOf(nodeId);
  return seat < 0 ? undefined : (seat as Seat);
}

export function leaderOf(round: Round, view: View): NodeId | undefined {
  return round.committee[leaderSeat(view, round.committee.length)];
}

export function isLeader(round: Round, view: View): boolean {
  return round.seat !== undefined && round.seat === leaderSeat(view, round.committee.length);
}

/** Each member leads once, then the attempt is over: no honest vote has a view beyond. */
export function isView(round: Round, view: View): boolean {
  return view < round.committee.length;
}

export function votesOf(votes: Map<View, Votes>, view: View): Votes {
  const known = votes.get(view);
  if (known !== undefined) return known;
  const empty: Votes = new Map();
  votes.set(view, empty);
  return empty;
}

export function rememberSent(round: Round, message: OwnVote): void {
  round.sent.set(`${message.kind} ${message.view}`, message);
}

/** The one that a leader which is free to choose takes: the master's last word. */
export function newestCandidate(round: Round): Candidate | undefined {
  let newest: Candidate | undefined;
  for (const candidate of round.candidates.values()) {
    const isNewer =
      newest === undefined ||
      candidate.term > newest.term ||
      (candidate.term === newest.term && candidate.sequence > newest.sequence);
    if (isNewer && candidate.message !== undefined) newest = candidate;
  }
  return newest;
}

export type Collected = {
  readonly bitmap: SeatBitmap;
  readonly signatures: readonly Signature[];
};

/**
 * `needed` verified votes of different seats that say the same, or undefined. Verifies no more
 * than it needs, in one call; a vote that turns out forged is dropped.
 */
export function collectVotes(
  node: LedgerNode,
  votes: Votes,
  wanted: { readonly blockHash: BlockHash; readonly term: Term; readonly needed: number },
  /** The leader's PRE_PREPARE is its PREPARE: a second one does not count. */
  without?: Seat,
): Collected | undefined {
  for (;;) {
    const matching = [...votes].filter(([seat, { message }]) => {
      const isSame = message.blockHash === wanted.blockHash && message.term === wanted.term;
      return isSame && seat !== without;
    });
    if (matching.length < wanted.needed) return undefined;
    matching.sort(([, one], [, other]) => Number(other.isVerified) - Number(one.isVerified));
    const chosen = matching.slice(0, wanted.needed);
    if (verifyVotes(node, votes, chosen)) return compact(chosen);
  }
}

/** True when all are valid now; those that are not are gone. */
function verifyVotes(
  node: LedgerNode,
  votes: Votes,
  chosen: readonly (readonly [Seat, Vote])[],
): boolean {
  const open = chosen.filter(([, vote]) => !vote.isVerified);
  const checks: SignatureCheck[] = [];
  const checked: (readonly [Seat, Vote])[] = [];
  let areValid = true;
  for (const entry of open) {
    const [seat, { message }] = entry;
    const keys = memberKeysAt(node.chain, message.signer, openHeight(node));
    if (keys === undefined) {
      votes.delete(seat);
      areValid = false;
    } else {
      checks.push(checkOf(message, keys.ledgerPub));
      checked.push(entry);
    }
  }
  const answers = node.crypto.signatures.verifyMany(checks);
  for (const [i, [seat, vote]] of checked.entries()) {
    vote.isVerified = answers[i] === true;
    if (vote.isVerified) continue;
    votes.delete(seat);
    areValid = false;
  }
  return areValid;
}

function compact(chosen: readonly (readonly [Seat, Vote])[]): Collected {
  const bySeat = [...chosen].sort(([one], [other]) => one - other);
  let bitmap = 0;
  for (const [seat] of bySeat) bitmap |= 1 << seat;
  return { bitmap, signatures: bySeat.map(([, vote]) => vote.message.signature) };
}
