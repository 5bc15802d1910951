/**
 * A Security Contract as the ledger holds it: Fig. 6 of the paper (§3.2) with generation,
 * commitment and scope. docs/ledger.md "Contracts". Names are the paper's; "true" and "false" in
 * quotes are read and booleans are written. The secret itself is never here. What a session does
 * with a contract is src/session/contract.ts.
 */
import type { EpochSeconds } from "../units.ts";
import { CONTRACT_BYTES_MAX } from "./block.ts";
import {
  canonicalJson,
  type JsonObject,
  type JsonValue,
  parseCanonical,
} from "./canonical-json.ts";
import { JsonFields } from "./json-fields.ts";
import { type ChainId, type Hash, type Height, NO_HASH, type ScId } from "./ledger-units.ts";
import { bytesOf, TAG, taggedBytes } from "./sha256.ts";

/** `rsa256` is the paper's sample: its secret has a private key in it (docs/wire.md). */
export const CONTRACT_ALGORITHMS = [
  "aes-128-gcm",
  "aes-256-gcm",
  "chacha20-poly1305",
  "rsa256",
] as const;
export const CONTRACT_HASHES = ["sha256", "sha512", "blake2s", "blake2b"] as const;
export const CONTRACT_PROTECTIONS = ["integrity", "confidential"] as const;

/** Three values (§3.2); "expired" is for ever. */
export type ContractActive = true | false | "expired";

/** Who may use it; three empty lists: everyone of the tenant. Each ascending. */
export type ContractScope = {
  readonly agents: readonly string[];
  readonly applications: readonly string[];
  readonly groups: readonly string[];
};

export type ContractEntry = {
  readonly scId: ScId;
  readonly encryptionAlgo: (typeof CONTRACT_ALGORITHMS)[number];
  readonly hashAlgo: (typeof CONTRACT_HASHES)[number];
  readonly quickmode: boolean;
  readonly active: ContractActive;
  readonly scLifetime: EpochSeconds;
  readonly keyregen: EpochSeconds;
  readonly busySeconds: number;
  readonly idleSeconds: number;
  readonly protection: (typeof CONTRACT_PROTECTIONS)[number];
  /** Of the secret; counts up from 1. 0: none yet, which no block may hold. */
  readonly generation: number;
  /** SHA-256 of the domain-separated secret; NO_HASH: none yet. */
  readonly secretCommitment: Hash;
  readonly scope: ContractScope;
  /** Of the last SC_UPDATE; 0 when it is new. */
  readonly seq: number;
};

export type ContractRead = { readonly contract: ContractEntry } | { readonly complaint: string };

const SECONDS_MAX = 2 ** 33;
const COUNT_MAX = 2 ** 32 - 1;
const SCOPE_ITEMS_MAX = 32;
const SCOPE_CHARACTERS_MAX = 64;
const EVERYONE: ContractScope = { agents: [], applications: [], groups: [] };

/** Reads an entry as people and Fig. 6 write it: what the paper does not have may be left out. */
export function readContract(value: JsonValue): ContractRead {
  return read(new JsonFields(value), true);
}

/** Reads what a block holds: canonical, every field there, booleans as such. */
export function decodeContract(bytes: Uint8Array): ContractRead {
  return readUsual(bytes) ?? decodeAnyContract(bytes);
}

/** The same by the general readers: for contracts with a scope, and for complaints. */
export function decodeAnyContract(bytes: Uint8Array): ContractRead {
  const json = parseCanonical(bytes, CONTRACT_BYTES_MAX);
  if ("fault" in json) return { complaint: json.fault };
  return read(new JsonFields(json.value), false);
}

export function encodeContract(contract: ContractEntry): Uint8Array {
  return canonicalJson(contractJson(contract));
}

export function contractJson(contract: ContractEntry): JsonObject {
  return {
    "sc-id": contract.scId,
    encryption_algo: contract.encryptionAlgo,
    hash_algo: contract.hashAlgo,
    quickmode: contract.quickmode,
    active: contract.active,
    "sc-lifetime": contract.scLifetime,
    lifetime: {
      keyregen: contract.keyregen,
      busytime: contract.busySeconds,
      idletime: contract.idleSeconds,
    },
    protection: contract.protection,
    generation: contract.generation,
    secret_commitment: contract.secretCommitment,
    scope: { ...contract.scope },
    seq: contract.seq,
  };
}

function read(fields: JsonFields, isByHand: boolean): ContractRead {
  const may = (name: string): boolean => !isByHand || fields.has(name);
  const quickmode = isByHand ? fields.paperBoolean("quickmode") : fields.boolean("quickmode");
  const lifetime = fields.object("lifetime");
  const contract: ContractEntry = {
    scId: fields.scId("sc-id"),
    encryptionAlgo: fields.oneOf("encryption_algo", CONTRACT_ALGORITHMS),
    hashAlgo: fields.oneOf("hash_algo", CONTRACT_HASHES),
    quickmode,
    active: readActive(fields, isByHand),
    scLifetime: fields.integer("sc-lifetime", 0, SECONDS_MAX) as EpochSeconds,
    keyregen: lifetime.integer("keyregen", 0, SECONDS_MAX) as EpochSeconds,
    busySeconds: lifetime.integer("busytime", 1, SECONDS_MAX),
    idleSeconds: lifetime.integer("idletime", 1, SECONDS_MAX),
    protection: may("protection")
      ? fields.oneOf("protection", CONTRACT_PROTECTIONS)
      : CONTRACT_PROTECTIONS[0],
    generation: may("generation") ? fields.integer("generation", 0, COUNT_MAX) : 0,
    secretCommitment: may("secret_commitment") ? fields.hash("secret_commitment") : NO_HASH,
    scope: may("scope") ? readScope(fields) : EVERYONE,
    seq: may("seq") ? fields.integer("seq", 0, COUNT_MAX) : 0,
  };
  fields.close(lifetime);
  fields.end();
  return fields.complaint === undefined ? { contract } : { complaint: fields.complaint };
}

