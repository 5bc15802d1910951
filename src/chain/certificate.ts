/**
 * Certificates: a quorum's matching votes in compact form. docs/ledger.md "Certificates"; rules 3,
 * 4 and 7 of design/ledger.md "Agreement". Only shapes and q: certificate-check.ts verifies them.
 * Votes are those of docs/ledger.md "Messages", whose term is the core's, so that all of a quorum
 * sign the same words but for their own id.
 */
import type {
  Attempt,
  BlockHash,
  Hash,
  Height,
  NodeId,
  Seat,
  Signature,
  Term,
  View,
  VrfProof,
} from "./ledger-units.ts";

/** Seats of C(height, attempt) in order, at most 20; a seat is an index. */
export type Committee = readonly NodeId[];

/** Bit i is seat i. */
export type SeatBitmap = number;

/**
 * COMMITs of q seats on one hash of one (height, attempt, view): what seals a block. Persisted as
 * `quorum {attempt, view, bitmap, signatures}`; height, hash and term are those of the core.
 */
export type Quorum = {
  readonly attempt: Attempt;
  readonly view: View;
  readonly bitmap: SeatBitmap;
  /** Of the seats in the bitmap, ascending. */
  readonly signatures: readonly Signature[];
};

/** Before any member is effective the master's seal alone suffices (design "Block"). */
export const NO_QUORUM_NEEDED: Quorum = {
  attempt: 0 as Attempt,
  view: 0 as View,
  bitmap: 0,
  signatures: [],
};

/** A decided block: the quorum with what it says and the leader's VRF proof. */
export type CommittedCertificate = {
  readonly term: Term;
  readonly height: Height;
  readonly blockHash: BlockHash;
  readonly quorum: Quorum;
  /** Of Leader(view): gives parent_beta of the next core. */
  readonly vrfProof: VrfProof;
};

/**
 * Rule 3: the leader's PRE_PREPARE, which counts as its PREPARE, and q - 1 PREPAREs of other seats.
 * Holds all that the leader signed, so that its signature can be checked without the message.
 */
export type PreparedCertificate = {
  readonly term: Term;
  readonly height: Height;
  readonly attempt: Attempt;
  readonly view: View;
  readonly blockHash: BlockHash;
  readonly committeeHash: Hash;
  readonly vrfProof: VrfProof;
  readonly justificationHash: Hash;
  readonly leaderSignature: Signature;
  /** Without the leader's seat. */
  readonly bitmap: SeatBitmap;
  readonly signatures: readonly Signature[];
};

/** "More than two thirds": 2f + 1 is unsafe when n is not 3f + 1. */
export function quorumOf(committeeSize: number): number {
  return Math.floor((2 * committeeSize) / 3) + 1;
}

/** How many liars a committee bears. */
export function faultsOf(committeeSize: number): number {
  return Math.floor((committeeSize - 1) / 3);
}

/** The leader of a view: Leader(view) = C[view mod n]. */
export function leaderSeat(view: View, committeeSize: number): Seat {
  return (view % committeeSize) as Seat;
}

/** Seats in a bitmap, ascending. */
export function seatsOf(bitmap: SeatBitmap): Seat[] {
  const seats: Seat[] = [];
  for (let seat = 0; seat < 32; seat++) if ((bitmap >>> seat) & 1) seats.push(seat as Seat);
  return seats;
}
