/**
 * The VRF over libsodium's curve against noble's, which is its oracle: the same proofs byte for
 * byte and the same verdict about anything, above all about encodings and points that libraries are
 * known to disagree on (RFC 8032 §5.1.3, RFC 9381 §5.4.5, §7.1). RFC 9381's vectors are in
 * src/chain/ecvrf.test.ts. And the C of it under sanitizers: test/c/edwards_test.c, built by
 * `make build/edwards-test`.
 */
import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { ed25519 } from "@noble/curves/ed25519.js";
import { EcvrfProver, EcvrfVerifier } from "../../src/chain/ecvrf.ts";
import { openVrf, vrfLibrary } from "../../src/chain/edwards25519.ts";
import type { VrfProof, VrfPublicKey } from "../../src/chain/ledger-units.ts";
import { NobleEdwards } from "../../src/chain/noble-edwards.ts";
import { bytesOf } from "../../src/chain/sha256.ts";
import { Prng, seed } from "../prng.ts";

const ROOT = join(import.meta.dir, "../..");
const TIME_OUT_MS = 120_000;
const CASES = 600;
const POINTS = 4_000;
const KEYS = 24;

const { Point } = ed25519;
const ORDER = Point.Fn.ORDER;
const FIELD = Point.Fp.ORDER;

const library = vrfLibrary();
const noble = openVrf(join(ROOT, "build/absent.so"));
const oracle = new NobleEdwards();

function littleEndian(value: bigint, size = 32): Uint8Array {
  return bytesOf(value.toString(16).padStart(2 * size, "0")).reverse();
}

function bigOf(bytes: Uint8Array): bigint {
  return BigInt(`0x${bytes.toReversed().toHex()}`);
}

function randomBytes(prng: Prng, count: number): Uint8Array {
  return Uint8Array.from({ length: count }, () => prng.below(256));
}

function pick<T>(prng: Prng, values: readonly T[]): T {
  return values[prng.below(values.length)] as T;
}

function signed(bytes: Uint8Array): Uint8Array {
  const copy = Uint8Array.from(bytes);
  copy[31] = (copy[31] ?? 0) | 0x80;
  return copy;
}

/** A point of order 8, by clearing the rest of one on the curve. */
const TORSION = (() => {
  for (let y = 3n; y < 1000n; y++) {
    if (oracle.clearCofactor(littleEndian(y)) === undefined) continue;
    const point = Point.fromBytes(littleEndian(y));
    // noble multiplies by less than the order only.
    const rest = point.multiplyUnsafe(ORDER - 1n).add(point);
    if (!rest.double().double().is0()) return rest;
  }
  throw new Error("a point in eight leaves one");
})();
const SMALL = Array.from({ length: 8 }, (_, i) => TORSION.multiplyUnsafe(BigInt(i)).toBytes());

/** Encodings of every y that does not fit below the prime, and of x = 0 with a sign. */
const NOT_CANONICAL = [
  ...Array.from({ length: 19 }, (_, i) => littleEndian(FIELD + BigInt(i))),
  signed(littleEndian(1n)),
  signed(littleEndian(FIELD - 1n)),
].flatMap((bytes) => [bytes, signed(bytes)]);

function pointBytes(prng: Prng): Uint8Array {
  const kind = prng.below(6);
  if (kind === 0) return pick(prng, SMALL);
  if (kind === 1) return pick(prng, NOT_CANONICAL);
  if (kind === 2) return randomBytes(prng, 32);
  const point = Point.BASE.multiplyUnsafe(bigOf(randomBytes(prng, 32)) % ORDER);
  if (kind === 3) return point.toBytes();
  return point.add(Point.fromBytes(pick(prng, SMALL))).toBytes();
}

function scalarBytes(prng: Prng): Uint8Array {
  const around = [0n, 1n, ORDER - 1n, ORDER, ORDER + 1n, (1n << 253n) - 1n, (1n << 256n) - 1n];
  if (prng.oneIn(4)) return littleEndian(pick(prng, around));
  if (prng.oneIn(4)) return randomBytes(prng, 32);
  return littleEndian(bigOf(randomBytes(prng, 32)) % ORDER);
}

