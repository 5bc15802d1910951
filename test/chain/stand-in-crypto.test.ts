/**
 * The simulator's stand-ins for signatures and VRF: a liar who has its own keys, everything that
 * was ever said, and the verifier itself still cannot say a word in another's name. If it could,
 * the simulator's verdicts would be about lies that no real liar can tell.
 */
import { describe, expect, test } from "bun:test";
import type { NodeKeys, SignatureCheck } from "../../src/chain/crypto-interface.ts";
import type {
  PublicKey,
  Signature,
  SigningHash,
  VrfProof,
  VrfPublicKey,
} from "../../src/chain/ledger-units.ts";
import { bytesOf, sha256 } from "../../src/chain/sha256.ts";
import { StandInRegistry } from "../../src/chain/stand-in-crypto.ts";
import { Prng, seed } from "../prng.ts";

const hashOf = (text: string): SigningHash => sha256(Buffer.from(text)) as SigningHash;

function flipped<T extends Uint8Array>(bytes: T, bit: number): T {
  const copy = new Uint8Array(bytes);
  copy[bit >>> 3] = (copy[bit >>> 3] ?? 0) ^ (1 << (bit & 7));
  return copy as Uint8Array as T;
}

function setUp() {
  const registry = new StandInRegistry(seed);
  const [honest, liar] = [registry.makeKeys(), registry.makeKeys()];
  const { signatures, vrf } = registry.crypto;
  const said = (text: string): SignatureCheck => {
    const hash = hashOf(text);
    return { hash, signature: honest.signer.sign(hash), publicKey: honest.signer.publicKey };
  };
  return { registry, honest, liar, signatures, vrf, said };
}

/** What a liar could try with what it knows: its own handle, and what others said. */
const FORGERIES: readonly (readonly [
  string,
  (words: { hash: SigningHash; heard: SignatureCheck; liar: NodeKeys }) => Uint8Array,
])[] = [
  ["its own signature", ({ hash, liar }) => liar.signer.sign(hash)],
  ["what the honest one signed before", ({ heard }) => heard.signature],
  [
    "its signature of the hash and the key",
    ({ hash, heard, liar }) => {
      return liar.signer.sign(
        sha256(Buffer.concat([hash, bytesOf(heard.publicKey)])) as SigningHash,
      );
    },
  ],
  [
    "a hash keyed by the public key",
    ({ hash, heard }) => {
      const key = bytesOf(heard.publicKey).subarray(1);
      return padded(sha256(Buffer.concat([key, hash])));
    },
  ],
  ["the hash itself", ({ hash }) => padded(hash)],
  [
    "an old signature with the hashes added",
    ({ hash, heard }) => {
      return heard.signature.map((byte, i) => byte ^ (hash[i] ?? 0) ^ (heard.hash[i] ?? 0));
    },
  ],
  ["zeros", () => new Uint8Array(64)],
  ["nothing", () => new Uint8Array(0)],
];

function padded(bytes: Uint8Array): Uint8Array {
  const signature = new Uint8Array(64);
  signature.set(bytes);
  return signature;
}

describe("signatures", () => {
  test("hold for what was signed by whom, and for nothing one bit away", () => {
    const { signatures, said, liar } = setUp();
    const check = said("a vote");
    expect(signatures.verify(check)).toBe(true);
    for (let bit = 0; bit < 64 * 8; bit++) {
      expect(signatures.verify({ ...check, signature: flipped(check.signature, bit) })).toBe(false);
    }
    for (let bit = 0; bit < 32 * 8; bit++) {
      expect(signatures.verify({ ...check, hash: flipped(check.hash, bit) })).toBe(false);
    }
    expect(signatures.verify({ ...check, publicKey: liar.signer.publicKey })).toBe(false);
    const longer = Buffer.concat([check.signature, Uint8Array.of(0)]) as Uint8Array as Signature;
    expect(signatures.verify({ ...check, signature: longer })).toBe(false);
    const shorter = check.signature.slice(0, 32) as Signature;
    expect(signatures.verify({ ...check, signature: shorter })).toBe(false);
  });

  test.each(FORGERIES)("another's name is not signed with %s", (_, forge) => {
    const { signatures, said, liar } = setUp();
    const heard = said("a vote");
    const hash = hashOf("a lie");
    const signature = forge({ hash, heard, liar }) as Signature;
    expect(signatures.verify({ hash, signature, publicKey: heard.publicKey })).toBe(false);
  });

  test("many at once are judged one by one", () => {
    const { signatures, said } = setUp();
    const checks = [said("one"), said("two"), { ...said("one"), hash: hashOf("two") }];
    expect(signatures.verifyMany(checks)).toEqual([true, true, false]);
    expect(signatures.verifyMany([])).toEqual([]);
  });

  test("a key that the registry did not make is none, and verifies nothing", () => {
    const { signatures, said } = setUp();
    const stranger = new StandInRegistry(seed + 1).makeKeys().signer;
    expect(signatures.isPublicKey(stranger.publicKey)).toBe(false);
    const hash = hashOf("a vote");
    const words = { hash, signature: stranger.sign(hash), publicKey: stranger.publicKey };
    expect(signatures.verify(words)).toBe(false);
    const odd = [
      "",
      "02",
      `02${"00".repeat(32)}`,
      said("x").publicKey.toUpperCase(),
    ] as PublicKey[];
    for (const publicKey of odd) expect(signatures.isPublicKey(publicKey)).toBe(false);
  });
});

