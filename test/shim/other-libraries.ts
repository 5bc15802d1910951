/**
 * The ciphers of the shim once more, by libraries that share nothing with it: node:crypto for
 * AES-GCM, noble for ChaCha20-Poly1305. Oracle of shim.test.ts.
 */
import { createCipheriv } from "node:crypto";
import { chacha20poly1305 } from "@noble/ciphers/chacha.js";

/** The AEAD by another library: ciphertext and tag. */
export function oracle(
  name: string,
  key: Uint8Array,
  nonce: Uint8Array,
  aad: Uint8Array,
  text: Uint8Array,
) {
  if (name === "chacha20-poly1305") {
    const both = chacha20poly1305(key, nonce, aad).encrypt(text);
    return { text: both.slice(0, text.length), tag: both.slice(text.length) };
  }
  const cipher = createCipheriv(name as "aes-128-gcm", key, nonce);
  cipher.setAAD(aad);
  const sealed = Buffer.concat([cipher.update(text), cipher.final()]);
  return { text: new Uint8Array(sealed), tag: new Uint8Array(cipher.getAuthTag()) };
}