test("libsodium is what loads, not its fallback; noble where it does not, which says why", () => {
  expect(library.refusal).toBeUndefined();
  expect(library.name).toBe("libsodium");
  expect(noble.name).toBe("noble");
  expect(noble.refusal).toMatch(/./);
});

test(`${POINTS} encodings: the same points, keys and multiples of eight (SEED=${seed})`, () => {
  const prng = new Prng(seed);
  const random = Array.from({ length: POINTS }, () => pointBytes(prng));
  let pointCount = 0;
  for (const bytes of [
    ...SMALL,
    ...NOT_CANONICAL,
    ...random,
    randomBytes(prng, 31),
    randomBytes(prng, 33),
  ]) {
    const cleared = oracle.clearCofactor(bytes);
    pointCount += cleared === undefined ? 0 : 1;
    expect(library.curve.clearCofactor(bytes), bytes.toHex()).toEqual(cleared);
    expect(library.curve.isKey(bytes), bytes.toHex()).toBe(oracle.isKey(bytes));
  }
  for (const bytes of SMALL) expect(library.curve.isKey(bytes)).toBe(false);
  for (const bytes of NOT_CANONICAL) expect(library.curve.clearCofactor(bytes)).toBeUndefined();
  expect(pointCount).toBeGreaterThan(POINTS / 2);
});

test(
  `${CASES} random equations over hostile points and scalars (SEED=${seed})`,
  () => {
    const prng = new Prng(seed);
    const keys = Array.from({ length: KEYS }, () => pointBytes(prng));
    let foundCount = 0;
    for (let i = 0; i < CASES; i++) {
      const y = pick(prng, keys);
      const h = pointBytes(prng);
      const proof = Buffer.concat([pointBytes(prng), randomBytes(prng, 16), scalarBytes(prng)]);
      if (prng.oneIn(10)) proof.fill(pick(prng, [0, 0xff]), 32, 48);
      const found = library.curve.recompute(y, h, proof);
      const words = `y ${y.toHex()} h ${h.toHex()} proof ${proof.toString("hex")}`;
      expect(found, words).toEqual(oracle.recompute(y, h, proof));
      foundCount += found === undefined ? 0 : 1;
    }
    expect(foundCount).toBeGreaterThan(CASES / 20);
  },
  TIME_OUT_MS,
);

type Proven = { key: VrfPublicKey; alpha: Uint8Array; proof: VrfProof };
type Spoil = (proven: Proven, prng: Prng) => Partial<Proven>;

function withProof(proof: Uint8Array, at: number, bytes: Uint8Array): { proof: VrfProof } {
  const copy = Uint8Array.from(proof);
  copy.set(bytes, at);
  return { proof: copy as VrfProof };
}

function flipped(bytes: Uint8Array, bit: number): Uint8Array {
  const copy = Uint8Array.from(bytes);
  copy[bit >>> 3] = (copy[bit >>> 3] ?? 0) ^ (1 << (bit & 7));
  return copy;
}

function torsioned(bytes: Uint8Array, prng: Prng): Uint8Array {
  return Point.fromBytes(bytes)
    .add(Point.fromBytes(SMALL[1 + prng.below(7)] ?? bytes))
    .toBytes();
}

function keyOf(bytes: Uint8Array): { key: VrfPublicKey } {
  return { key: bytes.toHex() as VrfPublicKey };
}

