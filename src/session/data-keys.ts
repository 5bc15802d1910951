/**
 * The keys of a session's two directions, from the handshake, the session tokens and the contracts.
 * docs/wire.md "Data key of a direction" and "quickmode". A direction's algorithm, hash and
 * protection are those of its sender's contract. The result is what `install` hands to the agent.
 */
import { ascii, concat } from "../bytes.ts";
import { type CipherName, type Contract, cipherOf } from "./contract.ts";
import { hashFunction, hkdf } from "./hashes.ts";

/** Algorithm numbers of the shim (c/abs_shim.h, ABS_AES_128_GCM …). */
export const SHIM_ALGORITHM = {
  "aes-128-gcm": 1,
  "aes-256-gcm": 2,
  "chacha20-poly1305": 3,
} as const satisfies Record<CipherName, number>;
export type ShimAlgorithm = (typeof SHIM_ALGORITHM)[CipherName];

const KEY_BYTES: Readonly<Record<CipherName, number>> = {
  "aes-128-gcm": 16,
  "aes-256-gcm": 32,
  "chacha20-poly1305": 32,
};
const QUICK_PROOF_BYTES = 16;
const DATA_LABEL = ascii("abs data\0");
const QUICK_LABEL = ascii("abs quick");
const EMPTY = new Uint8Array(0);

/** How one direction's packets are sealed; `abs_key_set(…, algorithm, key)` takes the first two. */
export type DirectionKeys = {
  readonly algorithm: ShimAlgorithm;
  /** 16 or 32 bytes. */
  readonly key: Uint8Array;
  readonly confidential: boolean;
  /** Under an unauthenticated contract the 16 bytes that every packet carries; else undefined. */
  readonly quickProof: Uint8Array | undefined;
};

export type DirectionSecrets = {
  /** The sender's contract and the generation of its secret used in the handshake. */
  readonly contract: Contract;
  readonly generation: number;
  /** This direction's key of Noise `Split()`. */
  readonly splitKey: Uint8Array;
  /** The sender's session token. */
  readonly token: Uint8Array;
  readonly handshakeHash: Uint8Array;
};

export function directionKeys(secrets: DirectionSecrets): DirectionKeys {
  const { contract } = secrets;
  const hash = hashFunction(contract.hash);
  const generation = new Uint8Array(4);
  new DataView(generation.buffer).setUint32(0, secrets.generation, false);
  const key = hkdf(hash, {
    ikm: secrets.splitKey,
    salt: secrets.token,
    info: concat(DATA_LABEL, contract.scIdBytes, generation, secrets.handshakeHash),
    sizeBytes: KEY_BYTES[cipherOf(contract)],
  });
  const quickProof = hkdf(hash, {
    ikm: key,
    salt: EMPTY,
    info: QUICK_LABEL,
    sizeBytes: QUICK_PROOF_BYTES,
  });
  return {
    algorithm: SHIM_ALGORITHM[cipherOf(contract)],
    key,
    confidential: contract.protection === "confidential" && !contract.quickmode,
    quickProof: contract.quickmode ? quickProof : undefined,
  };
}
