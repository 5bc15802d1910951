/**
 * Is a block sealed? docs/ledger.md "Seal": q COMMITs of the committee of the height, the VRF proof
 * of the leader of their view, and the master's signature over block hash and quorum. Gives what
 * the next core has to repeat. Same answer for everyone who holds the parent's state.
 */

import type { SealProof } from "./block.ts";
import { type Refusal, refuse } from "./block-fault.ts";
import type { Committee } from "./certificate.ts";
import { type CheckContext, leaderBeta, quorumFault } from "./certificate-check.ts";
import {
  type ChainState,
  committeeOf,
  memberKeysAt,
  nextHeight,
  recordedTerm,
  type TipSeal,
} from "./chain-state.ts";
import type { LedgerCrypto } from "./crypto-interface.ts";
import { NO_BETA, type PublicKey } from "./ledger-units.ts";
import { quorumHash } from "./message-parts.ts";
import { checkOf, nodeIdOf, signingHash } from "./message-signing.ts";
import type {
  Draft,
  ForcedRedrawMessage,
  MasterTermMessage,
  SealMessage,
} from "./message-types.ts";

/**
 * @param state the parent's
 * @param next the state after the block, as applyBlock() gave it
 */
export function checkSeal(
  state: ChainState,
  next: ChainState,
  proof: SealProof,
  crypto: LedgerCrypto,
): TipSeal | Refusal {
  const masterPub = sealingKey(state, next, proof, crypto);
  if (typeof masterPub !== "string") return masterPub;
  const committee = sealingCommittee(state, next, proof, crypto);
  if ("fault" in committee) return committee;
  const hash = signingHash(sealWords(next, proof, masterPub));
  const check = { hash, signature: proof.blockSignature, publicKey: masterPub };
  if (!crypto.signatures.verify(check)) return refuse("seal-signature", `term ${proof.sealTerm}`);
  const { attempt, view } = proof.quorum;
  const beta = committee.length === 0 ? NO_BETA : agreedBeta(state, next, proof, committee, crypto);
  return typeof beta === "string" ? { attempt, view, beta, committee } : beta;
}

/** What the master signs: the SEAL's header and body. */
export function sealWords(
  next: Pick<ChainState, "chainId" | "height" | "blockHash" | "core">,
  proof: Omit<SealProof, "blockSignature">,
  masterPub: PublicKey,
): Draft<SealMessage> {
  return {
    kind: "SEAL",
    chainId: next.chainId,
    term: proof.sealTerm,
    height: next.height,
    attempt: proof.quorum.attempt,
    view: proof.quorum.view,
    signer: nodeIdOf(masterPub),
    blockHash: next.blockHash,
    quorumHash: quorumHash(proof),
    core: next.core,
    quorum: proof.quorum,
    vrfProof: proof.vrfProof,
    redraw: proof.redraw,
    masterTerm: proof.masterTerm,
    body: { contracts: [], records: [] },
  };
}

/** The proof that a SEAL carries. */
export function proofOfSeal(message: SealMessage): SealProof {
  const { quorum, vrfProof, redraw, masterTerm, term, signature } = message;
  return { quorum, vrfProof, redraw, masterTerm, sealTerm: term, blockSignature: signature };
}

function agreedBeta(
  state: ChainState,
  next: ChainState,
  proof: SealProof,
  committee: Committee,
  crypto: LedgerCrypto,
): TipSeal["beta"] | Refusal {
  const { quorum, vrfProof } = proof;
  const context: CheckContext = { state, committee, crypto };
  const words = { term: next.core.term, blockHash: next.blockHash };
  const fault = quorumFault(context, words, quorum);
  if (fault !== undefined) return fault;
  const { chainId, height } = next;
  const place = { chainId, height, attempt: quorum.attempt, view: quorum.view };
  const beta = vrfProof === undefined ? undefined : leaderBeta(context, place, vrfProof);
  return beta ?? refuse("vrf");
}

