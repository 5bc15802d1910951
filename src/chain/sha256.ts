/**
 * SHA-256 with a domain tag in front, as every hash of the ledger is made: docs/ledger.md "Hashes"
 * lists the tags. Bun's native function: 93 ns for a Merkle node, noble's needs 1,100.
 */
import type { Hash } from "./ledger-units.ts";

const encoder = new TextEncoder();

/** The tags, each with its zero byte. None is a prefix of another. */
export const TAG = {
  block: tag("abs/blk"),
  seed: tag("abs/seed"),
  vrf: tag("abs/vrf"),
  draw: tag("abs/draw"),
  committee: tag("abs/committee"),
  certificate: tag("abs/cert"),
  justification: tag("abs/just"),
  refusals: tag("abs/refusals"),
  quorum: tag("abs/quorum"),
  dummy: tag("abs/dummy"),
  possession: tag("abs/possession"),
  rotation: tag("abs/rotation"),
  identity: tag("abs/identity"),
  revocation: tag("abs/revocation"),
  secret: tag("abs/secret"),
  signature: tag("abs/signature"),
} as const;

function tag(word: string): Uint8Array {
  return encoder.encode(`${word}\0`);
}

export function sha256(bytes: Uint8Array): Uint8Array {
  return Bun.SHA256.hash(bytes, new Uint8Array(32)) as Uint8Array;
}

/** Joined here and hashed in one call: a hasher object costs more than a short hash. */
const joined = new Uint8Array(1024);

/** SHA-256(tag || parts joined). */
export function taggedBytes(domain: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array {
  let end = domain.length;
  for (const part of parts) end += part.length;
  if (end > joined.length) return longTaggedBytes(domain, parts);
  joined.set(domain);
  let at = domain.length;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return sha256(joined.subarray(0, end));
}

function longTaggedBytes(domain: Uint8Array, parts: readonly Uint8Array[]): Uint8Array {
  const hasher = new Bun.SHA256().update(domain);
  for (const part of parts) hasher.update(part);
  return hasher.digest(new Uint8Array(32)) as Uint8Array;
}

export function taggedHash(domain: Uint8Array, ...parts: readonly Uint8Array[]): Hash {
  return taggedBytes(domain, ...parts).toHex() as Hash;
}

export function hashOf(bytes: Uint8Array): Hash {
  return sha256(bytes).toHex() as Hash;
}

/** Bytes of an id or hash that is known to be hexadecimal. */
export function bytesOf(hex: string): Uint8Array {
  return Uint8Array.fromHex(hex);
}
