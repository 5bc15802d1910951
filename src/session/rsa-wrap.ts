/**
 * The key pair of an `rsa256` contract (Fig. 6) and what it does in a handshake: 32 random bytes
 * wrapped by RSA-OAEP with SHA-256 (RFC 8017 §7.1), 2048 bits. docs/wire.md "rsa256". Both ends
 * hold the private key: it is part of the contract's secret.
 */
import {
  constants,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  privateDecrypt,
  publicEncrypt,
} from "node:crypto";
import { AbsError } from "../errors.ts";

export const RSA_BITS = 2048;
const OAEP = { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: "sha256" } as const;
const WRAPPED_SECRET_BYTES = 32;

export class RsaKeyPair {
  private readonly publicKey: KeyObject;

  private constructor(private readonly privateKey: KeyObject) {
    this.publicKey = createPublicKey(privateKey);
  }

  /** From PKCS #8 in DER. @throws AbsError RSA_KEY_INVALID, which never shows the key */
  static fromDer(der: Uint8Array): RsaKeyPair {
    let key: KeyObject;
    try {
      key = createPrivateKey({ key: Buffer.from(der), format: "der", type: "pkcs8" });
    } catch {
      throw invalid("it is not a private key in PKCS #8");
    }
    const bits = key.asymmetricKeyDetails?.modulusLength;
    if (key.asymmetricKeyType !== "rsa" || bits !== RSA_BITS) {
      throw invalid(`it is not RSA of ${RSA_BITS} bits`);
    }
    return new RsaKeyPair(key);
  }

  static isDer(der: Uint8Array): boolean {
    try {
      RsaKeyPair.fromDer(der);
      return true;
    } catch {
      return false;
    }
  }

  static generate(): RsaKeyPair {
    return new RsaKeyPair(generateKeyPairSync("rsa", { modulusLength: RSA_BITS }).privateKey);
  }

  /** PKCS #8 in DER: a secret. */
  get der(): Uint8Array {
    return this.privateKey.export({ format: "der", type: "pkcs8" });
  }

  /** 256 bytes that only this key pair opens. */
  wrap(secret: Uint8Array): Uint8Array {
    return new Uint8Array(publicEncrypt({ key: this.publicKey, ...OAEP }, secret));
  }

  /** The 32 bytes, or undefined when they were not wrapped for this key pair. About 0.5 ms. */
  unwrap(wrapped: Uint8Array): Uint8Array | undefined {
    try {
      const secret = privateDecrypt({ key: this.privateKey, ...OAEP }, wrapped);
      return secret.length === WRAPPED_SECRET_BYTES ? new Uint8Array(secret) : undefined;
    } catch {
      return undefined;
    }
  }
}

function invalid(what: string): AbsError {
  return new AbsError(
    "RSA_KEY_INVALID",
    `The private key of the rsa256 contract cannot be used: ${what}.`,
    "`abs keys contract --algorithm rsa256` draws one; each side needs the same.",
  );
}
