/**
 * RFC 6979 over secp256k1 and SHA-256: the vectors that libsecp256k1, bitcoinjs, Trezor and noble
 * publish (first posted on bitcointalk, topic 285142), with s in the lower half.
 */
import { expect, test } from "bun:test";
import { secp256k1 } from "@noble/curves/secp256k1.js";
import type { PublicKey, Signature, SigningHash } from "./ledger-units.ts";
import { NobleSigner, NobleVerifier } from "./noble-signatures.ts";
import { bytesOf, sha256 } from "./sha256.ts";

const ONE = "1".padStart(64, "0");
const VECTORS = [
  {
    secret: ONE,
    message: "Satoshi Nakamoto",
    r: "934b1ea10a4b3c1757e2b0c017d0b6143ce3c9a7e6a4a49860d7a6ab210ee3d8",
    s: "2442ce9d2b916064108014783e923ec36b49743e2ffa1c4496f01a512aafd9e5",
  },
  {
    secret: ONE,
    message: "All those moments will be lost in time, like tears in rain. Time to die...",
    r: "8600dbd41e348fe5c9465ab92d23e3db8b98b873beecd930736488696438cb6b",
    s: "547fe64427496db33bf66019dacbf0039c04199abb0122918601db38a72cfc21",
  },
  {
    secret: "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364140",
    message: "Satoshi Nakamoto",
    r: "fd567d121db66e382991534ada77a6bd3106f0a1098c231e47993447cd6af2d0",
    s: "6b39cd0eb1bc8603e159ef5c20a5c8ad685a45b06ce9bebed3f153d10d93bed5",
  },
  {
    secret: "f8b8af8ce3c7cca5e300d33939540c10d45ce001b8f252bfbc57ba0342904181",
    message: "Alan Turing",
    r: "7063ae83e7f62bbb171798131b4a0564b956930092b33b07b395615d9ec7e15c",
    s: "58dfcc1e00a35e1572f366ffe34ba0fc47db1e7189759b9fb233c5b05ab388ea",
  },
];

const verifier = new NobleVerifier();
const hashOf = (text: string): SigningHash => sha256(Buffer.from(text)) as SigningHash;

test.each(VECTORS)("signs '$message' as published", ({ secret, message, r, s }) => {
  const signer = new NobleSigner(bytesOf(secret));
  const hash = hashOf(message);
  const signature = signer.sign(hash);
  expect(signature.toHex()).toBe(r + s);
  expect(verifier.verify({ hash, signature, publicKey: signer.publicKey })).toBe(true);
});

test("high s, another hash, another key and malformed values are refused, none throws", () => {
  const signer = new NobleSigner(bytesOf(ONE));
  const hash = hashOf("abs");
  const signature = signer.sign(hash);
  const publicKey = signer.publicKey;
  const { n } = secp256k1.Point.CURVE();
  const high = (n - BigInt(`0x${signature.slice(32).toHex()}`)).toString(16).padStart(64, "0");
  const highS = Buffer.concat([signature.slice(0, 32), bytesOf(high)]) as Uint8Array as Signature;
  const zero = new Uint8Array(64) as Signature;
  const full = new Uint8Array(64).fill(0xff) as Signature;
  const other = new NobleSigner(bytesOf(ONE.replace(/1$/, "2"))).publicKey;
  const wrong = [
    { hash, signature: highS, publicKey },
    { hash, signature: zero, publicKey },
    { hash, signature: full, publicKey },
    { hash, signature: signature.slice(1) as Signature, publicKey },
    { hash: hashOf("sba"), signature, publicKey },
    { hash, signature, publicKey: other },
    { hash, signature, publicKey: `02${"ff".repeat(32)}` as PublicKey },
    { hash, signature, publicKey: "02" as PublicKey },
  ];
  expect(verifier.verifyMany(wrong)).toEqual(wrong.map(() => false));
  expect(verifier.verifyMany([{ hash, signature, publicKey }])).toEqual([true]);
  expect(verifier.isPublicKey(`02${"ff".repeat(32)}` as PublicKey)).toBe(false);
  expect(verifier.isPublicKey(publicKey)).toBe(true);
});
