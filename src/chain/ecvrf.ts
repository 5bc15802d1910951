/**
 * ECVRF-EDWARDS25519-SHA512-TAI, RFC 9381 §5 and §5.5 (suite 0x03). Names of steps are the RFC's.
 * docs/ledger.md "VRF". The curve's arithmetic is given: libsodium's (edwards25519.ts) or noble's
 * (noble-edwards.ts). Hashing to the curve tries and increments over public input only.
 */
import { assert } from "../errors.ts";
import type { VrfProver, VrfVerifier } from "./crypto-interface.ts";
import type { VrfBeta, VrfProof, VrfPublicKey } from "./ledger-units.ts";
import { VRF_PROOF_BYTES } from "./ledger-units.ts";
import { bytesOf } from "./sha256.ts";

const SUITE = 0x03;
const ENCODE_TO_CURVE = 0x01;
const CHALLENGE = 0x02;
const PROOF_TO_HASH = 0x03;
const BACK = 0x00;
const POINT_BYTES = 32;
const SECRET_BYTES = 32;
const HASH_BYTES = 64;
/** cLen of the suite. */
export const CHALLENGE_BYTES = 16;
/** Keys known to be valid; committees have at most 20. */
const KEYS_CACHED_MAX = 256;
/** The encoding of the neutral point: y = 1, x = 0. */
const NEUTRAL = Uint8Array.from({ length: POINT_BYTES }, (_, i) => (i === 0 ? 1 : 0));

/** x*H, k*B and k*H. */
export type Commitment = {
  readonly gamma: Uint8Array;
  readonly kB: Uint8Array;
  readonly kH: Uint8Array;
};

/** s*B - c*Y and s*H - c*Gamma. */
export type Recomputed = { readonly u: Uint8Array; readonly v: Uint8Array };

/**
 * Points are their 32 bytes, of which only canonical encodings of points on the curve count (RFC
 * 8032 §5.1.3); scalars are little-endian. Nothing throws on bad input.
 */
export interface EdwardsCurve {
  /** RFC 9381 §5.4.5: a point, and not of small order. */
  isKey(point: Uint8Array): boolean;
  /** Eight times a point, which may be the neutral one; undefined of what is none. */
  clearCofactor(point: Uint8Array): Uint8Array | undefined;
  /** x*B. @param x 32 bytes, below 2^255 */
  publicKey(x: Uint8Array): Uint8Array;
  /** @param nonce 64 bytes, secret; k is their residue. @param h a point */
  commit(x: Uint8Array, nonce: Uint8Array, h: Uint8Array): Commitment;
  /** k + c*x modulo the order. */
  respond(x: Uint8Array, nonce: Uint8Array, c: Uint8Array): Uint8Array;
  /** Undefined when Gamma is no point or s is not below the order. @param proof 80 bytes */
  recompute(y: Uint8Array, h: Uint8Array, proof: Uint8Array): Recomputed | undefined;
}

export class EcvrfProver implements VrfProver {
  readonly publicKey: VrfPublicKey;
  readonly #x: Uint8Array;
  readonly #noncePrefix: Uint8Array;
  readonly #y: Uint8Array;

  /** @param secretKey 32 bytes, an Ed25519 secret key (RFC 8032 §5.1.5) */
  constructor(
    secretKey: Uint8Array,
    private readonly curve: EdwardsCurve,
  ) {
    assert(secretKey.length === SECRET_BYTES, "a secret key of the VRF has 32 bytes");
    const expanded = sha512(secretKey);
    this.#x = clamped(expanded.subarray(0, SECRET_BYTES));
    this.#noncePrefix = expanded.subarray(SECRET_BYTES);
    this.#y = curve.publicKey(this.#x);
    this.publicKey = this.#y.toHex() as VrfPublicKey;
  }

