/**
 * The four hash functions of contracts, with HMAC (RFC 2104) and HKDF (RFC 5869) over them.
 * SHA-2 comes from node:crypto, which is faster; BLAKE2 from noble, because Bun's node:crypto has
 * no HMAC over it. Noise's own HKDF is this one with empty info (Noise revision 34 §4.3).
 */
import { createHash, createHmac } from "node:crypto";
import { blake2b, blake2s } from "@noble/hashes/blake2.js";
import { hmac as nobleHmac } from "@noble/hashes/hmac.js";
import { concat } from "../bytes.ts";

export const HASH_NAMES = ["sha256", "sha512", "blake2s", "blake2b"] as const;
export type HashName = (typeof HASH_NAMES)[number];

export type HashFunction = {
  readonly name: HashName;
  readonly digestBytes: number;
  readonly digest: (...parts: readonly Uint8Array[]) => Uint8Array;
  readonly hmac: (key: Uint8Array, ...parts: readonly Uint8Array[]) => Uint8Array;
};

function sha2(name: "sha256" | "sha512", digestBytes: number): HashFunction {
  return {
    name,
    digestBytes,
    digest: (...parts) => {
      const hash = createHash(name);
      for (const part of parts) hash.update(part);
      return new Uint8Array(hash.digest());
    },
    hmac: (key, ...parts) => {
      const mac = createHmac(name, key);
      for (const part of parts) mac.update(part);
      return new Uint8Array(mac.digest());
    },
  };
}

function blake2(name: "blake2s" | "blake2b", digestBytes: number): HashFunction {
  const hash = name === "blake2s" ? blake2s : blake2b;
  return {
    name,
    digestBytes,
    digest: (...parts) => hash(concat(...parts)),
    hmac: (key, ...parts) => nobleHmac(hash, key, concat(...parts)),
  };
}

const FUNCTIONS: Readonly<Record<HashName, HashFunction>> = {
  sha256: sha2("sha256", 32),
  sha512: sha2("sha512", 64),
  blake2s: blake2("blake2s", 32),
  blake2b: blake2("blake2b", 64),
};

export function hashFunction(name: HashName): HashFunction {
  return FUNCTIONS[name];
}

/**
 * RFC 5869: extract with `salt`, then expand `info` to `sizeBytes`.
 * An empty salt means a string of zeros of the digest's size, which HMAC makes of it anyway.
 */
export function hkdf(
  hash: HashFunction,
  input: { ikm: Uint8Array; salt: Uint8Array; info: Uint8Array; sizeBytes: number },
): Uint8Array {
  const pseudoRandomKey = hash.hmac(input.salt, input.ikm);
  const output = new Uint8Array(input.sizeBytes);
  let block: Uint8Array = new Uint8Array(0);
  let filledBytes = 0;
  for (let i = 1; filledBytes < input.sizeBytes; i++) {
    block = hash.hmac(pseudoRandomKey, block, input.info, new Uint8Array([i]));
    output.set(block.subarray(0, input.sizeBytes - filledBytes), filledBytes);
    filledBytes += block.length;
  }
  return output;
}
