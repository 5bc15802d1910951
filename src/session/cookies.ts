/**
 * Cookies: proof that the sender of an initiation receives at its source address. docs/wire.md
 * "Cookie". The issuer keeps nothing per source: a cookie is an HMAC of the address under a secret
 * that changes every 120 s; the secret before it is still accepted, so that a cookie lives at least
 * that long. Sealed with XChaCha20-Poly1305 (noble), bound to the message it answers by its mac1.
 */
import { xchacha20poly1305 } from "@noble/ciphers/chacha.js";
import { ascii, equalBytes } from "../bytes.ts";
import type { Micros } from "../units.ts";
import { COOKIE_NONCE_BYTES, type CookieReply, encodeCookieReply } from "../wire/cookie-reply.ts";
import type { HandshakeForm } from "../wire/handshake-message.ts";
import { hashFunction } from "./hashes.ts";
import { shortMac } from "./mac.ts";

export const COOKIE_LIFE_MICROS = 120_000_000;
const SECRET_BYTES = 32;
const COOKIE_LABEL = ascii("abs cookie");

/** Key that seals the cookies of the owner of `staticPublic`. */
function sealKeyOf(staticPublic: Uint8Array): Uint8Array {
  return hashFunction("sha256").digest(COOKIE_LABEL, staticPublic);
}

export class CookieIssuer {
  private secret: Uint8Array;
  private secretBefore: Uint8Array;
  private changedAt: Micros;

  constructor(
    private readonly random: (sizeBytes: number) => Uint8Array,
    now: Micros,
  ) {
    this.secret = random(SECRET_BYTES);
    this.secretBefore = random(SECRET_BYTES);
    this.changedAt = now;
  }

  /** Changes the secret when its time is over; after two such times the old one is gone as well. */
  keepTime(now: Micros): void {
    const age = now - this.changedAt;
    if (age < COOKIE_LIFE_MICROS) return;
    const isLongOver = age >= 2 * COOKIE_LIFE_MICROS;
    this.secretBefore = isLongOver ? this.random(SECRET_BYTES) : this.secret;
    this.secret = this.random(SECRET_BYTES);
    this.changedAt = now;
  }

  /** Cookies given out so far are worth nothing any more. */
  forgetAll(now: Micros): void {
    this.secret = this.random(SECRET_BYTES);
    this.secretBefore = this.random(SECRET_BYTES);
    this.changedAt = now;
  }

  /** Whether the message's mac2 was made with a cookie given to this address. */
  mac2Holds(form: HandshakeForm, message: Uint8Array, address: Uint8Array): boolean {
    const text = message.subarray(0, form.mac2);
    const mac2 = message.subarray(form.mac2, form.sizeBytes);
    return (
      equalBytes(shortMac(shortMac(this.secret, address), text), mac2) ||
      equalBytes(shortMac(shortMac(this.secretBefore, address), text), mac2)
    );
  }

  /**
   * The reply to a message with this sender index and mac1 from this address, which was written to
   * `staticPublic`.
   */
  reply(
    staticPublic: Uint8Array,
    question: {
      readonly receiverIndex: number;
      readonly mac1: Uint8Array;
      readonly address: Uint8Array;
    },
  ): Uint8Array {
    const { receiverIndex, mac1, address } = question;
    const nonce = this.random(COOKIE_NONCE_BYTES);
    const cookie = shortMac(this.secret, address);
    const sealed = xchacha20poly1305(sealKeyOf(staticPublic), nonce, mac1).encrypt(cookie);
    return encodeCookieReply({ receiverIndex, nonce, sealed });
  }
}

/** The cookie in a reply to the message with this mac1, or undefined when it is forged. */
export function openCookie(
  reply: CookieReply,
  issuerStatic: Uint8Array,
  mac1: Uint8Array,
): Uint8Array | undefined {
  // noble tells a wrong tag by throwing; here it is an expected outcome.
  try {
    return xchacha20poly1305(sealKeyOf(issuerStatic), reply.nonce, mac1).decrypt(reply.sealed);
  } catch {
    return undefined;
  }
}
