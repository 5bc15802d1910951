/**
 * What the ledger's code (src/chain/) has from Bun, in a browser: SHA-256 and SHA-512 by noble, and
 * two functions of `Buffer`. Imported before everything that hashes as it is loaded.
 */
import { sha256, sha512 } from "@noble/hashes/sha2.js";

type Hasher = (bytes: Uint8Array) => Uint8Array;

function hashing(hash: Hasher) {
  return {
    hash(bytes: Uint8Array, into?: Uint8Array): Uint8Array {
      const found = hash(bytes);
      into?.set(found);
      return into ?? found;
    },
  };
}

function compare(one: Uint8Array, other: Uint8Array): number {
  const at = one.findIndex((byte, i) => byte !== other[i]);
  if (at < 0) return one.length - other.length;
  return (one[at] as number) - (other[at] ?? -1);
}

function latin1Slice(this: Uint8Array, start: number, end: number): string {
  return Array.from(this.subarray(start, end), (byte) => String.fromCharCode(byte)).join("");
}

Object.assign(globalThis, {
  Bun: { SHA256: hashing(sha256), SHA512: hashing(sha512) },
  Buffer: { compare, prototype: { latin1Slice } },
});
