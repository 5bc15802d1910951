/**
 * X25519 (RFC 7748 §5) by node:crypto, about twenty times faster than pure TypeScript; noble is the
 * oracle in tests. Points of low order are refused: a shared secret of zeros proves nothing.
 */
import { createPrivateKey, createPublicKey, diffieHellman, type KeyObject } from "node:crypto";
import { concat, fromHex, toHex } from "../bytes.ts";
import { assert } from "../errors.ts";
import { X25519_KEY_BYTES } from "../wire/handshake-message.ts";

// RFC 8410: the DER in front of a raw key.
const SECRET_PREFIX = fromHex("302e020100300506032b656e04220420") ?? new Uint8Array(0);
const PUBLIC_PREFIX = fromHex("302a300506032b656e032100") ?? new Uint8Array(0);

/** Little-endian u-coordinates of all points of low order, of curve and twist: 0, 1, two of order
 * 8, p - 1, and p, p + 1, which are 0 and 1 again; as libsodium refuses them. */
const LOW_ORDER: ReadonlySet<string> = new Set([
  "00".repeat(32),
  `01${"00".repeat(31)}`,
  "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
  "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
  ...["ec", "ed", "ee"].map((first) => `${first}${"ff".repeat(30)}7f`),
]);

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

/** Whether nothing can be agreed with this public key of 32 bytes: told without an agreement. */
export function isLowOrder(publicKey: Uint8Array): boolean {
  const masked = publicKey.slice();
  // RFC 7748: the last byte's highest bit is not part of it.
  masked[X25519_KEY_BYTES - 1] = (masked[X25519_KEY_BYTES - 1] ?? 0) & 0x7f;
  return LOW_ORDER.has(toHex(masked));
}

/** Whether all bytes are zero. */
export function isZero(bytes: Uint8Array): boolean {
  let seen = 0;
  for (const byte of bytes) seen |= byte;
  return seen === 0;
}