const SPOILS: Readonly<Record<string, Spoil>> = {
  "bit of the proof": ({ proof }, prng) => ({
    proof: flipped(proof, prng.below(640)) as VrfProof,
  }),
  "bit of the key": ({ key }, prng) => keyOf(flipped(bytesOf(key), prng.below(256))),
  "bit of the input": ({ alpha }, prng) => ({ alpha: flipped(alpha, prng.below(8)) }),
  "s and the order": ({ proof }) =>
    withProof(proof, 48, littleEndian(bigOf(proof.subarray(48)) + ORDER)),
  "s of the order": ({ proof }) => withProof(proof, 48, littleEndian(ORDER)),
  "s of ff": ({ proof }) => withProof(proof, 48, new Uint8Array(32).fill(0xff)),
  "small Gamma": ({ proof }, prng) => withProof(proof, 0, pick(prng, SMALL)),
  "Gamma and torsion": ({ proof }, prng) =>
    withProof(proof, 0, torsioned(proof.subarray(0, 32), prng)),
  "Gamma not canonical": ({ proof }, prng) => withProof(proof, 0, pick(prng, NOT_CANONICAL)),
  "negated Gamma": ({ proof }) => ({ proof: flipped(proof, 255) as VrfProof }),
  "random proof": (_, prng) => ({ proof: randomBytes(prng, 80) as VrfProof }),
  "small key": (_, prng) => keyOf(pick(prng, SMALL)),
  "key not canonical": (_, prng) => keyOf(pick(prng, NOT_CANONICAL)),
  "key and torsion": ({ key }, prng) => keyOf(torsioned(bytesOf(key), prng)),
  "short proof": ({ proof }) => ({ proof: proof.slice(1) as VrfProof }),
  "long proof": ({ proof }) => ({ proof: Uint8Array.from([...proof, 0]) as VrfProof }),
  "no proof": () => ({ proof: new Uint8Array(0) as VrfProof }),
  "upper-case key": ({ key }) => ({ key: key.toUpperCase().replace(/^./, "A") as VrfPublicKey }),
  "short key": ({ key }) => ({ key: key.slice(2) as VrfPublicKey }),
};
const KINDS = ["valid", ...Object.keys(SPOILS)];

test(
  `${CASES} proofs: the same bytes; of each, and of it spoiled, the same verdict (SEED=${seed})`,
  () => {
    const prng = new Prng(seed);
    const secrets = Array.from({ length: KEYS }, () => randomBytes(prng, 32));
    for (let i = 0; i < CASES; i++) {
      const secret = pick(prng, secrets);
      const [one, other] = [library.proverOf(secret), noble.proverOf(secret)];
      const alpha = randomBytes(prng, 1 + prng.below(200));
      const proof = one.prove(alpha);
      expect(one.publicKey).toBe(other.publicKey);
      expect(proof.toHex()).toBe(other.prove(alpha).toHex());
      const kind = KINDS[i % KINDS.length] ?? "";
      const proven = { key: one.publicKey, alpha, proof };
      const said = { ...proven, ...SPOILS[kind]?.(proven, prng) };
      const beta = library.verifier.verify(said.key, said.alpha, said.proof);
      const words = `${kind}: ${said.key} ${said.alpha.toHex()} ${said.proof.toHex()}`;
      expect(beta !== undefined, words).toBe(kind === "valid");
      expect(noble.verifier.verify(said.key, said.alpha, said.proof), words).toBe(beta);
      expect(library.verifier.outputOf(said.proof), words).toBe(
        noble.verifier.outputOf(said.proof),
      );
    }
  },
  TIME_OUT_MS,
);

/** A curve whose holder added a point of order 8 to its key: Y = x*B + T. */
class TorsionedEdwards extends NobleEdwards {
  override publicKey(x: Uint8Array): Uint8Array {
    return Point.fromBytes(super.publicKey(x)).add(TORSION).toBytes();
  }
}

test("of a key with torsion, one proof in eight holds: the same one for both", () => {
  // c*T vanishes from s*B - c*Y when 8 divides c. RFC 9381 lets both pass: nodes must not differ.
  const prng = new Prng(seed);
  const cheat = new TorsionedEdwards();
  const prover = new EcvrfProver(randomBytes(prng, 32), cheat);
  const verifiers = [library.verifier, new EcvrfVerifier(oracle)];
  let validCount = 0;
  for (let i = 0; i < 64; i++) {
    const alpha = randomBytes(prng, 8);
    const proof = prover.prove(alpha);
    const isValid = ((proof[32] ?? 0) & 7) === 0;
    for (const verifier of verifiers) {
      expect(verifier.verify(prover.publicKey, alpha, proof) !== undefined).toBe(isValid);
    }
    validCount += isValid ? 1 : 0;
  }
  expect(validCount).toBeGreaterThan(0);
});

test("the C of it under address and undefined-behaviour sanitizers", () => {
  const program = join(ROOT, "build/edwards-test");
  expect(existsSync(program), "build it with `make build/edwards-test`").toBe(true);
  const result = Bun.spawnSync([program], { cwd: ROOT });
  expect(result.stderr.toString()).toBe("");
  expect(result.stdout.toString()).toMatch(/^\d{6,} checks passed\n$/);
  expect(result.exitCode).toBe(0);
});