/**
 * The canonical text of a contract for everyone: field after field in its order, with nothing that
 * could be written another way. 2 µs where the general readers need 10, for up to 1,024 a block.
 */
const USUAL = new RegExp(
  [
    '^{"active":(true|false|"expired")',
    `"encryption_algo":"(${CONTRACT_ALGORITHMS.join("|")})"`,
    '"generation":(0|[1-9][0-9]{0,9})',
    `"hash_algo":"(${CONTRACT_HASHES.join("|")})"`,
    '"lifetime":{"busytime":([1-9][0-9]{0,9})',
    '"idletime":([1-9][0-9]{0,9})',
    '"keyregen":(0|[1-9][0-9]{0,9})}',
    `"protection":"(${CONTRACT_PROTECTIONS.join("|")})"`,
    '"quickmode":(true|false)',
    '"sc-id":"([0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12})"',
    '"sc-lifetime":(0|[1-9][0-9]{0,9})',
    '"scope":{"agents":\\[\\],"applications":\\[\\],"groups":\\[\\]}',
    '"secret_commitment":"([0-9a-f]{64})"',
    '"seq":(0|[1-9][0-9]{0,9})}$',
  ].join(","),
);

/** Undefined for whatever is not so, or has a number outside its range. */
function readUsual(bytes: Uint8Array): ContractRead | undefined {
  if (bytes.length > CONTRACT_BYTES_MAX) return undefined;
  // Every byte a character: those above 127 match nothing.
  const match = USUAL.exec(latin1(bytes));
  if (match === null) return undefined;
  const contract: ContractEntry = {
    scId: match[10] as ScId,
    encryptionAlgo: match[2] as ContractEntry["encryptionAlgo"],
    hashAlgo: match[4] as ContractEntry["hashAlgo"],
    quickmode: match[9] === "true",
    active: match[1] === '"expired"' ? "expired" : match[1] === "true",
    scLifetime: Number(match[11]) as EpochSeconds,
    keyregen: Number(match[7]) as EpochSeconds,
    busySeconds: Number(match[5]),
    idleSeconds: Number(match[6]),
    protection: match[8] as ContractEntry["protection"],
    generation: Number(match[3]),
    secretCommitment: match[12] as Hash,
    scope: EVERYONE,
    seq: Number(match[13]),
  };
  const { scLifetime, keyregen, busySeconds, idleSeconds, generation, seq } = contract;
  const secondsMax = Math.max(scLifetime, keyregen, busySeconds, idleSeconds);
  const isInRange = secondsMax <= SECONDS_MAX && Math.max(generation, seq) <= COUNT_MAX;
  return isInRange ? { contract } : undefined;
}

function latin1(bytes: Uint8Array): string {
  return Buffer.prototype.latin1Slice.call(bytes, 0, bytes.length);
}

/** Shared with SC_UPDATE. */
export function readActive(fields: JsonFields, isByHand: boolean): ContractActive {
  if (fields.isText("active", "expired")) return fields.oneOf("active", ["expired"] as const);
  return isByHand ? fields.paperBoolean("active") : fields.boolean("active");
}

function readScope(fields: JsonFields): ContractScope {
  const part = fields.object("scope");
  const scope = {
    agents: part.sortedTexts("agents", SCOPE_ITEMS_MAX, SCOPE_CHARACTERS_MAX),
    applications: part.sortedTexts("applications", SCOPE_ITEMS_MAX, SCOPE_CHARACTERS_MAX),
    groups: part.sortedTexts("groups", SCOPE_ITEMS_MAX, SCOPE_CHARACTERS_MAX),
  };
  fields.close(part);
  return scope;
}

/** What pads a block's contracts: a kind of its own, which no agent reads as a contract. */
export function encodeDummy(chainId: ChainId, height: Height, index: number): Uint8Array {
  return canonicalJson({ kind: "dummy", "sc-id": dummyScId(chainId, height, index) });
}

/** Version 4 in form; from chain, height and index, so that everyone makes the same. */
export function dummyScId(chainId: ChainId, height: Height, index: number): ScId {
  const place = new DataView(new ArrayBuffer(12));
  place.setBigUint64(0, BigInt(height), false);
  place.setUint32(8, index, false);
  const seed = taggedBytes(TAG.dummy, bytesOf(chainId), new Uint8Array(place.buffer));
  const id = seed.slice(0, 16);
  id[6] = ((id[6] ?? 0) & 0x0f) | 0x40;
  id[8] = ((id[8] ?? 0) & 0x3f) | 0x80;
  const hex = id.toHex();
  const groups = [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20)];
  return `${groups.join("-")}-${hex.slice(20)}` as ScId;
}
