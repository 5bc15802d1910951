/**
 * Stand-ins for signatures and VRF in the simulator: keyed hashes, a thousand times faster than
 * curves. The registry holds every key and checks by computing again; who holds no handle of an
 * owner cannot make its signatures, so a simulated liar lies only with its own keys. Never in the
 * product: whoever holds the registry could forge everything.
 */
import type { LedgerCrypto, NodeKeys, SignatureCheck } from "./crypto-interface.ts";
import {
  type PublicKey,
  SIGNATURE_BYTES,
  type Signature,
  type SigningHash,
  VRF_PROOF_BYTES,
  type VrfBeta,
  type VrfProof,
  type VrfPublicKey,
} from "./ledger-units.ts";
import { sha256 } from "./sha256.ts";

const encoder = new TextEncoder();

/** One a simulation. Same seed, same keys. */
export class StandInRegistry {
  private readonly signing = new Map<PublicKey, Uint8Array>();
  private readonly proving = new Map<VrfPublicKey, Uint8Array>();
  private made = 0;

  constructor(private readonly seed: number) {}

  /** New keys, and the only handle that signs with them. */
  makeKeys(): NodeKeys {
    const secret = this.secretOf("sign");
    const proofSecret = this.secretOf("vrf");
    this.made++;
    const publicKey = `02${sha256(secret).toHex()}` as PublicKey;
    const vrfKey = sha256(proofSecret).toHex() as VrfPublicKey;
    this.signing.set(publicKey, secret);
    this.proving.set(vrfKey, proofSecret);
    return {
      signer: { publicKey, sign: (hash) => standInSignature(secret, hash) },
      vrf: { publicKey: vrfKey, prove: (alpha) => standInProof(proofSecret, alpha) },
    };
  }

  readonly crypto: LedgerCrypto = {
    signatures: {
      verify: (check) => this.verify(check),
      verifyMany: (checks) => checks.map((check) => this.verify(check)),
      isPublicKey: (publicKey) => this.signing.has(publicKey),
    },
    vrf: {
      verify: (publicKey, alpha, proof) => this.betaOf(publicKey, alpha, proof),
      outputOf,
      isPublicKey: (publicKey) => this.proving.has(publicKey),
    },
  };

  private verify({ hash, signature, publicKey }: SignatureCheck): boolean {
    const secret = this.signing.get(publicKey);
    if (secret === undefined) return false;
    return Buffer.compare(standInSignature(secret, hash), signature) === 0;
  }

  private betaOf(publicKey: VrfPublicKey, alpha: Uint8Array, proof: VrfProof): VrfBeta | undefined {
    const secret = this.proving.get(publicKey);
    if (secret === undefined) return undefined;
    if (Buffer.compare(standInProof(secret, alpha), proof) !== 0) return undefined;
    return outputOf(proof);
  }

  private secretOf(use: string): Uint8Array {
    return sha256(encoder.encode(`stand-in ${use} ${this.seed} ${this.made}`));
  }
}

/** 64 bytes of which the last 32 are zero: below half the order, so never "high s". */
function standInSignature(secret: Uint8Array, hash: SigningHash): Signature {
  const signature = new Uint8Array(SIGNATURE_BYTES);
  signature.set(keyed(secret, hash));
  return signature as Signature;
}

function standInProof(secret: Uint8Array, alpha: Uint8Array): VrfProof {
  const proof = new Uint8Array(VRF_PROOF_BYTES);
  proof.set(keyed(secret, alpha));
  return proof as VrfProof;
}

function outputOf(proof: VrfProof): VrfBeta {
  const half = sha256(proof);
  return (half.toHex() + sha256(half).toHex()) as VrfBeta;
}

/** Keyed prefix: enough here, where lengths are fixed and nobody sees a key. */
function keyed(secret: Uint8Array, bytes: Uint8Array): Uint8Array {
  const joined = new Uint8Array(32 + bytes.length);
  joined.set(secret);
  joined.set(bytes, 32);
  return sha256(joined);
}
