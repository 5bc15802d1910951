/**
 * Is a certificate what it says? docs/ledger.md "Certificates"; rules 3, 4 and 7 of design
 * "Agreement". Votes are checked with the keys that are effective at the height, against the
 * committee that the caller drew or that a FORCED_REDRAW named. All signatures of one certificate
 * go to the library in one call.
 */
import { type Refusal, refuse } from "./block-fault.ts";
import {
  type Committee,
  leaderSeat,
  type PreparedCertificate,
  type Quorum,
  quorumOf,
  seatsOf,
} from "./certificate.ts";
import { committeeHash } from "./certificate-codec.ts";
import { type ChainState, memberKeysAt, nextHeight } from "./chain-state.ts";
import { type LeaderPlace, vrfAlpha } from "./choosing.ts";
import type { LedgerCrypto, SignatureCheck } from "./crypto-interface.ts";
import type { BlockHash, NodeId, Signature, Term, VrfBeta, VrfProof } from "./ledger-units.ts";
import { signingHash } from "./message-signing.ts";
import type { Draft, PrePrepareMessage } from "./message-types.ts";

/** What a vote of a seat says, beside the seat's own id. */
export type VoteWords = LeaderPlace & {
  readonly kind: "PREPARE" | "COMMIT";
  readonly term: Term;
  readonly blockHash: BlockHash;
};

export type CheckContext = {
  /** The parent's state: the certificate is of the height above it. */
  readonly state: ChainState;
  readonly committee: Committee;
  readonly crypto: LedgerCrypto;
};

/** q COMMITs on one hash; undefined when they are. */
export function quorumFault(
  context: CheckContext,
  words: { readonly term: Term; readonly blockHash: BlockHash },
  quorum: Quorum,
): Refusal | undefined {
  const { committee } = context;
  const short = seatsFault(quorum, committee, quorumOf(committee.length));
  if (short !== undefined) return short;
  const vote: VoteWords = {
    kind: "COMMIT",
    ...words,
    ...placeOf(context, quorum),
  };
  const checks = voteChecks(context, vote, quorum);
  return checks === undefined
    ? refuse("vote-signature", "a seat without key")
    : run(context, checks);
}

/** The leader's PRE_PREPARE with its VRF proof, and q - 1 PREPAREs of others; undefined if so. */
export function preparedFault(
  context: CheckContext,
  certificate: PreparedCertificate,
): Refusal | undefined {
  const { committee, state } = context;
  const { term, blockHash } = certificate;
  if (certificate.height !== nextHeight(state)) return refuse("height", "of another height");
  if (certificate.committeeHash !== committeeHash(committee)) return refuse("committee");
  const short = seatsFault(certificate, committee, quorumOf(committee.length) - 1);
  if (short !== undefined) return short;
  const place = placeOf(context, certificate);
  const seat = leaderSeat(certificate.view, committee.length);
  if ((certificate.bitmap >>> seat) & 1) return refuse("bitmap", "the leader counted twice");
  const leader = leaderCheck(context, certificate);
  const vote: VoteWords = { kind: "PREPARE", term, blockHash, ...place };
  const votes = voteChecks(context, vote, certificate);
  if (leader === undefined || votes === undefined) {
    return refuse("vote-signature", "a seat without key");
  }
  const beta = leaderBeta(context, place, certificate.vrfProof);
  return beta === undefined ? refuse("vrf") : run(context, [leader, ...votes]);
}

/** The random output of the leader of a view, or undefined: wrong leader, key or proof. */
export function leaderBeta(
  context: CheckContext,
  place: LeaderPlace,
  proof: VrfProof,
): VrfBeta | undefined {
  const { committee, state, crypto } = context;
  const leader = committee[leaderSeat(place.view, committee.length)];
  const keys = leader === undefined ? undefined : memberKeysAt(state, leader, place.height);
  if (keys === undefined) return undefined;
  return crypto.vrf.verify(keys.vrfPub, vrfAlpha(place, state.seed), proof);
}

function placeOf(
  { state }: CheckContext,
  words: Pick<LeaderPlace, "attempt" | "view">,
): LeaderPlace {
  const { attempt, view } = words;
  return { chainId: state.chainId, height: nextHeight(state), attempt, view };
}

function seatsFault(
  votes: { readonly bitmap: number; readonly signatures: readonly Signature[] },
  committee: Committee,
  needed: number,
): Refusal | undefined {
  const { bitmap, signatures } = votes;
  if (bitmap >= 2 ** committee.length) return refuse("bitmap", "a seat outside the committee");
  const seats = seatsOf(bitmap);
  if (seats.length !== signatures.length) return refuse("bitmap", "seats and signatures differ");
  if (seats.length >= needed) return undefined;
  return refuse("quorum-short", `${seats.length} of ${needed} votes`);
}

function voteChecks(
  context: CheckContext,
  vote: VoteWords,
  votes: { readonly bitmap: number; readonly signatures: readonly Signature[] },
): SignatureCheck[] | undefined {
  const checks: SignatureCheck[] = [];
  for (const [i, seat] of seatsOf(votes.bitmap).entries()) {
    const signer = context.committee[seat];
    const signature = votes.signatures[i];
    const publicKey = keyOf(context, signer);
    if (signer === undefined || signature === undefined || publicKey === undefined) {
      return undefined;
    }
    const hash = signingHash({ ...vote, signer } as Draft);
    checks.push({ hash, signature, publicKey });
  }
  return checks;
}

/** The PRE_PREPARE's signature covers what the certificate repeats of it. */
function leaderCheck(
  context: CheckContext,
  certificate: PreparedCertificate,
): SignatureCheck | undefined {
  const { committee } = context;
  const signer = committee[leaderSeat(certificate.view, committee.length)];
  const publicKey = keyOf(context, signer);
  if (signer === undefined || publicKey === undefined) return undefined;
  const words: Draft<PrePrepareMessage> = {
    kind: "PRE_PREPARE",
    ...placeOf(context, certificate),
    signer,
    term: certificate.term,
    blockHash: certificate.blockHash,
    committeeHash: certificate.committeeHash,
    vrfProof: certificate.vrfProof,
    justificationHash: certificate.justificationHash,
    committee,
    justification: [],
  };
  return { hash: signingHash(words), signature: certificate.leaderSignature, publicKey };
}

function keyOf({ state }: CheckContext, signer: NodeId | undefined) {
  return signer === undefined
    ? undefined
    : memberKeysAt(state, signer, nextHeight(state))?.ledgerPub;
}

function run({ crypto }: CheckContext, checks: readonly SignatureCheck[]): Refusal | undefined {
  const wrong = crypto.signatures.verifyMany(checks).indexOf(false);
  return wrong < 0 ? undefined : refuse("vote-signature", `signature ${wrong}`);
}
