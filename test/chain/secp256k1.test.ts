/**
 * libsecp256k1 against noble, which is its oracle, and against published vectors: the same
 * signatures byte for byte, the same verdict about anything. And the C of it under sanitizers:
 * test/c/secp_test.c, built by `make build/secp-test`.
 */
import { describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { SignatureCheck } from "../../src/chain/crypto-interface.ts";
import type { PublicKey, Signature, SigningHash } from "../../src/chain/ledger-units.ts";
import { NobleSigner, NobleVerifier } from "../../src/chain/noble-signatures.ts";
import {
  openSignatures,
  type SignatureLibrary,
  signatureLibrary,
} from "../../src/chain/secp256k1.ts";
import { bytesOf } from "../../src/chain/sha256.ts";
import { Prng, seed } from "../prng.ts";
import published from "../vectors/secp256k1.json";

const ROOT = join(import.meta.dir, "../..");
const CASES = 10_000;
const TIME_OUT_MS = 120_000;
/** Verdicts asked for in one call: more than one call of the library takes. */
const MANY = 150;

/** Of the curve: order and field (SEC 2 §2.4.1). */
const ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
const FIELD = 0xfffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2fn;

const library = signatureLibrary();
const noble = new NobleVerifier();

function hex32(value: bigint): string {
  return value.toString(16).padStart(64, "0");
}

function scalar(value: bigint): Uint8Array {
  return bytesOf(hex32(value));
}

function bigOf(bytes: Uint8Array): bigint {
  return BigInt(`0x${bytes.toHex()}`);
}

function joined(r: Uint8Array, s: Uint8Array): Signature {
  return new Uint8Array([...r, ...s]) as Signature;
}

function flipped<T extends Uint8Array>(bytes: T, bit: number): T {
  const copy = new Uint8Array(bytes);
  copy[bit >>> 3] ^= 1 << (bit & 7);
  return copy as Uint8Array as T;
}

function randomBytes(prng: Prng, count: number): Uint8Array {
  return Uint8Array.from({ length: count }, () => prng.below(256));
}

/** What a check is made of, valid, and a way to spoil it. */
type Valid = SignatureCheck & { readonly r: Uint8Array; readonly s: Uint8Array };
type Spoil = (valid: Valid, prng: Prng) => Partial<SignatureCheck>;

function keyText(text: string): { publicKey: PublicKey } {
  return { publicKey: text as PublicKey };
}

const SPOILS: Readonly<Record<string, Spoil>> = {
  "high s": ({ r, s }) => ({ signature: joined(r, scalar(ORDER - bigOf(s))) }),
  "r of 0": ({ s }) => ({ signature: joined(scalar(0n), s) }),
  "s of 0": ({ r }) => ({ signature: joined(r, scalar(0n)) }),
  "r the order": ({ s }) => ({ signature: joined(scalar(ORDER), s) }),
  "s the order": ({ r }) => ({ signature: joined(r, scalar(ORDER)) }),
  "s above the order": ({ r, s }) => ({
    signature: joined(r, scalar((bigOf(s) % 1000n) + ORDER)),
  }),
  "r and s exchanged": ({ r, s }) => ({ signature: joined(s, r) }),
  "random signature": (_, prng) => ({ signature: randomBytes(prng, 64) as Signature }),
  "signature of ff": () => ({ signature: new Uint8Array(64).fill(0xff) as Signature }),
  "bit of the signature": ({ signature }, prng) => ({
    signature: flipped(signature, prng.below(512)),
  }),
  "bit of the hash": ({ hash }, prng) => ({ hash: flipped(hash, prng.below(256)) }),
  "bit of the key": ({ publicKey }, prng) =>
    keyText(flipped(bytesOf(publicKey), prng.below(264)).toHex()),
  "the negated key": ({ publicKey }) => keyText(flipped(bytesOf(publicKey), 0).toHex()),
  "a random key": (_, prng) => keyText(`02${randomBytes(prng, 32).toHex()}`),
  "a key past the field": (_, prng) => keyText(`03${hex32(FIELD + BigInt(prng.below(900)))}`),
  "the key 0": () => keyText(`02${hex32(0n)}`),
  "an uncompressed prefix": ({ publicKey }) => keyText(`04${publicKey.slice(2)}`),
  "a hybrid prefix": ({ publicKey }) => keyText(`06${publicKey.slice(2)}`),
  "an uncompressed key": ({ publicKey }) => keyText(`04${publicKey.slice(2).repeat(2)}`),
  "a key without prefix": ({ publicKey }) => keyText(publicKey.slice(2)),
  "an upper-case key": ({ publicKey }) => keyText(`02AB${publicKey.slice(4)}`),
  "a key with a line end": ({ publicKey }) => keyText(`${publicKey}\n`),
  "a short signature": ({ signature }) => ({ signature: signature.slice(1) as Signature }),
  "a long signature": ({ r, signature }) => ({ signature: joined(signature, r) }),
  "a short hash": ({ hash }) => ({ hash: hash.slice(1) as SigningHash }),
};
const KINDS = ["valid", ...Object.keys(SPOILS)];

/** Values at the ends of their ranges among the random ones. */
function secretKeyOf(prng: Prng): Uint8Array {
  if (prng.oneIn(50)) return scalar(BigInt(1 + prng.below(3)));
  if (prng.oneIn(50)) return scalar(ORDER - BigInt(1 + prng.below(3)));
  return scalar((bigOf(randomBytes(prng, 32)) % (ORDER - 1n)) + 1n);
}

function hashOf(prng: Prng): SigningHash {
  if (prng.oneIn(50)) return scalar(BigInt(prng.below(3))) as SigningHash;
  if (prng.oneIn(20)) return scalar(ORDER - 2n + BigInt(prng.below(5))) as SigningHash;
  if (prng.oneIn(50)) return new Uint8Array(32).fill(0xff) as SigningHash;
  return randomBytes(prng, 32) as SigningHash;
}

/** One random signature by both libraries, the same bytes. */
function signedByBoth(prng: Prng): Valid {
  const secretKey = secretKeyOf(prng);
  const hash = hashOf(prng);
  const ours = library.signerOf(secretKey);
  const oracle = new NobleSigner(secretKey);
  const signature = ours.sign(hash);
  const words = `secret key ${secretKey.toHex()}, hash ${hash.toHex()}`;
  expect(ours.publicKey, words).toBe(oracle.publicKey);
  expect(signature.toHex(), words).toBe(oracle.sign(hash).toHex());
  const publicKey = ours.publicKey;
  return { hash, signature, publicKey, r: signature.slice(0, 32), s: signature.slice(32) };
}

/**
 * What must be found. A hash that is 0 modulo the order leaves only the key's x in the equation:
 * then the negated key is right as well.
 */
function isStillValid(valid: Valid, check: SignatureCheck, kind: string): boolean {
  const isSigned = check.hash === valid.hash && check.signature === valid.signature;
  const negated = flipped(bytesOf(valid.publicKey), 0).toHex();
  const isNegated = check.publicKey === negated && bigOf(valid.hash) % ORDER === 0n;
  return kind === "valid" || (isSigned && isNegated);
}

function wordsOf({ hash, signature, publicKey }: SignatureCheck, kind: string): string {
  return `${kind}: hash ${hash.toHex()}, signature ${signature.toHex()}, key ${publicKey}`;
}

test("libsecp256k1 is what loads, not its fallback", () => {
  expect(library.refusal).toBeUndefined();
  expect(library.name).toBe("libsecp256k1");
});

test(
  `${CASES} random cases: the same bytes and verdicts as noble (SEED=${seed})`,
  () => {
    const prng = new Prng(seed);
    let checks: SignatureCheck[] = [];
    let expected: boolean[] = [];
    let validCount = 0;
    for (let i = 0; i < CASES; i++) {
      const kind = KINDS[i % KINDS.length] ?? "";
      const valid = signedByBoth(prng);
      const check = { ...valid, ...SPOILS[kind]?.(valid, prng) };
      const verdict = library.verifier.verify(check);
      expect(verdict, wordsOf(check, kind)).toBe(isStillValid(valid, check, kind));
      expect(noble.verify(check), wordsOf(check, kind)).toBe(verdict);
      expect(library.verifier.isPublicKey(check.publicKey), wordsOf(check, kind)).toBe(
        noble.isPublicKey(check.publicKey),
      );
      validCount += verdict ? 1 : 0;
      checks.push(check);
      expected.push(verdict);
      if (checks.length < MANY && i < CASES - 1) continue;
      expect(library.verifier.verifyMany(checks)).toEqual(expected);
      checks = [];
      expected = [];
    }
    expect(validCount).toBeGreaterThanOrEqual(Math.ceil(CASES / KINDS.length));
  },
  TIME_OUT_MS,
);

test("many at once: none, and each number around the bound of one call", () => {
  const prng = new Prng(seed);
  const valid = signedByBoth(prng);
  const wrong = { ...valid, hash: flipped(valid.hash, 7) };
  const malformed = { ...valid, ...keyText("02") };
  expect(library.verifier.verifyMany([])).toEqual([]);
  for (const count of [1, 2, 63, 64, 65, 127, 128, 129, 130]) {
    const pattern = Array.from({ length: count }, () => prng.below(3));
    const checks = pattern.map((kind) => [valid, wrong, malformed][kind] ?? valid);
    const verdicts = pattern.map((kind) => kind === 0);
    expect(library.verifier.verifyMany(checks)).toEqual(verdicts);
    expect(library.verifier.verifyMany(checks.map(() => malformed))).toEqual(
      checks.map(() => false),
    );
  }
});

/** Where nothing can be loaded: no file, and a file that is no library. */
function fallbacks(): SignatureLibrary[] {
  const folder = mkdtempSync(join(tmpdir(), "abst-secp-"));
  const path = join(folder, "libabs_secp.so");
  writeFileSync(path, "not a shared object");
  const made = [openSignatures(path), openSignatures(join(folder, "absent.so"))];
  rmSync(folder, { recursive: true });
  return made;
}

test("noble takes its place where it does not load, and says why", () => {
  for (const fallback of fallbacks()) {
    expect(fallback.name).toBe("noble");
    expect(fallback.refusal).toMatch(/./);
    const hash = new Uint8Array(32).fill(3) as SigningHash;
    const signer = fallback.signerOf(scalar(9n));
    const signature = signer.sign(hash);
    expect(signature.toHex()).toBe(library.signerOf(scalar(9n)).sign(hash).toHex());
    const check = { hash, signature, publicKey: signer.publicKey };
    expect(fallback.verifier.verify(check)).toBe(true);
  }
});

const [fallback] = fallbacks();
const LIBRARIES = [library, ...(fallback === undefined ? [] : [fallback])];

describe.each(LIBRARIES)("$name", ({ signerOf, verifier }) => {
  test.each(published.vectors)("signs $hash as published", (vector) => {
    const hash = bytesOf(vector.hash) as SigningHash;
    const signer = signerOf(bytesOf(vector.secretKey));
    const signature = signer.sign(hash);
    expect(signature.toHex()).toBe(vector.signature);
    expect(verifier.verify({ hash, signature, publicKey: signer.publicKey })).toBe(true);
  });

  test.each([
    { name: "0", secretKey: scalar(0n) },
    { name: "the order", secretKey: scalar(ORDER) },
    { name: "past the order", secretKey: scalar(ORDER + 1n) },
    { name: "ff", secretKey: new Uint8Array(32).fill(0xff) },
    { name: "31 bytes", secretKey: new Uint8Array(31).fill(1) },
    { name: "33 bytes", secretKey: new Uint8Array(33).fill(1) },
    { name: "no byte", secretKey: new Uint8Array(0) },
  ])("refuses a secret key: $name", ({ secretKey }) => {
    expect(() => signerOf(secretKey)).toThrow("A secret key of the ledger is not 32 bytes");
  });

  test("a signer keeps its key when the caller wipes the bytes it came from", () => {
    const secretKey = scalar(77n);
    const hash = new Uint8Array(32).fill(5) as SigningHash;
    const signer = signerOf(secretKey);
    const before = signer.sign(hash).toHex();
    secretKey.fill(0);
    expect(signer.sign(hash).toHex()).toBe(before);
  });
});

test("the C of it under address and undefined-behaviour sanitizers", () => {
  const program = join(ROOT, "build/secp-test");
  expect(existsSync(program), "build it with `make build/secp-test`").toBe(true);
  const result = Bun.spawnSync([program], { cwd: ROOT });
  expect(result.stderr.toString()).toBe("");
  expect(result.stdout.toString()).toMatch(/^\d{4,} checks passed\n$/);
  expect(result.exitCode).toBe(0);
});
