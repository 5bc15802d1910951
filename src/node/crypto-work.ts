/**
 * Counts what a node has its cryptography do, for `abs ledger status` and `abs bench ledger`: what
 * verified-signatures.ts remembers is not asked again, and so not counted.
 */
import type {
  LedgerCrypto,
  NodeKeys,
  SignatureCheck,
  Verifier,
  VrfVerifier,
} from "../chain/crypto-interface.ts";
import { KeyRing } from "../chain/key-ring.ts";
import type { PublicKey, VrfProof, VrfPublicKey } from "../chain/ledger-units.ts";

export type CryptoWork = {
  signatures: number;
  verifications: number;
  vrf_proofs: number;
  vrf_verifications: number;
};

export function noWork(): CryptoWork {
  return { signatures: 0, verifications: 0, vrf_proofs: 0, vrf_verifications: 0 };
}

export function countedCrypto({ signatures, vrf }: LedgerCrypto, work: CryptoWork): LedgerCrypto {
  return {
    signatures: new CountedVerifier(signatures, work),
    vrf: new CountedVrfVerifier(vrf, work),
  };
}

export function countedRing({ nodeId, own, sets }: KeyRing, work: CryptoWork): KeyRing {
  const [, ...others] = sets;
  const counted = others.map((keys) => countedKeys(keys, work));
  return new KeyRing(nodeId, [countedKeys(own, work), ...counted]);
}

export function countedKeys({ signer, vrf }: NodeKeys, work: CryptoWork): NodeKeys {
  return {
    signer: {
      publicKey: signer.publicKey,
      sign: (hash) => {
        work.signatures++;
        return signer.sign(hash);
      },
    },
    vrf: {
      publicKey: vrf.publicKey,
      prove: (alpha) => {
        work.vrf_proofs++;
        return vrf.prove(alpha);
      },
    },
  };
}

class CountedVerifier implements Verifier {
  constructor(
    private readonly verifier: Verifier,
    private readonly work: CryptoWork,
  ) {}

  verify(check: SignatureCheck): boolean {
    this.work.verifications++;
    return this.verifier.verify(check);
  }

  verifyMany(checks: readonly SignatureCheck[]): boolean[] {
    this.work.verifications += checks.length;
    return this.verifier.verifyMany(checks);
  }

  isPublicKey(publicKey: PublicKey): boolean {
    return this.verifier.isPublicKey(publicKey);
  }
}

class CountedVrfVerifier implements VrfVerifier {
  constructor(
    private readonly verifier: VrfVerifier,
    private readonly work: CryptoWork,
  ) {}

  verify(...words: Parameters<VrfVerifier["verify"]>): ReturnType<VrfVerifier["verify"]> {
    this.work.vrf_verifications++;
    return this.verifier.verify(...words);
  }

  outputOf(proof: VrfProof): ReturnType<VrfVerifier["outputOf"]> {
    return this.verifier.outputOf(proof);
  }

  isPublicKey(publicKey: VrfPublicKey): boolean {
    return this.verifier.isPublicKey(publicKey);
  }
}