/** The key of the sealing term: recorded up to this block, or brought along by its MASTER_TERM. */
function sealingKey(
  state: ChainState,
  next: ChainState,
  proof: SealProof,
  crypto: LedgerCrypto,
): PublicKey | Refusal {
  const { sealTerm, masterTerm } = proof;
  if (sealTerm < next.core.term) return refuse("seal-term", `${sealTerm} below the core's term`);
  if (masterTerm === undefined) {
    const reign = next.masters.find(({ term }) => term === sealTerm);
    return reign?.masterPub ?? refuse("seal-term", `term ${sealTerm} is not on the chain`);
  }
  const isNew = sealTerm > recordedTerm(next) && masterTerm.term === sealTerm;
  if (!isNew) return refuse("seal-term", "a MASTER_TERM that is not needed");
  const isRight = isMasterTerm(state, masterTerm, crypto);
  return isRight ? masterTerm.masterPub : refuse("seal-term", "MASTER_TERM is not valid");
}

/** Whether a MASTER_TERM is the recovery key's, of this chain. */
export function isMasterTerm(
  state: ChainState,
  message: MasterTermMessage,
  crypto: Pick<LedgerCrypto, "signatures">,
): boolean {
  const { recoveryPub } = state.genesis.file;
  const isOurs = message.chainId === state.chainId && message.signer === nodeIdOf(recoveryPub);
  const isKey = crypto.signatures.isPublicKey(message.masterPub);
  return isOurs && isKey && crypto.signatures.verify(checkOf(message, recoveryPub));
}

/** The draw's committee, or the one a FORCED_REDRAW names; empty before any member is effective. */
function sealingCommittee(
  state: ChainState,
  next: ChainState,
  proof: SealProof,
  crypto: LedgerCrypto,
): Committee | Refusal {
  const { quorum, vrfProof, redraw, masterTerm } = proof;
  const drawn = committeeOf(state, quorum.attempt);
  if (drawn.length === 0) {
    const isBare = quorum.attempt === 0 && quorum.view === 0 && quorum.bitmap === 0;
    const isEmpty = quorum.signatures.length === 0 && vrfProof === undefined;
    return isBare && isEmpty && redraw === undefined ? [] : refuse("committee", "nobody may vote");
  }
  if (redraw === undefined) return drawn;
  if (redraw.attempt !== quorum.attempt) return refuse("redraw", "of another attempt");
  const carried = redraw.carriedHash;
  if (carried !== undefined && carried !== next.blockHash) return refuse("bound-hash");
  const termKey = masterTerm?.term === redraw.term ? masterTerm.masterPub : undefined;
  const key = next.masters.find(({ term }) => term === redraw.term)?.masterPub ?? termKey;
  if (key === undefined) return refuse("redraw", `term ${redraw.term} is not on the chain`);
  return redrawFault(state, redraw, key, crypto) ?? redraw.committee;
}

/** Undefined for a FORCED_REDRAW of the next height by this master and the recovery key. */
export function redrawFault(
  state: ChainState,
  redraw: ForcedRedrawMessage,
  masterPub: PublicKey,
  crypto: LedgerCrypto,
): Refusal | undefined {
  const { committee, chainId, height, signer } = redraw;
  if (chainId !== state.chainId || height !== nextHeight(state))
    return refuse("redraw", "elsewhere");
  if (signer !== nodeIdOf(masterPub)) return refuse("redraw", "not by the master");
  const isDistinct = new Set(committee).size === committee.length && committee.length > 0;
  const areMembers = committee.every((nodeId) => memberKeysAt(state, nodeId, height) !== undefined);
  if (!isDistinct || !areMembers) return refuse("redraw", "a committee of strangers or repeats");
  const [byMaster, byRecovery] = crypto.signatures.verifyMany([
    checkOf(redraw, masterPub),
    recoveryCheck(state, redraw),
  ]);
  return byMaster && byRecovery ? undefined : refuse("redraw", "not signed by both keys");
}

/** The recovery key signs the same text under its own id. */
function recoveryCheck(state: ChainState, redraw: ForcedRedrawMessage) {
  const { recoveryPub } = state.genesis.file;
  const words = { ...redraw, signer: nodeIdOf(recoveryPub) };
  return checkOf({ ...words, signature: redraw.recoverySignature }, recoveryPub);
}
