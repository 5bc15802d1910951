/**
 * What the ledger asks of cryptography: secp256k1 signatures and the VRF, behind interfaces, so
 * that the product (libsecp256k1 or noble) and the simulator (keyed hashes that a liar cannot
 * forge) run the same code. docs/ledger.md "Signatures" and "VRF". Nothing here blocks or throws on
 * bad input.
 */
import type {
  PublicKey,
  Signature,
  SigningHash,
  VrfBeta,
  VrfProof,
  VrfPublicKey,
} from "./ledger-units.ts";

/** The owner's handle of one ledger key. Deterministic (RFC 6979), low s. */
export interface Signer {
  readonly publicKey: PublicKey;
  sign(hash: SigningHash): Signature;
}

export type SignatureCheck = {
  readonly hash: SigningHash;
  readonly signature: Signature;
  readonly publicKey: PublicKey;
};

export interface Verifier {
  /** False for anything but a valid signature with low s by this key, malformed keys included. */
  verify(check: SignatureCheck): boolean;
  /** One answer a check, in order; one call into the library for all. */
  verifyMany(checks: readonly SignatureCheck[]): boolean[];
  isPublicKey(publicKey: PublicKey): boolean;
}

/** The owner's handle of one VRF key. */
export interface VrfProver {
  readonly publicKey: VrfPublicKey;
  prove(alpha: Uint8Array): VrfProof;
}

export interface VrfVerifier {
  /** The output of a valid proof, or undefined. */
  verify(publicKey: VrfPublicKey, alpha: Uint8Array, proof: VrfProof): VrfBeta | undefined;
  /** The output of a proof that is known to be valid, being one's own (RFC 9381 §5.2). */
  outputOf(proof: VrfProof): VrfBeta | undefined;
  /** RFC 9381 §5.4.5: on the curve and not of small order. */
  isPublicKey(publicKey: VrfPublicKey): boolean;
}

/** All that checking a ledger needs. */
export type LedgerCrypto = { readonly signatures: Verifier; readonly vrf: VrfVerifier };
/** The keys of one node. */
export type NodeKeys = { readonly signer: Signer; readonly vrf: VrfProver };
