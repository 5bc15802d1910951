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
import type { PublicKey, SigningHash, VrfBeta, VrfProof, VrfPublicKey } from "./ledger-units.ts";

/** Some heights of a full committee; then it begins anew. */
const REMEMBERED_MAX = 8192;

export type RememberingCrypto = {
  readonly crypto: LedgerCrypto;
  /** The same keys; what they sign and prove is remembered. */
  readonly remembering: (keys: NodeKeys) => NodeKeys;
};

export function rememberingCrypto(crypto: LedgerCrypto): RememberingCrypto {
  const signatures = new VerifiedSignatures(crypto.signatures);
  const proofs = new VerifiedProofs(crypto.vrf);
  const known = new WeakMap<NodeKeys, NodeKeys>();
  const remembering = (keys: NodeKeys): NodeKeys => {
    const before = known.get(keys);
    if (before !== undefined) return before;
    const wrapped = rememberedKeys(keys, signatures, proofs);
    known.set(keys, wrapped);
    return wrapped;
  };
  return { crypto: { signatures, vrf: proofs }, remembering };
}

function rememberedKeys(
  { signer, vrf }: NodeKeys,
  signatures: VerifiedSignatures,
  proofs: VerifiedProofs,
): NodeKeys {
  const { publicKey } = signer;
  return {
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
}

class VerifiedSignatures implements Verifier {
  /** By signature: of what it was found to be one. */
  private readonly valid = new Map<string, SignatureCheck>();

  constructor(private readonly verifier: Verifier) {}

  verify(check: SignatureCheck): boolean {
    const key = check.signature.toHex();
    if (this.isKnown(key, check)) return true;
    const isValid = this.verifier.verify(check);
    if (isValid) this.keep(key, check);
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
      if (isValid && !isKnown && check !== undefined) this.keep(keys[i] ?? "", check);
      return isValid;
    });
  }

  isPublicKey(publicKey: PublicKey): boolean {
    return this.verifier.isPublicKey(publicKey);
  }

  remember(check: SignatureCheck): void {
    this.keep(check.signature.toHex(), check);
  }

  private isKnown(key: string, { hash, publicKey }: SignatureCheck): boolean {
    const known = this.valid.get(key);
    return known?.publicKey === publicKey && isSame(known.hash, hash);
  }

  private keep(key: string, check: SignatureCheck): void {
    if (this.valid.size >= REMEMBERED_MAX) this.valid.clear();
    this.valid.set(key, check);
  }
}

function isSame(one: SigningHash, other: SigningHash): boolean {
  return one === other || Buffer.compare(one, other) === 0;
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
function proofKey(publicKey: VrfPublicKey, alpha: Uint8Array, proof: VrfProof): string {
  return `${publicKey}${alpha.toHex()}${proof.toHex()}`;
}
