/**
 * Units and ids of the ledger as types; docs/ledger.md "Words". Hashes, ids and public keys are
 * lower case hexadecimal text, so that they compare with === and key maps; signatures, proofs and
 * the bytes that are hashed are byte strings. Cast only in constructors and decoders.
 */
import type { Branded } from "../units.ts";

/** Which block: genesis is 0. At most 2^53 - 1, 8 bytes on the wire. */
export type Height = Branded<number, "Height">;
/** Which committee of a height: counts up from 0, at most 65,535. */
export type Attempt = Branded<number, "Attempt">;
/** Which leader within the committee: counts up from 0, at most 65,535. */
export type View = Branded<number, "View">;
/** Index into a committee, 0 to 19. */
export type Seat = Branded<number, "Seat">;
/** A master's reign: 1 for the master of the genesis file, counts up with each MASTER_TERM. */
export type Term = Branded<number, "Term">;
/** Counts a master's candidates of one (term, height, attempt) from 0. */
export type CandidateSequence = Branded<number, "CandidateSequence">;

/** First 16 bytes of the SHA-256 of a node's first ledger key: 32 hex digits. */
export type NodeId = Branded<string, "NodeId">;
/** SHA-256 of the canonical genesis file: 64 hex digits. */
export type ChainId = Branded<string, "ChainId">;
/** SHA-256("abs/blk\0" || core): 64 hex digits. */
export type BlockHash = Branded<string, "BlockHash">;
/** Any other SHA-256: a Merkle root, a leaf hash, a commitment, a seed. 64 hex digits. */
export type Hash = Branded<string, "Hash">;
/** A compressed secp256k1 point: 66 hex digits. */
export type PublicKey = Branded<string, "PublicKey">;
/** An encoded edwards25519 point: 64 hex digits. */
export type VrfPublicKey = Branded<string, "VrfPublicKey">;
/** UUID version 4, lower case with hyphens (paper §3.2). */
export type ScId = Branded<string, "ScId">;

/** 32 bytes: the SHA-256 that is signed. */
export type SigningHash = Branded<Uint8Array, "SigningHash">;
/** 64 bytes: r || s of ECDSA over secp256k1, s in the lower half. */
export type Signature = Branded<Uint8Array, "Signature">;
/** 80 bytes: gamma || c || s of RFC 9381. */
export type VrfProof = Branded<Uint8Array, "VrfProof">;
/** 128 hex digits: the 64-byte output of the VRF. */
export type VrfBeta = Branded<string, "VrfBeta">;

export const SIGNATURE_BYTES = 64;
export const VRF_PROOF_BYTES = 80;
export const COMMITTEE_MAX = 20;

/** 64 zeros: "no hash here", and the parent of genesis. */
export const NO_HASH = "0".repeat(64) as Hash;
/** The beta of a block that was sealed before any member was effective. */
export const NO_BETA = "0".repeat(128) as VrfBeta;
