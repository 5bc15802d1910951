/**
 * The edwards25519 arithmetic of the VRF by noble: portable, and the oracle for libsodium's
 * (edwards25519.ts), whose bytes and verdicts are the same. Secret scalars use multiply(), whose
 * time does not depend on them.
 */
import { mulAddUnsafe, normalizeZ } from "@noble/curves/abstract/curve.js";
import { ed25519 } from "@noble/curves/ed25519.js";
import { assert } from "../errors.ts";
import { CHALLENGE_BYTES, type Commitment, type EdwardsCurve, type Recomputed } from "./ecvrf.ts";
import { bytesOf } from "./sha256.ts";

const { Point } = ed25519;
type EdwardsPoint = InstanceType<typeof Point>;

const POINT_BYTES = 32;
const SCALAR_BYTES = 32;
const ORDER = Point.Fn.ORDER;
/** Keys of leaders, each with a table of 150 KiB: committees have at most 20. */
const KEYS_CACHED_MAX = 256;
/** Of those tables: 45 µs a multiplication instead of 100; building one takes 3 ms. */
const KEY_WINDOW = 5;

export class NobleEdwards implements EdwardsCurve {
  /** -Y of keys that were verified with, with their tables. */
  private readonly negated = new Map<string, EdwardsPoint>();

  isKey(point: Uint8Array): boolean {
    return pointOf(point)?.isSmallOrder() === false;
  }

  clearCofactor(point: Uint8Array): Uint8Array | undefined {
    return pointOf(point)?.clearCofactor().toBytes();
  }

  publicKey(x: Uint8Array): Uint8Array {
    return Point.BASE.multiply(residueOf(x)).toBytes();
  }

  commit(x: Uint8Array, nonce: Uint8Array, h: Uint8Array): Commitment {
    const base = pointOf(h);
    assert(base !== undefined, "a proof over what is no point");
    const k = residueOf(nonce);
    return {
      gamma: base.multiply(residueOf(x)).toBytes(),
      kB: Point.BASE.multiply(k).toBytes(),
      kH: base.multiply(k).toBytes(),
    };
  }

  respond(x: Uint8Array, nonce: Uint8Array, c: Uint8Array): Uint8Array {
    const s = (residueOf(nonce) + integerOf(c) * residueOf(x)) % ORDER;
    return bytesOf(s.toString(16).padStart(2 * SCALAR_BYTES, "0")).reverse();
  }

  recompute(y: Uint8Array, h: Uint8Array, proof: Uint8Array): Recomputed | undefined {
    const negatedY = this.negatedOf(y);
    const base = pointOf(h);
    const gamma = pointOf(proof.subarray(0, POINT_BYTES));
    const s = integerOf(proof.subarray(POINT_BYTES + CHALLENGE_BYTES));
    if (negatedY === undefined || base === undefined || gamma === undefined) return undefined;
    if (s >= ORDER) return undefined;
    const c = integerOf(proof.subarray(POINT_BYTES, POINT_BYTES + CHALLENGE_BYTES));
    // One inversion for both.
    const [u, v] = normalizeZ(Point, [
      Point.BASE.multiplyUnsafe(s).add(negatedY.multiplyUnsafe(c)),
      mulAddUnsafe(Point, [base, gamma.negate()], [s, c]),
    ]);
    return u === undefined || v === undefined ? undefined : { u: u.toBytes(), v: v.toBytes() };
  }

  private negatedOf(y: Uint8Array): EdwardsPoint | undefined {
    const key = y.toHex();
    const known = this.negated.get(key);
    if (known !== undefined) return known;
    const point = pointOf(y)?.negate();
    if (point === undefined) return undefined;
    if (this.negated.size >= KEYS_CACHED_MAX) this.negated.clear();
    this.negated.set(key, point.precompute(KEY_WINDOW));
    return point;
  }
}

/** RFC 8032 §5.1.3: only canonical encodings of points on the curve. */
function pointOf(bytes: Uint8Array): EdwardsPoint | undefined {
  try {
    return Point.fromBytes(bytes, false);
  } catch {
    return undefined;
  }
}

/** Little-endian. */
function integerOf(bytes: Uint8Array): bigint {
  return BigInt(`0x${bytes.toReversed().toHex()}`);
}

function residueOf(bytes: Uint8Array): bigint {
  return integerOf(bytes) % ORDER;
}
