/**
 * AEAD of single messages in the control plane: handshakes, keep-alives, REJECT. Bursts of packets
 * are the shim's. AES-GCM from node:crypto, ChaCha20-Poly1305 from noble, because Bun's node:crypto
 * does not have it. Nonces are 12 bytes, tags 16, ciphertext || tag as RFC 5116 has it.
 */
import { createCipheriv, createDecipheriv } from "node:crypto";
import { chacha20poly1305 } from "@noble/ciphers/chacha.js";
import type { CipherName } from "./contract.ts";

const TAG_BYTES = 16;

export type AeadInput = {
  readonly algorithm: CipherName;
  readonly key: Uint8Array;
  readonly nonce: Uint8Array;
  readonly associated: Uint8Array;
};

/** Ciphertext || tag. */
export function sealAead(input: AeadInput, plaintext: Uint8Array): Uint8Array {
  if (input.algorithm === "chacha20-poly1305") {
    return chacha20poly1305(input.key, input.nonce, input.associated).encrypt(plaintext);
  }
  const cipher = createCipheriv(input.algorithm, input.key, input.nonce);
  if (input.associated.length > 0) cipher.setAAD(input.associated);
  const sealed = new Uint8Array(plaintext.length + TAG_BYTES);
  sealed.set(cipher.update(plaintext), 0);
  cipher.final();
  sealed.set(cipher.getAuthTag(), plaintext.length);
  return sealed;
}

/** The plaintext, or undefined when `sealed` was not made with this key, nonce and data. */
export function openAead(input: AeadInput, sealed: Uint8Array): Uint8Array | undefined {
  if (sealed.length < TAG_BYTES) return undefined;
  // Both libraries tell a wrong tag by throwing; here it is an expected outcome.
  try {
    if (input.algorithm === "chacha20-poly1305") {
      return chacha20poly1305(input.key, input.nonce, input.associated).decrypt(sealed);
    }
    const textEnd = sealed.length - TAG_BYTES;
    const decipher = createDecipheriv(input.algorithm, input.key, input.nonce);
    if (input.associated.length > 0) decipher.setAAD(input.associated);
    decipher.setAuthTag(sealed.subarray(textEnd));
    const { buffer, byteOffset, length } = decipher.update(sealed.subarray(0, textEnd));
    decipher.final();
    return new Uint8Array(buffer, byteOffset, length);
  } catch {
    return undefined;
  }
}
