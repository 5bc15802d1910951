/**
 * Static X25519 keys and the other random values of a provisioning file, as hex: what an
 * administrator without a manager draws by hand (docs/provisioning.md).
 */

import { randomUUID } from "node:crypto";
import { toHex } from "../bytes.ts";
import { kernelRandom } from "../native/kernel-random.ts";
import { type AlgorithmName, drawContractSecret } from "../session/contract.ts";
import { KeyPair } from "../session/x25519.ts";

/** 64 hex digits each. */
export interface KeyPairHex {
  readonly secretKey: string;
  readonly publicKey: string;
}

export const KEY_BYTES = 32;
export const TAG_BYTES = 16;

/** A fresh static key pair of a node. */
export function generateKeyPair(): KeyPairHex {
  const secret = kernelRandom(KEY_BYTES);
  return { secretKey: toHex(secret), publicKey: toHex(new KeyPair(secret).publicKey) };
}

/** A fresh tenant or application tag. */
export function generateTag(): string {
  return toHex(kernelRandom(TAG_BYTES));
}

/** A fresh contract: its SC-ID and the first generation of its secret. */
export function generateContractSecret(algorithm: AlgorithmName = "aes-128-gcm"): {
  readonly scId: string;
  readonly secret: string;
} {
  return { scId: randomUUID(), secret: toHex(drawContractSecret(algorithm, kernelRandom)) };
}
