/**
 * Security Contracts in use: the entry of Fig. 6 (paper §3.2) with its additions, which of them may
 * carry a session, and which generation of the secret. docs/wire.md "HANDSHAKE", "Lifetimes".
 * JSON keeps the paper's names; "true" and "false" are read as strings and as booleans. Secrets
 * come beside the entry, from provisioning or the manager channel. Times are UTC seconds.
 */
import { concat, fromHex } from "../bytes.ts";
import { AbsError } from "../errors.ts";
import { type EpochSeconds, type PeerIndex, type TagIndex, TENANT_TAG } from "../units.ts";
import { HASH_NAMES, type HashName } from "./hashes.ts";
import { RsaKeyPair } from "./rsa-wrap.ts";

/** What packets can be sealed with. */
export const CIPHER_NAMES = ["aes-128-gcm", "aes-256-gcm", "chacha20-poly1305"] as const;
export type CipherName = (typeof CIPHER_NAMES)[number];
/** What a contract can name. `rsa256` wraps a key in the handshake; its packets are aes-256-gcm. */
export const ALGORITHM_NAMES = [...CIPHER_NAMES, "rsa256"] as const;
export type AlgorithmName = (typeof ALGORITHM_NAMES)[number];
export type Protection = "integrity" | "confidential";
/** The paper's three values; an expired contract is never enabled again. */
export type ContractState = "true" | "false" | "expired";

/** One generation of a contract's secret. */
export type GenerationSecret = {
  readonly generation: number;
  /** 32 bytes: the pre-shared key of the handshake. */
  readonly secret: Uint8Array;
  /** Of an `rsa256` contract: the key pair that both sides hold. */
  readonly rsa?: RsaKeyPair;
  /** From then on this generation opens nothing; absent: as long as the contract. */
  readonly endsAt?: EpochSeconds;
};

export type Contract = {
  /** UUID version 4, lower case. */
  readonly scId: string;
  readonly scIdBytes: Uint8Array;
  readonly algorithm: AlgorithmName;
  readonly hash: HashName;
  readonly protection: Protection;
  /** An unauthenticated contract: a constant proof, no replay window. */
  readonly quickmode: boolean;
  readonly state: ContractState;
  readonly scLifetime: EpochSeconds;
  readonly keyregen: EpochSeconds;
  readonly busySeconds: number;
  readonly idleSeconds: number;
  readonly secrets: readonly GenerationSecret[];
  /** Absent: everyone of the tenant, for everything. */
  readonly scope?: ContractScope;
};

/** Who may use a contract, this agent being among them. */
export type ContractScope = {
  /** Undefined: all. */
  readonly peers: ReadonlySet<PeerIndex> | undefined;
  /** Applications; undefined: all, and the tenant's own traffic. */
  readonly tags: ReadonlySet<TagIndex> | undefined;
};

/** Whose packets a contract is to carry. */
export type ContractCarried = { readonly peer: PeerIndex; readonly tag: TagIndex };

/** What a policy rule asks of contracts. All that is set must hold. */
export type ContractRule = {
  readonly scId?: string;
  readonly protection?: Protection;
  readonly maxBusySeconds?: number;
};

/** A contract and the generation of its secret, as one message names them. */
export type ContractUse = { readonly contract: Contract; readonly generation: GenerationSecret };

export const PSK_BYTES = 32;
const UUID_V4 = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const NAMES = new Set([
  "sc-id",
  "encryption_algo",
  "hash_algo",
  "quickmode",
  "active",
  "sc-lifetime",
  "lifetime",
  "protection",
]);
const LIFETIME_NAMES = new Set(["keyregen", "busytime", "idletime"]);

/** The 16 bytes of a UUID in text, or undefined when it is not one of version 4. */
export function scIdBytesOf(scId: string): Uint8Array | undefined {
  return UUID_V4.test(scId) ? fromHex(scId.replaceAll("-", "")) : undefined;
}

/**
 * Reads an entry as Fig. 6 prints it, with its secrets as `drawContractSecret` makes them.
 * @throws AbsError CONTRACT_INVALID, RSA_KEY_INVALID
 */
export function parseContract(entry: unknown, secrets: readonly GenerationSecret[]): Contract {
  const fields = objectOf(entry, "contract", NAMES);
  const scId = String(fields["sc-id"]).toLowerCase();
  const scIdBytes = scIdBytesOf(scId);
  if (scIdBytes === undefined) throw invalid("sc-id", fields["sc-id"], "a UUID of version 4");
  const lifetime = objectOf(fields["lifetime"], "lifetime", LIFETIME_NAMES);
  const algorithm = oneOf(fields["encryption_algo"], ALGORITHM_NAMES, "encryption_algo");
  const generations = secrets.map((secret) => generationSecret(algorithm, secret));
  return {
    scId,
    scIdBytes,
    algorithm,
    hash: oneOf(fields["hash_algo"], HASH_NAMES, "hash_algo"),
    protection: oneOf(fields["protection"] ?? "integrity", PROTECTIONS, "protection"),
    quickmode: oneOf(String(fields["quickmode"] ?? false), BOOLEANS, "quickmode") === "true",
    state: oneOf(String(fields["active"]), STATES, "active"),
    scLifetime: countOf(fields["sc-lifetime"], "sc-lifetime", 0) as EpochSeconds,
    keyregen: countOf(lifetime["keyregen"], "lifetime.keyregen", 0) as EpochSeconds,
    busySeconds: countOf(lifetime["busytime"], "lifetime.busytime", 1),
    idleSeconds: countOf(lifetime["idletime"], "lifetime.idletime", 1),
    secrets: generations.sort((left, right) => left.generation - right.generation),
  };
}

