/**
 * Vectors that others publish, against ours: RFC 8785 by its author and in its appendix B,
 * Wycheproof's of ECDSA over secp256k1 as libsecp256k1 carries them, the proofs that Certificate
 * Transparency's own tests have for RFC 9162's tree. Where each is from stands in its file.
 * Signing is in chain/secp256k1.test.ts (noble's) and noble-signatures.test.ts (libsecp256k1's and
 * bitcoinjs'), RFC 9381's in ecvrf.test.ts.
 */
import { describe, expect, test } from "bun:test";
import { canonicalJson, parseCanonical, parseJsonText } from "../../src/chain/canonical-json.ts";
import type { Hash, PublicKey, Signature, SigningHash } from "../../src/chain/ledger-units.ts";
import {
  consistencyProof,
  inclusionProof,
  leafBytes,
  rootOf,
  verifyConsistency,
  verifyInclusion,
} from "../../src/chain/merkle.ts";
import { NobleVerifier } from "../../src/chain/noble-signatures.ts";
import { signatureLibrary } from "../../src/chain/secp256k1.ts";
import { bytesOf } from "../../src/chain/sha256.ts";
import jcs from "./rfc8785.json";
import wycheproof from "./wycheproof-secp256k1.json";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

/** The author's documents that are outside of our subset: why, and how they come into it. */
const OUTSIDE: Readonly<Record<string, { fault: string; inside?: readonly [string, string] }>> = {
  arrays: { fault: "json-null", inside: ["null", "true"] },
  structures: { fault: "json-number", inside: ["56.0", "56"] },
  values: { fault: "json-number" },
};

describe("RFC 8785", () => {
  test.each(jcs.documents)("the author's $name.json", ({ name, input, output }) => {
    const outside = OUTSIDE[name];
    const read = parseJsonText(bytes(input));
    if (outside !== undefined) {
      expect(read as unknown).toEqual({ fault: outside.fault });
      const { inside } = outside;
      if (inside === undefined) return;
      const changed = parseJsonText(bytes(input.replace(...inside)));
      if ("fault" in changed) throw new Error(changed.fault);
      const expected = Buffer.from(output, "hex")
        .toString()
        .replace(...inside);
      expect(Buffer.from(canonicalJson(changed.value)).toString()).toBe(expected);
      return;
    }
    if ("fault" in read) throw new Error(read.fault);
    expect(canonicalJson(read.value).toHex()).toBe(output);
    // What is canonical is read as it is, and what people wrote is not.
    expect("value" in parseCanonical(Buffer.from(output, "hex"))).toBe(true);
    expect(parseCanonical(bytes(input)) as unknown).toEqual({ fault: "json-not-canonical" });
  });

  test("six documents are there, three of them whole", () => {
    expect(jcs.documents.map(({ name }) => name)).toEqual([
      "arrays",
      "french",
      "structures",
      "unicode",
      "values",
      "weird",
    ]);
  });

  test.each([...new Set(jcs.numbers)])("appendix B: %s is refused, unless it is 0", (number) => {
    const reads = [parseJsonText(bytes(number)), parseCanonical(bytes(number))];
    if (number === "0") expect(reads).toEqual([{ value: 0 }, { value: 0 }]);
    else for (const read of reads) expect("fault" in read).toBe(true);
  });
});

const verifiers = [
  { name: signatureLibrary().name, verifier: signatureLibrary().verifier },
  { name: "noble", verifier: new NobleVerifier() },
];

describe.each(verifiers)("Wycheproof, by $name", ({ verifier }) => {
  test.each(wycheproof.vectors)("$id $comment", ({ publicKey, hash, signature, isValid }) => {
    const check = {
      hash: bytesOf(hash) as SigningHash,
      signature: bytesOf(signature) as Signature,
      publicKey: publicKey as PublicKey,
    };
    expect(verifier.verify(check)).toBe(isValid);
    expect(verifier.verifyMany([check, check])).toEqual([isValid, isValid]);
  });
});

test("libsecp256k1 itself is asked, and both verdicts are among the vectors", () => {
  expect(verifiers[0]?.name).toBe("libsecp256k1");
  const valid = wycheproof.vectors.filter(({ isValid }) => isValid).length;
  expect([wycheproof.vectors.length, valid]).toEqual([231, 162]);
});

/** Of google/certificate-transparency's merkle tree tests, over the leaves of merkle.test.ts. */
const CT_LEAVES = [
  "",
  "00",
  "10",
  "2021",
  "3031",
  "40414243",
  "5051525354555657",
  "606162636465666768696a6b6c6d6e6f",
].map((hex) => leafBytes(Buffer.from(hex, "hex")));
const CT = {
  a: "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
  b: "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
  c: "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
  d: "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
  e: "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
  f: "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
  g: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
  h: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
  i: "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
} as unknown as Record<string, Hash>;
const named = (...names: string[]): Hash[] => names.map((name) => CT[name] as Hash);

describe("RFC 9162's tree, by Certificate Transparency", () => {
  test.each([
    [0, 8, named("a", "b", "c")],
    [5, 8, named("d", "e", "f")],
    [2, 3, named("g")],
    [1, 5, named("h", "b", "d")],
  ])("leaf %d of %d", (index, size, proof) => {
    const leaves = CT_LEAVES.slice(0, size);
    expect(inclusionProof(leaves, index)).toEqual(proof);
    const leaf = leaves[index]?.toHex() as Hash;
    const claim = { index, size, proof, root: rootOf(leaves) };
    expect(verifyInclusion({ ...claim, leaf })).toBe(true);
    expect(verifyInclusion({ ...claim, leaf: rootOf(leaves) })).toBe(false);
  });

  test.each([
    [1, 1, named()],
    [1, 8, named("a", "b", "c")],
    [6, 8, named("i", "e", "f")],
    [2, 5, named("b", "d")],
  ])("%d leaves of %d", (oldSize, newSize, proof) => {
    const leaves = CT_LEAVES.slice(0, newSize);
    expect(consistencyProof(leaves, oldSize)).toEqual(proof);
    const oldRoot = rootOf(CT_LEAVES.slice(0, oldSize));
    const claim = { oldSize, newSize, proof, oldRoot, newRoot: rootOf(leaves) };
    expect(verifyConsistency(claim)).toBe(true);
  });
});
