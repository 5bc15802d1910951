/**
 * Certificates that an agent has read and verified before: each state has those of all neighbours,
 * and most are the same as in the state before. By their text, so that another one is never taken
 * for it. Of one manager.
 */
import { canonicalText, type JsonValue } from "../chain/canonical-json.ts";
import type { SignedCertificate } from "../chain/identity-certificate.ts";

/** More than one state has. */
const KNOWN_MAX = 8192;

export class KnownCertificates {
  readonly #read = new Map<string, SignedCertificate>();
  readonly #verified = new WeakSet<SignedCertificate>();

  /** The one of this text; read by `read` if it is new, which may give none. */
  take(
    value: JsonValue,
    read: (value: JsonValue) => SignedCertificate | undefined,
  ): SignedCertificate | undefined {
    const text = canonicalText(value);
    const known = this.#read.get(text);
    if (known !== undefined) return known;
    const signed = read(value);
    if (this.#read.size >= KNOWN_MAX) this.#read.clear();
    if (signed !== undefined) this.#read.set(text, signed);
    return signed;
  }

  /** Whether it is good; judged by `isGood` once, and again as long as it is not. */
  judge(signed: SignedCertificate, isGood: () => boolean): boolean {
    if (this.#verified.has(signed)) return true;
    const verdict = isGood();
    if (verdict) this.#verified.add(signed);
    return verdict;
  }
}
