/**
 * The one-time token of an invitation: where the manager is, the keys it must show, and the seed of
 * the key that logs in as `enroll`. docs/manager-channel.md "Token". Text of one word, so that it
 * can be pasted; a checksum tells a slip of the hand from a token that is no longer good.
 */
import { createHash } from "node:crypto";
import { concat, equalBytes } from "../bytes.ts";
import { AbsError } from "../errors.ts";
import type { EpochSeconds } from "../units.ts";

export type EnrolmentToken = {
  readonly host: string;
  readonly port: number;
  /** SHA-256 of the SSH host key's blob, 32 bytes. */
  readonly hostDigest: Uint8Array;
  /** The manager's public secp256k1 key, 33 bytes: its signature must be on the certificate. */
  readonly managerKey: Uint8Array;
  /** By the manager's clock; for a message only. */
  readonly expiresAt: EpochSeconds;
  /** Secret: Ed25519 seed, 32 bytes. */
  readonly seed: Uint8Array;
};

const PREFIX = "abs1-";
const CHECK_BYTES = 4;
const HOST_OFFSET = 32 + 33 + 4 + 32 + 2;
const CHARACTERS_MAX = 600;

export function encodeToken(token: EnrolmentToken): string {
  const numbers = new DataView(new ArrayBuffer(6));
  numbers.setUint32(0, token.expiresAt, false);
  numbers.setUint16(4, token.port, false);
  const bytes = concat(
    ...[token.hostDigest, token.managerKey, new Uint8Array(numbers.buffer, 0, 4), token.seed],
    ...[new Uint8Array(numbers.buffer, 4, 2), new Uint8Array(Buffer.from(token.host))],
  );
  return PREFIX + Buffer.from(concat(bytes, checkOf(bytes))).toString("base64url");
}

/** @throws AbsError TOKEN_INVALID; never with the token itself */
export function decodeToken(text: string): EnrolmentToken {
  const word = text.trim();
  if (!word.startsWith(PREFIX)) throw invalid(`it does not begin with ${PREFIX}`);
  if (word.length > CHARACTERS_MAX || !/^[\w-]+$/.test(word)) throw invalid("it is no such word");
  const bytes = new Uint8Array(Buffer.from(word.slice(PREFIX.length), "base64url"));
  const end = bytes.length - CHECK_BYTES;
  if (end <= HOST_OFFSET) throw invalid("it is cut short");
  const body = bytes.subarray(0, end);
  if (!equalBytes(checkOf(body), bytes.subarray(end))) throw invalid("a letter of it is wrong");
  const memory = new DataView(bytes.buffer);
  const host = new TextDecoder().decode(body.subarray(HOST_OFFSET));
  if (!/^[A-Za-z0-9.:_-]{1,255}$/.test(host)) throw invalid("it names no host");
  return {
    ...{ host, port: memory.getUint16(HOST_OFFSET - 2, false) },
    hostDigest: body.slice(0, 32),
    managerKey: body.slice(32, 65),
    expiresAt: memory.getUint32(65, false) as EpochSeconds,
    seed: body.slice(69, 101),
  };
}

/** As the SSH client compares it. */
export function fingerprintOfDigest(hostDigest: Uint8Array): string {
  return `SHA256:${Buffer.from(hostDigest).toString("base64").replace(/=+$/, "")}`;
}

function checkOf(bytes: Uint8Array): Uint8Array {
  const digest = createHash("sha256").update("abs/token\0").update(bytes).digest();
  return new Uint8Array(digest.subarray(0, CHECK_BYTES));
}

function invalid(why: string): AbsError {
  const remedy = "Copy it whole from what `abs manager invite` printed.";
  return new AbsError("TOKEN_INVALID", `This is no token: ${why}.`, remedy);
}
