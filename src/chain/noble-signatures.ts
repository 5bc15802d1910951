/**
 * secp256k1 by noble: the portable implementation of Signer and Verifier, and the oracle for
 * libsecp256k1's, whose bytes are the same. docs/ledger.md "Signatures": deterministic nonces (RFC
 * 6979 over SHA-256 without extra entropy), compact form, s in the lower half or refused.
 */
import { secp256k1 } from "@noble/curves/secp256k1.js";
import type { SignatureCheck, Signer, Verifier } from "./crypto-interface.ts";
import {
  type PublicKey,
  SIGNATURE_BYTES,
  type Signature,
  type SigningHash,
} from "./ledger-units.ts";
import { bytesOf } from "./sha256.ts";

const OPTIONS = { prehash: false, lowS: true, format: "compact" } as const;
const PUBLIC_KEY = /^0[23][0-9a-f]{64}$/;

/** Whether text has the shape of a compressed point; it need not lie on the curve. */
export function isPublicKeyText(text: string): text is PublicKey {
  return PUBLIC_KEY.test(text);
}

export class NobleSigner implements Signer {
  readonly publicKey: PublicKey;
  readonly #secretKey: Uint8Array;

  /** @param secretKey 32 bytes, from 1 to the order of the curve less 1; copied */
  constructor(secretKey: Uint8Array) {
    this.#secretKey = new Uint8Array(secretKey);
    this.publicKey = secp256k1.getPublicKey(secretKey, true).toHex() as PublicKey;
  }

  sign(hash: SigningHash): Signature {
    return secp256k1.sign(hash, this.#secretKey, OPTIONS) as Uint8Array as Signature;
  }
}

export class NobleVerifier implements Verifier {
  verify({ hash, signature, publicKey }: SignatureCheck): boolean {
    if (signature.length !== SIGNATURE_BYTES || hash.length !== 32) return false;
    if (!isPublicKeyText(publicKey)) return false;
    try {
      return secp256k1.verify(signature, hash, bytesOf(publicKey), OPTIONS);
    } catch {
      // r or s of 0 or past the order, a key that is not on the curve.
      return false;
    }
  }

  verifyMany(checks: readonly SignatureCheck[]): boolean[] {
    return checks.map((check) => this.verify(check));
  }

  isPublicKey(publicKey: PublicKey): boolean {
    if (!isPublicKeyText(publicKey)) return false;
    try {
      secp256k1.Point.fromHex(publicKey);
      return true;
    } catch {
      return false;
    }
  }
}