describe("the VRF", () => {
  const alpha = Buffer.from("height 7");

  test("gives one output a key and input, which nobody can choose", () => {
    const { honest, vrf } = setUp();
    const proof = honest.vrf.prove(alpha);
    const beta = vrf.verify(honest.vrf.publicKey, alpha, proof);
    expect(beta).toMatch(/^[0-9a-f]{128}$/);
    expect(honest.vrf.prove(alpha)).toEqual(proof);
    const other = Buffer.from("height 8");
    expect(vrf.verify(honest.vrf.publicKey, other, proof)).toBeUndefined();
    for (let bit = 0; bit < 80 * 8; bit++) {
      expect(vrf.verify(honest.vrf.publicKey, alpha, flipped(proof, bit))).toBeUndefined();
    }
  });

  test("a proof of one key is none of another, nor one of a key that is none", () => {
    const { honest, liar, vrf } = setUp();
    expect(vrf.verify(honest.vrf.publicKey, alpha, liar.vrf.prove(alpha))).toBeUndefined();
    const none = "00".repeat(32) as VrfPublicKey;
    expect(vrf.isPublicKey(none)).toBe(false);
    expect(vrf.verify(none, alpha, new Uint8Array(80) as VrfProof)).toBeUndefined();
  });

  test("a signature is no proof and a proof no signature, though both are keyed hashes", () => {
    const { honest, signatures, vrf } = setUp();
    const hash = hashOf("a vote");
    const proof = new Uint8Array(80) as VrfProof;
    proof.set(honest.signer.sign(hash).subarray(0, 32));
    expect(vrf.verify(honest.vrf.publicKey, hash, proof)).toBeUndefined();
    const signature = padded(honest.vrf.prove(hash).subarray(0, 32)) as Signature;
    const { publicKey } = honest.signer;
    expect(signatures.verify({ hash, signature, publicKey })).toBe(false);
  });
});

test("a handle of keys gives no way to their secret, nor to anybody else's", () => {
  const { honest } = setUp();
  const shown = JSON.stringify(honest, (_, value) => {
    return value instanceof Uint8Array ? Buffer.from(value).toString("hex") : value;
  });
  expect(JSON.parse(shown)).toEqual({
    signer: { publicKey: honest.signer.publicKey },
    vrf: { publicKey: honest.vrf.publicKey },
  });
  expect(Object.keys(honest.signer).sort()).toEqual(["publicKey", "sign"]);
  expect(Object.keys(honest.vrf).sort()).toEqual(["prove", "publicKey"]);
});

test(`random signatures are nobody's (SEED=${seed})`, () => {
  const { signatures, said } = setUp();
  const prng = new Prng(seed);
  const check = said("a vote");
  for (let i = 0; i < 2000; i++) {
    const signature = Uint8Array.from({ length: 64 }, () => prng.below(256)) as Signature;
    expect(signatures.verify({ ...check, signature })).toBe(false);
  }
});

test("seeds have keys of their own, and the same seed the same", () => {
  const keysOf = (number: number) => new StandInRegistry(number).makeKeys().signer.publicKey;
  expect(keysOf(1)).toBe(keysOf(1));
  expect(keysOf(1)).not.toBe(keysOf(2));
});