  /** RFC 9381 §5.1. */
  prove(alpha: Uint8Array): VrfProof {
    const h = encodeToCurve(this.curve, this.#y, alpha);
    // §5.4.2.2: the nonce of RFC 8032 over the point in place of the message.
    const nonce = sha512(this.#noncePrefix, h);
    const { gamma, kB, kH } = this.curve.commit(this.#x, nonce, h);
    const c = challengeOf(this.#y, h, gamma, kB, kH);
    const proof = new Uint8Array(VRF_PROOF_BYTES);
    proof.set(gamma, 0);
    proof.set(c, POINT_BYTES);
    proof.set(this.curve.respond(this.#x, nonce, c), POINT_BYTES + CHALLENGE_BYTES);
    return proof as VrfProof;
  }
}

export class EcvrfVerifier implements VrfVerifier {
  /** Keys that were found to be valid. */
  private readonly keys = new Map<VrfPublicKey, Uint8Array>();

  constructor(private readonly curve: EdwardsCurve) {}

  isPublicKey(publicKey: VrfPublicKey): boolean {
    return this.keyOf(publicKey) !== undefined;
  }

  /** RFC 9381 §5.3, with the key validated (§5.4.5). */
  verify(publicKey: VrfPublicKey, alpha: Uint8Array, proof: VrfProof): VrfBeta | undefined {
    const y = this.keyOf(publicKey);
    if (y === undefined || proof.length !== VRF_PROOF_BYTES) return undefined;
    const h = encodeToCurve(this.curve, y, alpha);
    const found = this.curve.recompute(y, h, proof);
    if (found === undefined) return undefined;
    const gamma = proof.subarray(0, POINT_BYTES);
    const wanted = challengeOf(y, h, gamma, found.u, found.v);
    const c = proof.subarray(POINT_BYTES, POINT_BYTES + CHALLENGE_BYTES);
    return Buffer.compare(wanted, c) === 0 ? this.outputOf(proof) : undefined;
  }

  /** RFC 9381 §5.2. */
  outputOf(proof: VrfProof): VrfBeta | undefined {
    const cleared = this.curve.clearCofactor(proof.subarray(0, POINT_BYTES));
    if (cleared === undefined) return undefined;
    return sha512([SUITE, PROOF_TO_HASH], cleared, [BACK]).toHex() as VrfBeta;
  }

  private keyOf(publicKey: VrfPublicKey): Uint8Array | undefined {
    const known = this.keys.get(publicKey);
    if (known !== undefined) return known;
    if (!/^[0-9a-f]{64}$/.test(publicKey)) return undefined;
    const y = bytesOf(publicKey);
    if (!this.curve.isKey(y)) return undefined;
    if (this.keys.size >= KEYS_CACHED_MAX) this.keys.clear();
    this.keys.set(publicKey, y);
    return y;
  }
}

/** RFC 9381 §5.4.1.1. Half of all hashes are points, so it ends after two tries on average. */
function encodeToCurve(curve: EdwardsCurve, salt: Uint8Array, alpha: Uint8Array): Uint8Array {
  for (let counter = 0; counter < 256; counter++) {
    const hash = sha512([SUITE, ENCODE_TO_CURVE], salt, alpha, [counter, BACK]);
    const point = curve.clearCofactor(hash.subarray(0, POINT_BYTES));
    if (point !== undefined && Buffer.compare(point, NEUTRAL) !== 0) return point;
  }
  throw new Error("no point in 256 tries: odds of 2^-256");
}

/** RFC 9381 §5.4.3. */
function challengeOf(...points: readonly Uint8Array[]): Uint8Array {
  return sha512([SUITE, CHALLENGE], ...points, [BACK]).subarray(0, CHALLENGE_BYTES);
}

/** RFC 8032 §5.1.5, step 2. */
function clamped(bytes: Uint8Array): Uint8Array {
  const scalar = Uint8Array.from(bytes);
  scalar[0] = (scalar[0] ?? 0) & 0xf8;
  scalar[31] = ((scalar[31] ?? 0) & 0x7f) | 0x40;
  return scalar;
}

/** Joined and hashed in one call: a hasher object costs more than the hash. */
function sha512(...parts: readonly (Uint8Array | readonly number[])[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return Bun.SHA512.hash(bytes, new Uint8Array(HASH_BYTES)) as Uint8Array;
}
