import { describe, expect, test } from "bun:test";
import type { Hash } from "./ledger-units.ts";
import {
  consistencyProof,
  EMPTY_ROOT,
  inclusionProof,
  leafBytes,
  leafHash,
  paddedSize,
  rootOf,
  verifyConsistency,
  verifyInclusion,
} from "./merkle.ts";

/** Of the Certificate Transparency project: RFC 9162's tree over these eight leaves. */
const LEAVES = [
  "",
  "00",
  "10",
  "2021",
  "3031",
  "40414243",
  "5051525354555657",
  "606162636465666768696a6b6c6d6e6f",
].map((hex) => leafBytes(Buffer.from(hex, "hex")));
const ROOTS = [
  "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
  "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
  "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
  "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
  "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
  "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
  "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
  "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
  "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
] as Hash[];

const SIZES = Array.from({ length: 34 }, (_, i) => i);
function leavesOf(size: number): Uint8Array[] {
  return Array.from({ length: size }, (_, i) => leafBytes(Uint8Array.of(i)));
}

test.each(SIZES.slice(0, 9))("the root of the first %d leaves is the published one", (size) => {
  expect(rootOf(LEAVES.slice(0, size))).toBe(ROOTS[size] ?? EMPTY_ROOT);
});

test("the published inclusion proof of leaf 0 of 8", () => {
  expect(inclusionProof(LEAVES, 0)).toEqual([
    "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
    "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
  ] as Hash[]);
});

test("a repeated last leaf is another list, with another root (CVE-2012-2459)", () => {
  const three = leavesOf(3);
  const four = [...three, ...three.slice(2)];
  expect(rootOf(four)).not.toBe(rootOf(three));
});

test("a node does not pass for a leaf", () => {
  const [left, right] = leavesOf(2) as [Uint8Array, Uint8Array];
  expect(leafHash(Buffer.concat([left, right]))).not.toBe(rootOf([left, right]));
});

describe.each(SIZES)("a tree of %d leaves", (size) => {
  const leaves = leavesOf(size);
  const root = rootOf(leaves);

  test("proves each leaf at its place, and nowhere else", () => {
    for (let index = 0; index < size; index++) {
      const claim = { index, size, proof: inclusionProof(leaves, index), root };
      const leaf = leafHash(Uint8Array.of(index));
      expect(verifyInclusion({ ...claim, leaf })).toBe(true);
      for (let other = -1; other <= size; other++) {
        if (other !== index) expect(verifyInclusion({ ...claim, leaf, index: other })).toBe(false);
      }
      expect(verifyInclusion({ ...claim, leaf: leafHash(Uint8Array.of(99)) })).toBe(false);
      expect(verifyInclusion({ ...claim, leaf, proof: [...claim.proof, root] })).toBe(false);
      if (size > 1) {
        expect(verifyInclusion({ ...claim, leaf, proof: claim.proof.slice(1) })).toBe(false);
      }
    }
  });

  test("is consistent with each of its beginnings, and with no other root", () => {
    for (let oldSize = 0; oldSize <= size; oldSize++) {
      const oldRoot = rootOf(leaves.slice(0, oldSize));
      const proof = consistencyProof(leaves, oldSize);
      const claim = { oldSize, oldRoot, newSize: size, newRoot: root, proof };
      expect(verifyConsistency(claim)).toBe(true);
      const other = leafHash(Uint8Array.of(200));
      expect(verifyConsistency({ ...claim, oldRoot: other })).toBe(false);
      if (oldSize > 0) expect(verifyConsistency({ ...claim, newRoot: other })).toBe(false);
      expect(verifyConsistency({ ...claim, proof: [...proof, root] })).toBe(false);
    }
  });
});

test("proofs of short hashes are refused", () => {
  const leaf = leafHash(Uint8Array.of(0));
  const claim = { leaf, index: 0, size: 2, root: leaf };
  expect(verifyInclusion({ ...claim, proof: ["00" as Hash] })).toBe(false);
});

test.each([
  [0, 2],
  [1, 2],
  [2, 2],
  [3, 4],
  [4, 4],
  [5, 8],
  [1023, 1024],
  [1024, 1024],
])("%d contracts are padded to %d", (count, size) => {
  expect(paddedSize(count)).toBe(size);
});
