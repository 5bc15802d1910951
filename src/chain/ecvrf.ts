/**
 * ECVRF-EDWARDS25519-SHA512-TAI, RFC 9381 §5 and §5.5 (suite 0x03), on noble's edwards25519. Names
 * of steps are the RFC's. docs/ledger.md "VRF". Secret scalars use multiply(), whose time does not
 * depend on them; hashing to the curve tries and increments over public input only.
 */
import { mulAddUnsafe, normalizeZ } from "@noble/curves/abstract/curve.js";
import { ed25519 } from "@noble/curves/ed25519.js";
import type { VrfProver, VrfVerifier } from "./crypto-interface.ts";
import type { VrfBeta, VrfProof, VrfPublicKey } from "./ledger-units.ts";
import { VRF_PROOF_BYTES } from "./ledger-units.ts";
import { bytesOf } from "./sha256.ts";

const { Point } = ed25519;
type EdwardsPoint = InstanceType<typeof Point>;

const SUITE = 0x03;
const ENCODE_TO_CURVE = 0x01;
const CHALLENGE = 0x02;
const PROOF_TO_HASH = 0x03;
const BACK = 0x00;
/** qLen and cLen of the suite. */
const SCALAR_BYTES = 32;
const CHALLENGE_BYTES = 16;
const ORDER = Point.Fn.ORDER;
/** Keys of leaders, each with a table of 150 KiB: committees have at most 20. */
const KEYS_CACHED_MAX = 256;
/** Of those tables: 45 µs a multiplication instead of 100; building one takes 3 ms. */
const KEY_WINDOW = 5;

export class EcvrfProver implements VrfProver {
  readonly publicKey: VrfPublicKey;
  private readonly scalar: bigint;
  private readonly noncePrefix: Uint8Array;
  private readonly publicBytes: Uint8Array;

  /** @param secretKey 32 bytes, an Ed25519 secret key (RFC 8032 §5.1.5) */
  constructor(secretKey: Uint8Array) {
    const { scalar, prefix, pointBytes } = ed25519.utils.getExtendedPublicKey(secretKey);
    this.scalar = scalar;
    this.noncePrefix = prefix;
    this.publicBytes = pointBytes;
    this.publicKey = pointBytes.toHex() as VrfPublicKey;
  }

  /** RFC 9381 §5.1. */
  prove(alpha: Uint8Array): VrfProof {
    const h = encodeToCurve(this.publicBytes, alpha);
    const hBytes = h.toBytes();
    const gamma = h.multiply(this.scalar).toBytes();
    // §5.4.2.2: the nonce of RFC 8032 over the point in place of the message.
    const k = integerOf(sha512(this.noncePrefix, hBytes)) % ORDER;
    const kB = Point.BASE.multiply(k).toBytes();
    const kH = h.multiply(k).toBytes();
    const c = challengeOf(this.publicBytes, hBytes, gamma, kB, kH);
    const s = (k + integerOf(c) * this.scalar) % ORDER;
    const proof = new Uint8Array(VRF_PROOF_BYTES);
    proof.set(gamma, 0);
    proof.set(c, 32);
    proof.set(scalarBytes(s), 32 + CHALLENGE_BYTES);
    return proof as VrfProof;
  }
}

export class EcvrfVerifier implements VrfVerifier {
  /** -Y of keys that were verified with, with their tables. */
  private readonly negated = new Map<VrfPublicKey, EdwardsPoint>();

  isPublicKey(publicKey: VrfPublicKey): boolean {
    return keyPointOf(publicKey) !== undefined;
  }

