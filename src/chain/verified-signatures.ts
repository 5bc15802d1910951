/**
 * Remembers which signatures and VRF proofs were found valid, so that a vote that comes again in a
 * certificate or a seal is not verified again. A memo of pure functions: answers are the same
 * without it. Only valid ones are kept, so strangers cannot push them out with garbage.
 */
import type { LedgerCrypto, SignatureCheck, Verifier, VrfVerifier } from "./crypto-interface.ts";
import type { PublicKey, VrfBeta, VrfProof, VrfPublicKey } from "./ledger-units.ts";

/** Some heights of a full committee; then it begins anew. */
const REMEMBERED_MAX = 8192;

export function rememberingCrypto(crypto: LedgerCrypto): LedgerCrypto {
  return { signatures: new VerifiedSignatures(crypto.signatures), vrf: new VerifiedProofs(crypto) };
}

class VerifiedSignatures implements Verifier {
  private readonly valid = new Set<string>();

  constructor(private readonly verifier: Verifier) {}

  verify(check: SignatureCheck): boolean {
    return this.verifyMany([check])[0] ?? false;
  }

  verifyMany(checks: readonly SignatureCheck[]): boolean[] {
    const keys = checks.map(keyOf);
    const answers = keys.map((key) => this.valid.has(key));
    const open = checks.filter((_, i) => !answers[i]);
    if (open.length === 0) return answers;
    const found = this.verifier.verifyMany(open);
    let next = 0;
    return answers.map((isKnown, i) => {
      const isValid = isKnown || found[next++] === true;
      if (isValid && !isKnown) this.remember(keys[i] ?? "");
      return isValid;
    });
  }

  isPublicKey(publicKey: PublicKey): boolean {
    return this.verifier.isPublicKey(publicKey);
  }

  private remember(key: string): void {
    if (this.valid.size >= REMEMBERED_MAX) this.valid.clear();
    this.valid.add(key);
  }
}

class VerifiedProofs implements VrfVerifier {
  private readonly betas = new Map<string, VrfBeta>();
  private readonly verifier: VrfVerifier;

  constructor(crypto: LedgerCrypto) {
    this.verifier = crypto.vrf;
  }

  verify(publicKey: VrfPublicKey, alpha: Uint8Array, proof: VrfProof): VrfBeta | undefined {
    const key = `${publicKey}${textOf(alpha)}${textOf(proof)}`;
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

/** All three have fixed lengths in what is valid, so joined they are one key. */
function keyOf({ hash, signature, publicKey }: SignatureCheck): string {
  return `${publicKey}${textOf(hash)}${textOf(signature)}`;
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
}
