/**
 * Remembers which signatures and VRF proofs were found valid, so that a vote that comes again in a
 * certificate or a seal is not verified again. A memo of pure functions: answers are the same
 * without it. Only valid ones are kept, so strangers cannot push them out with garbage.
 */
import type { LedgerCrypto, SignatureCheck, Verifier, VrfVerifier } from "./crypto-interface.ts";
import type { PublicKey, SigningHash, VrfBeta, VrfProof, VrfPublicKey } from "./ledger-units.ts";

/** Some heights of a full committee; then it begins anew. */
const REMEMBERED_MAX = 8192;

export function rememberingCrypto(crypto: LedgerCrypto): LedgerCrypto {
  return { signatures: new VerifiedSignatures(crypto.signatures), vrf: new VerifiedProofs(crypto) };
}

class VerifiedSignatures implements Verifier {
  /** By signature: of what it was found to be one. */
  private readonly valid = new Map<string, SignatureCheck>();

  constructor(private readonly verifier: Verifier) {}

  verify(check: SignatureCheck): boolean {
    const key = check.signature.toHex();
    if (this.isKnown(key, check)) return true;
    const isValid = this.verifier.verify(check);
    if (isValid) this.remember(key, check);
    return isValid;
  }

  verifyMany(checks: readonly SignatureCheck[]): boolean[] {
    const keys = checks.map(({ signature }) => signature.toHex());
    const answers = checks.map((check, i) => this.isKnown(keys[i] ?? "", check));
    const open = checks.filter((_, i) => !answers[i]);
    if (open.length === 0) return answers;
    const found = this.verifier.verifyMany(open);
    let next = 0;
    return answers.map((isKnown, i) => {
      const isValid = isKnown || found[next++] === true;
      const check = checks[i];
      if (isValid && !isKnown && check !== undefined) this.remember(keys[i] ?? "", check);
      return isValid;
    });
  }

  isPublicKey(publicKey: PublicKey): boolean {
    return this.verifier.isPublicKey(publicKey);
  }

  private isKnown(key: string, { hash, publicKey }: SignatureCheck): boolean {
    const known = this.valid.get(key);
    return known?.publicKey === publicKey && isSame(known.hash, hash);
  }

  private remember(key: string, check: SignatureCheck): void {
    if (this.valid.size >= REMEMBERED_MAX) this.valid.clear();
    this.valid.set(key, check);
  }
}

function isSame(one: SigningHash, other: SigningHash): boolean {
  return one === other || Buffer.compare(one, other) === 0;
}

class VerifiedProofs implements VrfVerifier {
  private readonly betas = new Map<string, VrfBeta>();
  private readonly verifier: VrfVerifier;

  constructor(crypto: LedgerCrypto) {
    this.verifier = crypto.vrf;
  }

  verify(publicKey: VrfPublicKey, alpha: Uint8Array, proof: VrfProof): VrfBeta | undefined {
    // Of fixed lengths all three, so joined they are one key.
    const key = publicKey + alpha.toHex() + proof.toHex();
    const known = this.betas.get(key);
    if (known !== undefined) return known;
    const beta = this.verifier.verify(publicKey, alpha, proof);
    if (beta === undefined) return undefined;
    if (this.betas.size >= REMEMBERED_MAX) this.betas.clear();
    this.betas.set(key, beta);
    return beta;
  }

  isPublicKey(publicKey: VrfPublicKey): boolean {
    return this.verifier.isPublicKey(publicKey);
  }
}
