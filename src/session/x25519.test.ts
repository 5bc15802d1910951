/** X25519: RFC 7748 §5.2 and §6.1, low-order points, and noble as the oracle. */
import { describe, expect, test } from "bun:test";
import { x25519 } from "@noble/curves/ed25519.js";
import { fromHex, toHex } from "../bytes.ts";
import { isLowOrder, KeyPair } from "./x25519.ts";

function bytes(hex: string): Uint8Array {
  return fromHex(hex) ?? new Uint8Array(0);
}

const vectors = [
  {
    name: "RFC 7748 §5.2, first",
    scalar: "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
    point: "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
    shared: "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
  },
  {
    name: "RFC 7748 §5.2, second",
    scalar: "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
    point: "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
    shared: "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
  },
  {
    name: "RFC 7748 §6.1, Bob's secret key with Alice's public key",
    scalar: "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
    point: "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
    shared: "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742",
  },
];

test.each(vectors)("$name", ({ scalar, point, shared }) => {
  expect(toHex(new KeyPair(bytes(scalar)).agree(bytes(point)) ?? bytes(""))).toBe(shared);
});

test("RFC 7748 §6.1: Bob's public key", () => {
  const bob = new KeyPair(bytes(vectors[2]?.scalar ?? ""));
  expect(toHex(bob.publicKey)).toBe(
    "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
  );
});

test("RFC 7748 §5.2: a thousand iterations", () => {
  let scalar: Uint8Array = new Uint8Array(32);
  scalar[0] = 9;
  let point = scalar;
  for (let i = 0; i < 1000; i++) {
    const next = new KeyPair(scalar).agree(point) ?? bytes("");
    point = scalar;
    scalar = next;
  }
  expect(toHex(scalar)).toBe("684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51");
});

describe("points of low order are refused", () => {
  // The points of order 1, 2, 4 and 8 and their twins above the prime (cr.yp.to/ecdh.html).
  const points = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "0100000000000000000000000000000000000000000000000000000000000080",
  ];
  const pair = new KeyPair(new Uint8Array(32).fill(7));
  test.each(points)("%s", (point) => {
    expect(pair.agree(bytes(point))).toBeUndefined();
    expect(isLowOrder(bytes(point))).toBe(true);
  });
  test("others are not", () => {
    for (let i = 1; i < 50; i++) {
      const { publicKey } = new KeyPair(new Uint8Array(32).fill(i));
      expect(isLowOrder(publicKey)).toBe(false);
    }
  });
});

test.each([0, 31, 33])("a public key of %i bytes is refused", (length) => {
  expect(new KeyPair(new Uint8Array(32).fill(7)).agree(new Uint8Array(length))).toBeUndefined();
});

test("noble gives the same public keys and secrets", () => {
  for (let i = 1; i < 50; i++) {
    const secret = new Uint8Array(32).fill(i);
    const peer = new Uint8Array(32).fill(255 - i);
    const pair = new KeyPair(secret);
    expect(pair.publicKey).toEqual(new Uint8Array(x25519.getPublicKey(secret)));
    const peerPublic = x25519.getPublicKey(peer);
    expect(pair.agree(peerPublic)).toEqual(
      new Uint8Array(x25519.getSharedSecret(secret, peerPublic)),
    );
  }
});
