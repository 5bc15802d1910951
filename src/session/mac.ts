/**
 * mac1 and mac2 at the end of handshake messages. docs/wire.md: mac1 is keyed by the receiver's
 * static key, so that a stranger's bytes cost one HMAC; mac2 by a cookie, zero when there is none.
 * The worker checks mac1 with the key that `mac1KeyOf` gives; here it is checked where it has not.
 */
import { ascii, equalBytes } from "../bytes.ts";
import { type HandshakeForm, MAC_BYTES } from "../wire/handshake-message.ts";
import { hashFunction } from "./hashes.ts";

const MAC1_LABEL = ascii("abs mac1");
const sha256 = hashFunction("sha256");

/** Key of mac1 in messages to the owner of `staticPublic`: SHA-256("abs mac1" || static key). */
export function mac1KeyOf(staticPublic: Uint8Array): Uint8Array {
  return sha256.digest(MAC1_LABEL, staticPublic);
}

/** First 16 bytes of HMAC-SHA-256. */
export function shortMac(key: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array {
  return sha256.hmac(key, ...parts).slice(0, MAC_BYTES);
}

/** Writes mac1, and mac2 when there is a cookie, into a whole handshake message; zero otherwise. */
export function writeMacs(
  form: HandshakeForm,
  message: Uint8Array,
  keys: { readonly mac1Key: Uint8Array; readonly cookie: Uint8Array | undefined },
): void {
  message.set(shortMac(keys.mac1Key, message.subarray(0, form.mac1)), form.mac1);
  const mac2 =
    keys.cookie === undefined
      ? new Uint8Array(MAC_BYTES)
      : shortMac(keys.cookie, message.subarray(0, form.mac2));
  message.set(mac2, form.mac2);
}

/** Whether mac1 of a whole message of this form is right. */
export function mac1Holds(form: HandshakeForm, message: Uint8Array, mac1Key: Uint8Array): boolean {
  const mac1 = message.subarray(form.mac1, form.mac2);
  return equalBytes(shortMac(mac1Key, message.subarray(0, form.mac1)), mac1);
}
