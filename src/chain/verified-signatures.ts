/**
 * Remembers which signatures and VRF proofs were found valid, so that a vote that comes again in a
 * certificate or a seal is not verified again; those by the own keys are valid from the start. A
 * memo of pure functions: answers are the same without it. Only valid ones are kept, so strangers
 * cannot push them out with garbage.
 */
import type {
  LedgerCrypto,
  NodeKeys,
  SignatureCheck,
  Verifier,
  VrfVerifier,
} from "./crypto-interface.ts";
import type { PublicKey, VrfBeta, VrfProof, VrfPublicKey } from "./ledger-units.ts";

/** Some heights of a full committee; then it begins anew. */
const REMEMBERED_MAX = 8192;

export function rememberingCrypto(
  crypto: LedgerCrypto,
  { signer, vrf }: NodeKeys,
): { readonly crypto: LedgerCrypto; readonly keys: NodeKeys } {
  const signatures = new VerifiedSignatures(crypto.signatures);
  const proofs = new VerifiedProofs(crypto.vrf);
  const { publicKey } = signer;
  const keys: NodeKeys = {
    signer: {
      publicKey,
      sign: (hash) => {
        const signature = signer.sign(hash);
        signatures.remember({ hash, signature, publicKey });
        return signature;
      },
    },
    vrf: {
      publicKey: vrf.publicKey,
      prove: (alpha) => {
        const proof = vrf.prove(alpha);
        proofs.remember(vrf.publicKey, alpha, proof);
        return proof;
      },
    },
  };
  return { crypto: { signatures, vrf: proofs }, keys };
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
      if (isValid && !isKnown) this.keep(keys[i] ?? "");
      return isValid;
    });
  }

  isPublicKey(publicKey: PublicKey): boolean {
    return this.verifier.isPublicKey(publicKey);
  }

  remember(check: SignatureCheck): void {
    this.keep(keyOf(check));
  }

  private keep(key: string): void {
    if (this.valid.size >= REMEMBERED_MAX) this.valid.clear();
    this.valid.add(key);
  }
}

class VerifiedProofs implements VrfVerifier {
  private readonly betas = new Map<string, VrfBeta>();

  constructor(private readonly verifier: VrfVerifier) {}

  verify(publicKey: VrfPublicKey, alpha: Uint8Array, proof: VrfProof): VrfBeta | undefined {
    const key = proofKey(publicKey, alpha, proof);
    const known = this.betas.get(key);
    if (known !== undefined) return known;
    return this.keep(key, this.verifier.verify(publicKey, alpha, proof));
  }

  outputOf(proof: VrfProof): VrfBeta | undefined {
    return this.verifier.outputOf(proof);
  }

  /** A proof by the owner of the key. */
  remember(publicKey: VrfPublicKey, alpha: Uint8Array, proof: VrfProof): void {
    this.keep(proofKey(publicKey, alpha, proof), this.outputOf(proof));
  }

  private keep(key: string, beta: VrfBeta | undefined): VrfBeta | undefined {
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
  return `${publicKey}${hash.toHex()}${signature.toHex()}`;
}

function proofKey(publicKey: VrfPublicKey, alpha: Uint8Array, proof: VrfProof): string {
  return `${publicKey}${alpha.toHex()}${proof.toHex()}`;
}