  /** RFC 9381 §5.3, with the key validated (§5.4.5). */
  verify(publicKey: VrfPublicKey, alpha: Uint8Array, proof: VrfProof): VrfBeta | undefined {
    const negatedY = this.negatedOf(publicKey);
    if (negatedY === undefined || proof.length !== VRF_PROOF_BYTES) return undefined;
    const gammaBytes = proof.subarray(0, 32);
    const gamma = pointOf(gammaBytes);
    const cBytes = proof.subarray(32, 32 + CHALLENGE_BYTES);
    const s = integerOf(proof.subarray(32 + CHALLENGE_BYTES));
    if (gamma === undefined || s >= ORDER) return undefined;
    const keyBytes = bytesOf(publicKey);
    const h = encodeToCurve(keyBytes, alpha);
    const c = integerOf(cBytes);
    const u = Point.BASE.multiplyUnsafe(s).add(negatedY.multiplyUnsafe(c));
    const v = mulAddUnsafe(Point, [h, gamma.negate()], [s, c]);
    // One inversion for the three.
    const [hBytes, uBytes, vBytes] = normalizeZ(Point, [h, u, v]).map((point) => point.toBytes());
    if (hBytes === undefined || uBytes === undefined || vBytes === undefined) return undefined;
    const wanted = challengeOf(keyBytes, hBytes, gammaBytes, uBytes, vBytes);
    return Buffer.compare(wanted, cBytes) === 0 ? betaOf(gamma) : undefined;
  }

  outputOf(proof: VrfProof): VrfBeta | undefined {
    const gamma = pointOf(proof.subarray(0, 32));
    return gamma === undefined ? undefined : betaOf(gamma);
  }

  private negatedOf(publicKey: VrfPublicKey): EdwardsPoint | undefined {
    const known = this.negated.get(publicKey);
    if (known !== undefined) return known;
    const point = keyPointOf(publicKey)?.negate();
    if (point === undefined) return undefined;
    if (this.negated.size >= KEYS_CACHED_MAX) this.negated.clear();
    this.negated.set(publicKey, point.precompute(KEY_WINDOW));
    return point;
  }
}

/** RFC 9381 §5.4.5. */
function keyPointOf(publicKey: VrfPublicKey): EdwardsPoint | undefined {
  if (!/^[0-9a-f]{64}$/.test(publicKey)) return undefined;
  const point = pointOf(bytesOf(publicKey));
  return point === undefined || point.isSmallOrder() ? undefined : point;
}

/** RFC 9381 §5.2, of a proof's gamma. */
function betaOf(gamma: EdwardsPoint): VrfBeta {
  const cleared = gamma.clearCofactor().toBytes();
  return sha512([SUITE, PROOF_TO_HASH], cleared, [BACK]).toHex() as VrfBeta;
}

/** RFC 9381 §5.4.1.1. Half of all hashes are points, so it ends after two tries on average. */
function encodeToCurve(salt: Uint8Array, alpha: Uint8Array): EdwardsPoint {
  for (let counter = 0; counter < 256; counter++) {
    const hash = sha512([SUITE, ENCODE_TO_CURVE], salt, alpha, [counter, BACK]);
    const point = pointOf(hash.subarray(0, 32))?.clearCofactor();
    if (point !== undefined && !point.is0()) return point;
  }
  throw new Error("no point in 256 tries: odds of 2^-256");
}

/** RFC 9381 §5.4.3. */
function challengeOf(...points: readonly Uint8Array[]): Uint8Array {
  return sha512([SUITE, CHALLENGE], ...points, [BACK]).slice(0, CHALLENGE_BYTES);
}

/** RFC 8032 §5.1.3: only canonical encodings of points on the curve. */
function pointOf(bytes: Uint8Array): EdwardsPoint | undefined {
  try {
    return Point.fromBytes(bytes, false);
  } catch {
    return undefined;
  }
}

function sha512(...parts: readonly (Uint8Array | readonly number[])[]): Uint8Array {
  const hasher = new Bun.CryptoHasher("sha512");
  for (const part of parts) hasher.update(Uint8Array.from(part));
  return new Uint8Array(hasher.digest());
}

/** Little-endian. */
function integerOf(bytes: Uint8Array): bigint {
  return BigInt(`0x${bytes.toReversed().toHex()}`);
}

function scalarBytes(scalar: bigint): Uint8Array {
  return bytesOf(scalar.toString(16).padStart(2 * SCALAR_BYTES, "0")).reverse();
}
