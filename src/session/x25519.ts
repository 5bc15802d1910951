/**
 * X25519 (RFC 7748 §5) by node:crypto, about twenty times faster than pure TypeScript; noble is the
 * oracle in tests. Points of low order are refused: a shared secret of zeros proves nothing.
 */
import { createPrivateKey, createPublicKey, diffieHellman, type KeyObject } from "node:crypto";
import { concat, fromHex } from "../bytes.ts";
import { assert } from "../errors.ts";
import { X25519_KEY_BYTES } from "../wire/handshake-message.ts";

// RFC 8410: the DER in front of a raw key.
const SECRET_PREFIX = fromHex("302e020100300506032b656e04220420") ?? new Uint8Array(0);
const PUBLIC_PREFIX = fromHex("302a300506032b656e032100") ?? new Uint8Array(0);

/** A secret key with its public key; holds the imported key, whose import costs 11 µs. */
export class KeyPair {
  readonly publicKey: Uint8Array;
  private readonly secret: KeyObject;

  constructor(secretKey: Uint8Array) {
    assert(secretKey.length === X25519_KEY_BYTES, "an X25519 secret key has 32 bytes");
    const der = Buffer.from(concat(SECRET_PREFIX, secretKey));
    this.secret = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
    const spki = createPublicKey(this.secret).export({ format: "der", type: "spki" });
    this.publicKey = new Uint8Array(spki.subarray(PUBLIC_PREFIX.length));
  }

  /** The shared secret, or undefined when `publicKey` is of low order or not 32 bytes. */
  agree(publicKey: Uint8Array): Uint8Array | undefined {
    if (publicKey.length !== X25519_KEY_BYTES) return undefined;
    const der = Buffer.from(concat(PUBLIC_PREFIX, publicKey));
    // node:crypto tells a low-order point by throwing; here it is an expected outcome.
    try {
      const peer = createPublicKey({ key: der, format: "der", type: "spki" });
      const shared = diffieHellman({ privateKey: this.secret, publicKey: peer });
      return isZero(shared) ? undefined : new Uint8Array(shared);
    } catch {
      return undefined;
    }
  }
}

/** Whether all bytes are zero. */
export function isZero(bytes: Uint8Array): boolean {
  let seen = 0;
  for (const byte of bytes) seen |= byte;
  return seen === 0;
}
