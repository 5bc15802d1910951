/** Ed25519 (RFC 8032) by the runtime's own library: keys as 32 bytes, not as documents. */
import { createPrivateKey, createPublicKey, sign, verify } from "node:crypto";

const KEY_BYTES = 32;
const SIGNATURE_BYTES = 64;
/** DER of a public and of a private key up to the 32 bytes (RFC 8410). */
const SPKI_HEAD = Buffer.from("302a300506032b6570032100", "hex");
const PKCS8_HEAD = Buffer.from("302e020100300506032b657004220420", "hex");

function privateKeyOf(seed: Uint8Array) {
  const key = Buffer.concat([PKCS8_HEAD, seed]);
  const made = createPrivateKey({ key, format: "der", type: "pkcs8" });
  key.fill(0);
  return made;
}

/** @param seed 32 bytes */
export function ed25519PublicKey(seed: Uint8Array): Uint8Array {
  const der = createPublicKey(privateKeyOf(seed)).export({ format: "der", type: "spki" });
  return new Uint8Array(der.subarray(der.length - KEY_BYTES));
}

/** @param seed 32 bytes */
export function ed25519Sign(seed: Uint8Array, message: Uint8Array): Uint8Array {
  return new Uint8Array(sign(null, message, privateKeyOf(seed)));
}

/** False also for what is no key. */
export function ed25519Verify(
  publicKey: Uint8Array,
  message: Uint8Array,
  signature: Uint8Array,
): boolean {
  if (publicKey.length !== KEY_BYTES || signature.length !== SIGNATURE_BYTES) return false;
  const key = { key: Buffer.concat([SPKI_HEAD, publicKey]), format: "der", type: "spki" } as const;
  try {
    return verify(null, message, createPublicKey(key), signature);
  } catch {
    return false; // not on the curve
  }
}