const PROTECTIONS = ["integrity", "confidential"] as const;
const BOOLEANS = ["true", "false"] as const;
const STATES = ["true", "false", "expired"] as const;

/** The cipher of a contract's packets. */
export function cipherOf({ algorithm }: Pick<Contract, "algorithm">): CipherName {
  return algorithm === "rsa256" ? "aes-256-gcm" : algorithm;
}

/**
 * A fresh secret for a contract: 32 random bytes, the pre-shared key; with `rsa256` the private key
 * (PKCS #8, DER) follows. These bytes are what is handed out, and what the ledger commits to.
 */
export function drawContractSecret(
  algorithm: AlgorithmName,
  random: (sizeBytes: number) => Uint8Array,
): Uint8Array {
  const key = random(PSK_BYTES);
  return algorithm === "rsa256" ? concat(key, RsaKeyPair.generate().der) : key;
}

/** Whether the bytes are of the form that `drawContractSecret` makes. */
export function isContractSecret(algorithm: AlgorithmName, secret: Uint8Array): boolean {
  if (algorithm !== "rsa256") return secret.length === PSK_BYTES;
  return RsaKeyPair.isDer(secret.subarray(PSK_BYTES));
}

/**
 * A generation as sessions use it: what `drawContractSecret` joined is taken apart.
 * @throws AbsError CONTRACT_INVALID, RSA_KEY_INVALID
 */
export function generationSecret(
  algorithm: AlgorithmName,
  given: GenerationSecret,
): GenerationSecret {
  const { generation, secret } = given;
  if (!isCount(generation) || generation > 0xffffffff) {
    throw invalid("generation", generation, "an integer of 32 bits");
  }
  if (algorithm !== "rsa256") {
    if (secret.length === PSK_BYTES) return given;
    throw invalid("secret", `${secret.length} bytes`, "32 bytes");
  }
  if (secret.length <= PSK_BYTES) {
    throw invalid("secret", `${secret.length} bytes`, "32 bytes and a private key after them");
  }
  const rsa = RsaKeyPair.fromDer(secret.subarray(PSK_BYTES));
  return { ...given, secret: secret.slice(0, PSK_BYTES), rsa };
}

function invalid(name: string, value: unknown, wanted: string): AbsError {
  return new AbsError(
    "CONTRACT_INVALID",
    `The contract's ${name} is ${JSON.stringify(value) ?? "missing"}; it must be ${wanted}.`,
    "Correct the contract's entry; docs/wire.md and Fig. 6 of the paper show its fields.",
  );
}

function objectOf(
  value: unknown,
  name: string,
  names: ReadonlySet<string>,
): Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw invalid(name, value, "an object");
  }
  const fields: Record<string, unknown> = { ...value };
  for (const key of Object.keys(fields)) {
    if (!names.has(key)) throw invalid(key, fields[key], "left out: no such field");
  }
  return fields;
}

function oneOf<T extends string>(value: unknown, allowed: readonly T[], name: string): T {
  for (const word of allowed) if (word === value) return word;
  throw invalid(name, value, `one of ${allowed.join(", ")}`);
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function countOf(value: unknown, name: string, least: number): number {
  if (isCount(value) && value >= least) return value;
  throw invalid(name, value, `an integer of at least ${least}`);
}

/** Whether policy, scope and the nature of the contract let it carry these packets. */
export function contractFits(
  contract: Contract,
  { peer, tag }: ContractCarried,
  rule: ContractRule | undefined,
): boolean {
  const { scope } = contract;
  if (scope?.peers !== undefined && !scope.peers.has(peer)) return false;
  if (scope?.tags !== undefined && !scope.tags.has(tag)) return false;
  // A constant proof cannot bind an application to its packets.
  if (contract.quickmode && tag !== TENANT_TAG) return false;
  if (rule === undefined) return true;
  if (rule.scId !== undefined && rule.scId !== contract.scId) return false;
  if (rule.protection !== undefined && rule.protection !== contract.protection) return false;
  return rule.maxBusySeconds === undefined || contract.busySeconds <= rule.maxBusySeconds;
}

/** When a session under this contract and generation ends whatever happens. */
export function endOfUse(use: ContractUse): EpochSeconds {
  const generationEnd = use.generation.endsAt ?? use.contract.scLifetime;
  return Math.min(use.contract.scLifetime, generationEnd) as EpochSeconds;
}
