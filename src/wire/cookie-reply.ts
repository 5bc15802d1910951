/**
 * The cookie reply: what an initiation gets that has yet to show that its source address is real.
 * docs/wire.md "Cookie reply". Only bytes; src/session/cookies.ts seals and opens the cookie.
 */
import {
  COMMON_HEADER_BYTES,
  type Field,
  FLAG,
  faultOfHeader,
  HANDSHAKE,
  HEADER_RECEIVER_INDEX,
  viewOf,
  type WireFault,
  writeCommonHeader,
} from "./header.ts";

export const COOKIE_REPLY_BYTES = 64;
export const COOKIE_BYTES = 16;
export const COOKIE_NONCE_BYTES = 24;
export const COOKIE_REPLY_NONCE = 8;
export const COOKIE_REPLY_SEALED = 32;
const SEALED_COOKIE_BYTES = 32;

export const COOKIE_REPLY_LAYOUT: readonly Field[] = [
  { name: "common header", offset: 0, sizeBytes: COMMON_HEADER_BYTES },
  { name: "nonce", offset: COOKIE_REPLY_NONCE, sizeBytes: COOKIE_NONCE_BYTES },
  { name: "cookie, sealed", offset: COOKIE_REPLY_SEALED, sizeBytes: SEALED_COOKIE_BYTES },
];

export type CookieReply = {
  /** The sender index of the message answered. */
  readonly receiverIndex: number;
  readonly nonce: Uint8Array;
  readonly sealed: Uint8Array;
};

export function encodeCookieReply(reply: CookieReply): Uint8Array {
  const bytes = new Uint8Array(COOKIE_REPLY_BYTES);
  writeCommonHeader(viewOf(bytes), {
    flag: FLAG.handshake,
    nextHeader: HANDSHAKE.cookieReply,
    fragment: 0,
    receiverIndex: reply.receiverIndex,
  });
  bytes.set(reply.nonce, COOKIE_REPLY_NONCE);
  bytes.set(reply.sealed, COOKIE_REPLY_SEALED);
  return bytes;
}

export function decodeCookieReply(bytes: Uint8Array): CookieReply | WireFault {
  const fault = faultOfHeader(bytes, {
    sizeBytes: COOKIE_REPLY_BYTES,
    flag: FLAG.handshake,
    nextHeader: HANDSHAKE.cookieReply,
  });
  if (fault !== undefined) return fault;
  const receiverIndex = viewOf(bytes).getUint32(HEADER_RECEIVER_INDEX, false);
  if (receiverIndex === 0) return "receiver-index";
  return {
    receiverIndex,
    nonce: bytes.slice(COOKIE_REPLY_NONCE, COOKIE_REPLY_SEALED),
    sealed: bytes.slice(COOKIE_REPLY_SEALED, COOKIE_REPLY_BYTES),
  };
}
