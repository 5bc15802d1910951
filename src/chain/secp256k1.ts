/**
 * secp256k1 by libsecp256k1 (c/secp_shim.c, curve-library.ts), and by noble where that does not
 * load; both give the same bytes and the same verdicts (test/chain/secp256k1.test.ts).
 * docs/ledger.md "Signatures". A quorum is checked in one call of the library.
 */
import { AbsError, assert, messageOf } from "../errors.ts";
import type { SignatureCheck, Signer, Verifier } from "./crypto-interface.ts";
import { CURVE_LIBRARY_PATH, type CurveSymbols, curveSymbols } from "./curve-library.ts";
import {
  type PublicKey,
  SIGNATURE_BYTES,
  type Signature,
  type SigningHash,
} from "./ledger-units.ts";
import { isPublicKeyText, NobleSigner, NobleVerifier } from "./noble-signatures.ts";

/** ABS_SECP_MANY_MAX of c/abs_curves.h. */
const MANY_MAX = 64;

const SECRET_KEY_BYTES = 32;
const HASH_BYTES = 32;
const PUBLIC_KEY_BYTES = 33;

export type SignatureLibrary = {
  readonly name: "libsecp256k1" | "noble";
  /** Why it is noble. */
  readonly refusal?: string;
  readonly verifier: Verifier;
  /** @param secretKey 32 bytes, from 1 to the order of the curve less 1; an AbsError otherwise */
  signerOf(secretKey: Uint8Array): Signer;
};

let opened: SignatureLibrary | undefined;

/** The library of this thread, opened at the first call: libsecp256k1, or noble in its place. */
export function signatureLibrary(): SignatureLibrary {
  opened ??= openSignatures(CURVE_LIBRARY_PATH);
  return opened;
}

/** @param path of build/libabs_curves.so, embedded or not */
export function openSignatures(path: string): SignatureLibrary {
  try {
    const symbols = curveSymbols(path);
    return {
      name: "libsecp256k1",
      verifier: new SecpVerifier(symbols),
      signerOf: (secretKey) => new SecpSigner(symbols, secretKey),
    };
  } catch (error) {
    return {
      name: "noble",
      refusal: messageOf(error),
      verifier: new NobleVerifier(),
      signerOf: nobleSigner,
    };
  }
}

function secretKeyError(): AbsError {
  return new AbsError(
    "SECRET_KEY_INVALID",
    "A secret key of the ledger is not 32 bytes from 1 to the order of secp256k1 less 1.",
    "Restore the file it came from, or make a new key and have it registered.",
  );
}

function nobleSigner(secretKey: Uint8Array): Signer {
  try {
    return new NobleSigner(secretKey);
  } catch {
    throw secretKeyError(); // noble's words may quote the key
  }
}

class SecpSigner implements Signer {
  readonly publicKey: PublicKey;
  readonly #secretKey = new Uint8Array(SECRET_KEY_BYTES);

  constructor(
    private readonly symbols: CurveSymbols,
    secretKey: Uint8Array,
  ) {
    if (secretKey.length !== SECRET_KEY_BYTES) throw secretKeyError();
    this.#secretKey.set(secretKey);
    const publicKey = new Uint8Array(PUBLIC_KEY_BYTES);
    if (symbols.abs_secp_public_key(this.#secretKey, publicKey) < 0) throw secretKeyError();
    this.publicKey = publicKey.toHex() as PublicKey;
  }

  sign(hash: SigningHash): Signature {
    assert(hash.length === HASH_BYTES, `a hash of ${hash.length} bytes is to be signed`);
    const signature = new Uint8Array(SIGNATURE_BYTES);
    const result = this.symbols.abs_secp_sign(hash, this.#secretKey, signature);
    assert(result === 0, `libsecp256k1 did not sign (${result})`);
    return signature as Signature;
  }
}

class SecpVerifier implements Verifier {
  /** What one call reads and writes; a call is over before the next begins. */
  readonly #hashes = new Uint8Array(MANY_MAX * HASH_BYTES);
  readonly #signatures = new Uint8Array(MANY_MAX * SIGNATURE_BYTES);
  readonly #publicKeys = new Uint8Array(MANY_MAX * PUBLIC_KEY_BYTES);
  readonly #valid = new Uint8Array(MANY_MAX);

  constructor(private readonly symbols: CurveSymbols) {}

  verify(check: SignatureCheck): boolean {
    if (!this.#put(0, check)) return false;
    const verdict = this.symbols.abs_secp_verify(this.#hashes, this.#signatures, this.#publicKeys);
    assert(verdict >= 0, `libsecp256k1 did not check a signature (${verdict})`);
    return verdict === 1;
  }

  verifyMany(checks: readonly SignatureCheck[]): boolean[] {
    const verdicts = checks.map(() => false);
    let places: number[] = [];
    for (const [place, check] of checks.entries()) {
      if (!this.#put(places.length, check)) continue;
      places.push(place);
      if (places.length < MANY_MAX) continue;
      this.#judge(places, verdicts);
      places = [];
    }
    if (places.length > 0) this.#judge(places, verdicts);
    return verdicts;
  }

  isPublicKey(publicKey: PublicKey): boolean {
    if (!isPublicKeyText(publicKey)) return false;
    this.#publicKeys.setFromHex(publicKey);
    return this.symbols.abs_secp_is_public_key(this.#publicKeys) === 1;
  }

  /** Lays a check ready as number `index` of a call; false when its shape is wrong already. */
  #put(index: number, { hash, signature, publicKey }: SignatureCheck): boolean {
    if (signature.length !== SIGNATURE_BYTES || hash.length !== HASH_BYTES) return false;
    if (!isPublicKeyText(publicKey)) return false;
    this.#hashes.set(hash, index * HASH_BYTES);
    this.#signatures.set(signature, index * SIGNATURE_BYTES);
    this.#publicKeys.subarray(index * PUBLIC_KEY_BYTES).setFromHex(publicKey);
    return true;
  }

  /** Checks what lies ready and writes each verdict to its place. */
  #judge(places: readonly number[], verdicts: boolean[]): void {
    const result = this.symbols.abs_secp_verify_many(
      this.#hashes,
      this.#signatures,
      this.#publicKeys,
      this.#valid,
      places.length,
    );
    assert(result >= 0, `libsecp256k1 did not check ${places.length} signatures (${result})`);
    for (const [index, place] of places.entries()) verdicts[place] = this.#valid[index] === 1;
  }
}
