/**
 * A block (paper Figs. 7, 8): its core, which is what is voted on, its body and what seals it.
 * docs/ledger.md "Block". Only shapes and sizes; block-core.ts encodes and hashes the core,
 * block-json.ts writes Fig. 8's names, block-check.ts judges.
 */

import type { EpochSeconds } from "../units.ts";
import type { Quorum } from "./certificate.ts";
import type {
  Attempt,
  BlockHash,
  ChainId,
  Hash,
  Height,
  Signature,
  Term,
  View,
  VrfBeta,
  VrfProof,
} from "./ledger-units.ts";
import type { ForcedRedrawMessage, MasterTermMessage } from "./message-types.ts";

export const CORE_VERSION = 1;
/** Without dummies: contracts of one block. */
export const CONTRACTS_MAX = 1024;
/** Records of one block. */
export const RECORDS_MAX = 1024;
/** One contract, one record, and all of a body: a SEAL has to fit a frame of 1 MiB. */
export const CONTRACT_BYTES_MAX = 2048;
export const RECORD_BYTES_MAX = 65_536;
export const BODY_BYTES_MAX = 900_000;

const NO_BYTES = new Uint8Array(0);

/** Field order is that of the encoding. */
export type BlockCore = {
  readonly version: number;
  readonly chainId: ChainId;
  readonly height: Height;
  /** Of the master that proposed it; a later term may carry it on. */
  readonly term: Term;
  readonly previousBlockHash: BlockHash;
  /** Of the quorum that sealed the parent: they fix whose random output counts. */
  readonly parentAttempt: Attempt;
  readonly parentView: View;
  readonly parentBeta: VrfBeta;
  /** Never below the parent's. */
  readonly timestamp: EpochSeconds;
  /** Over the block's contracts, dummies included, in the order of the body. */
  readonly merkleRoot: Hash;
  readonly scCount: number;
  /** How many of them are no dummies; they come first. */
  readonly scReal: number;
  readonly recordsRoot: Hash;
  /** The three states after this block. */
  readonly scdRoot: Hash;
  readonly tnlRoot: Hash;
  readonly membershipRoot: Hash;
};

/** Canonical JSON, as it was hashed; contracts without the dummies, which everyone recomputes. */
export type BlockBody = {
  readonly contracts: readonly Uint8Array[];
  readonly records: readonly Uint8Array[];
};

/** What makes a core final: votes, the leader's random output, the master's word. */
export type SealProof = {
  readonly quorum: Quorum;
  /** Of the leader of the quorum's view; undefined while no member was effective. */
  readonly vrfProof: VrfProof | undefined;
  /** Where a FORCED_REDRAW named the committee of the quorum's attempt: that message. */
  readonly redraw: ForcedRedrawMessage | undefined;
  /** Where the sealing master's term is not recorded in a block before this one: what made it. */
  readonly masterTerm: MasterTermMessage | undefined;
  /** Of the master that sealed: its SEAL is signed under this term. */
  readonly sealTerm: Term;
  /** Fig. 8's `block_signature`. */
  readonly blockSignature: Signature;
};

export type SealedHeader = { readonly core: BlockCore; readonly proof: SealProof };
export type Block = SealedHeader & { readonly body: BlockBody };

export function areSameBodies(one: BlockBody, other: BlockBody): boolean {
  return areSameLists(one.contracts, other.contracts) && areSameLists(one.records, other.records);
}

function areSameLists(one: readonly Uint8Array[], other: readonly Uint8Array[]): boolean {
  if (one === other) return true;
  if (one.length !== other.length) return false;
  return one.every((bytes, i) => Buffer.compare(bytes, other[i] ?? NO_BYTES) === 0);
}
