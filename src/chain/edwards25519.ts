/**
 * The VRF with the edwards25519 arithmetic of libsodium (c/edwards_shim.c, curve-library.ts), and
 * of noble where that does not load; both give the same bytes and the same verdicts
 * (test/chain/edwards25519.test.ts). docs/ledger.md "Signatures".
 */
import { assert, messageOf } from "../errors.ts";
import type { VrfProver, VrfVerifier } from "./crypto-interface.ts";
import { CURVE_LIBRARY_PATH, type CurveSymbols, curveSymbols } from "./curve-library.ts";
import {
  CHALLENGE_BYTES,
  type Commitment,
  EcvrfProver,
  EcvrfVerifier,
  type EdwardsCurve,
  type Recomputed,
} from "./ecvrf.ts";
import { VRF_PROOF_BYTES } from "./ledger-units.ts";
import { NobleEdwards } from "./noble-edwards.ts";

const POINT_BYTES = 32;
const SCALAR_BYTES = 32;
const NONCE_BYTES = 64;

export type VrfLibrary = {
  readonly name: "libsodium" | "noble";
  /** Why it is noble. */
  readonly refusal?: string;
  readonly curve: EdwardsCurve;
  readonly verifier: VrfVerifier;
  /** @param secretKey 32 bytes, an Ed25519 secret key */
  proverOf(secretKey: Uint8Array): VrfProver;
};

let opened: VrfLibrary | undefined;

/** The library of this thread, opened at the first call: libsodium, or noble in its place. */
export function vrfLibrary(): VrfLibrary {
  opened ??= openVrf(CURVE_LIBRARY_PATH);
  return opened;
}

/** @param path of build/libabs_curves.so, embedded or not */
export function openVrf(path: string): VrfLibrary {
  try {
    return { name: "libsodium", ...vrfOver(new SodiumEdwards(curveSymbols(path))) };
  } catch (error) {
    return { name: "noble", refusal: messageOf(error), ...vrfOver(new NobleEdwards()) };
  }
}

function vrfOver(curve: EdwardsCurve): Pick<VrfLibrary, "curve" | "verifier" | "proverOf"> {
  return {
    curve,
    verifier: new EcvrfVerifier(curve),
    proverOf: (secretKey) => new EcvrfProver(secretKey, curve),
  };
}

class SodiumEdwards implements EdwardsCurve {
  constructor(private readonly symbols: CurveSymbols) {}

  isKey(point: Uint8Array): boolean {
    return point.length === POINT_BYTES && this.symbols.abs_edwards_is_key(point) === 1;
  }

  clearCofactor(point: Uint8Array): Uint8Array | undefined {
    if (point.length !== POINT_BYTES) return undefined;
    const out = new Uint8Array(POINT_BYTES);
    return this.symbols.abs_edwards_clear_cofactor(point, out) === 1 ? out : undefined;
  }

  publicKey(x: Uint8Array): Uint8Array {
    requireSizes([x, SCALAR_BYTES]);
    const y = new Uint8Array(POINT_BYTES);
    const result = this.symbols.abs_edwards_public_key(x, y);
    assert(result === 0, `libsodium did not make a public key (${result})`);
    return y;
  }

  commit(x: Uint8Array, nonce: Uint8Array, h: Uint8Array): Commitment {
    requireSizes([x, SCALAR_BYTES], [nonce, NONCE_BYTES], [h, POINT_BYTES]);
    const gamma = new Uint8Array(POINT_BYTES);
    const kB = new Uint8Array(POINT_BYTES);
    const kH = new Uint8Array(POINT_BYTES);
    const result = this.symbols.abs_edwards_commit(x, nonce, h, gamma, kB, kH);
    assert(result === 0, `libsodium did not make a proof (${result})`);
    return { gamma, kB, kH };
  }

  respond(x: Uint8Array, nonce: Uint8Array, c: Uint8Array): Uint8Array {
    requireSizes([x, SCALAR_BYTES], [nonce, NONCE_BYTES], [c, CHALLENGE_BYTES]);
    const s = new Uint8Array(SCALAR_BYTES);
    const result = this.symbols.abs_edwards_respond(x, nonce, c, s);
    assert(result === 0, `libsodium did not end a proof (${result})`);
    return s;
  }

  recompute(y: Uint8Array, h: Uint8Array, proof: Uint8Array): Recomputed | undefined {
    requireSizes([y, POINT_BYTES], [h, POINT_BYTES], [proof, VRF_PROOF_BYTES]);
    const u = new Uint8Array(POINT_BYTES);
    const v = new Uint8Array(POINT_BYTES);
    return this.symbols.abs_edwards_recompute(y, h, proof, u, v) === 1 ? { u, v } : undefined;
  }
}

/** C reads as many bytes as it was told by its interface: nothing shorter gets there. */
function requireSizes(...pairs: readonly (readonly [Uint8Array, number])[]): void {
  for (const [bytes, size] of pairs) {
    assert(bytes.length === size, `${bytes.length} bytes instead of ${size} for libsodium`);
  }
}
