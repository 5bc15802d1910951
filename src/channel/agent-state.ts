/**
 * All that an agent needs, as the manager hands it over: WELCOME of an enrolment and STATE of an
 * update. docs/manager-channel.md "State". Paper §3.6: "its tenant tag, information about its
 * neighbouring agents (IP address and trust level), populating its SCD".
 */
import { canonicalJson, type JsonObject, type JsonValue } from "../chain/canonical-json.ts";
import { type ContractEntry, contractJson, decodeContract } from "../chain/contract-entry.ts";
import {
  decodeSignedCertificate,
  type SignedCertificate,
  signedCertificateJson,
} from "../chain/identity-certificate.ts";
import { JsonFields } from "../chain/json-fields.ts";
import { NAME_CHARACTERS_MAX } from "./message-reading.ts";

export const TAG_BYTES = 16;
const MODES = ["full", "quick"] as const;
const STAGES = ["enforce", "observe", "warn"] as const;
const NODES_MAX = 4096;
const KNOWN_MAX = 20_000;
const TAGS_MAX = 4095;
const CONTRACTS_MAX = 4096;
const GENERATIONS_MAX = 16;
/** A private key, if any, follows the 32 bytes of the pre-shared key. */
const SECRET_BYTES_MAX = 2048;
const LIST_MAX = 64;
const DOCUMENT_CHARACTERS_MAX = 1024 * 1024;
const GENESIS_BYTES_MAX = 1024 * 1024;
const COUNT_MAX = 2 ** 32 - 1;

/** What is said of every agent; addresses, carrier and keys are in its certificate. */
export type AgentWords = {
  readonly name: string;
  readonly mode: (typeof MODES)[number];
  readonly groups: readonly string[];
  readonly tags: readonly string[];
  readonly certificate: SignedCertificate;
};
export type OwnWords = AgentWords & { readonly stage: (typeof STAGES)[number] };
export type NeighbourWords = AgentWords & { readonly trustLevel: number };

export type StateTag = { readonly name: string; readonly tag: Uint8Array };
export type StateContract = {
  readonly entry: ContractEntry;
  readonly secrets: readonly { readonly generation: number; readonly secret: Uint8Array }[];
};

/** The tenant's ledger: how it begins, and its master's certificate. */
export type StateLedger = { readonly genesis: Uint8Array; readonly master: SignedCertificate };

export type AgentState = {
  /** Of the tenant; counts up. */
  readonly version: number;
  readonly own: OwnWords;
  readonly tenant: StateTag;
  readonly ipProtocol: number;
  readonly udpPort: number;
  readonly tags: readonly StateTag[];
  readonly neighbours: readonly NeighbourWords[];
  readonly contracts: readonly StateContract[];
  readonly ledger: StateLedger;
  /** Of all agents that ever were or are invited: the policy may name them. Ascending. */
  readonly known: { readonly agents: readonly string[]; readonly groups: readonly string[] };
  /** Documents as they were applied: YAML or JSON. */
  readonly policy: string;
  readonly signatures: string;
};

export function stateJson(state: AgentState): JsonObject {
  const { own } = state;
  return {
    version: state.version,
    own: { ...agentJson(own), stage: own.stage },
    tenant: tagJson(state.tenant),
    carriers: { ip_protocol: state.ipProtocol, udp_port: state.udpPort },
    tags: state.tags.map(tagJson),
    neighbours: state.neighbours.map((words) => ({
      ...agentJson(words),
      trust_level: words.trustLevel,
    })),
    contracts: state.contracts.map(({ entry, secrets }) => ({
      entry: contractJson(entry),
      secrets: secrets.map(({ generation, secret }) => ({ generation, secret: secret.toHex() })),
    })),
    ledger: {
      genesis: state.ledger.genesis.toHex(),
      master: signedCertificateJson(state.ledger.master),
    },
    known: { ...state.known },
    policy: state.policy,
    signatures: state.signatures,
  };
}

function agentJson({ name, mode, groups, tags, certificate }: AgentWords): JsonObject {
  return { name, mode, groups, tags, certificate: signedCertificateJson(certificate) };
}

function tagJson({ name, tag }: StateTag): JsonObject {
  return { name, tag: tag.toHex() };
}

export function readState(fields: JsonFields): AgentState {
  const own = fields.object("own");
  const tenant = fields.object("tenant");
  const carriers = fields.object("carriers");
  const ledger = fields.object("ledger");
  const known = fields.object("known");
  const state: AgentState = {
    version: fields.integer("version", 1, COUNT_MAX),
    own: { ...readAgent(own), stage: own.oneOf("stage", STAGES) },
    tenant: readTag(tenant),
    ipProtocol: carriers.integer("ip_protocol", 146, 254),
    udpPort: carriers.integer("udp_port", 1, 65_535),
    tags: readEach(fields, "tags", TAGS_MAX, readTag),
    neighbours: readEach(fields, "neighbours", NODES_MAX, (part) => {
      return { ...readAgent(part), trustLevel: part.integer("trust_level", 0, 100) };
    }),
    contracts: readEach(fields, "contracts", CONTRACTS_MAX, readContract),
    ledger: {
      genesis: ledger.bytes("genesis", GENESIS_BYTES_MAX),
      master: readCertificate(ledger, "master"),
    },
    known: {
      agents: known.sortedTexts("agents", KNOWN_MAX, NAME_CHARACTERS_MAX),
      groups: known.sortedTexts("groups", KNOWN_MAX, NAME_CHARACTERS_MAX),
    },
    policy: fields.text("policy", DOCUMENT_CHARACTERS_MAX),
    signatures: readList(fields, "signatures"),
  };
  for (const part of [own, tenant, carriers, ledger, known]) fields.close(part);
  return state;
}

function readAgent(fields: JsonFields): AgentWords {
  return {
    name: fields.text("name", NAME_CHARACTERS_MAX),
    mode: fields.oneOf("mode", MODES),
    groups: fields.sortedTexts("groups", LIST_MAX, NAME_CHARACTERS_MAX),
    tags: fields.sortedTexts("tags", LIST_MAX, NAME_CHARACTERS_MAX),
    certificate: readCertificate(fields, "certificate"),
  };
}

function readCertificate(fields: JsonFields, name: string): SignedCertificate {
  const value = jsonOf(fields, name);
  const read = decodeSignedCertificate(canonicalJson(value));
  if ("signed" in read) return read.signed;
  fields.complain(name, read.complaint);
  return undefined as never; // nobody uses what has a complaint
}

function readTag(fields: JsonFields): StateTag {
  const name = fields.text("name", NAME_CHARACTERS_MAX);
  return { name, tag: Uint8Array.fromHex(fields.hex("tag", TAG_BYTES)) };
}

function readContract(fields: JsonFields): StateContract {
  const read = decodeContract(canonicalJson(jsonOf(fields, "entry")));
  if ("complaint" in read) fields.complain("entry", read.complaint);
  const secrets = readEach(fields, "secrets", GENERATIONS_MAX, (part) => ({
    generation: part.integer("generation", 1, COUNT_MAX),
    secret: part.bytes("secret", SECRET_BYTES_MAX),
  }));
  return { entry: "contract" in read ? read.contract : (undefined as never), secrets };
}

function readEach<T>(
  fields: JsonFields,
  name: string,
  countMax: number,
  read: (part: JsonFields) => T,
): T[] {
  return fields.list(name, countMax).map((value, i) => {
    const part = new JsonFields(value, `${name}[${i}]`);
    const item = read(part);
    part.end();
    if (part.complaint !== undefined) fields.complaint ??= part.complaint;
    return item;
  });
}

/** The text of a JSON list. */
function readList(fields: JsonFields, name: string): string {
  const text = fields.text(name, DOCUMENT_CHARACTERS_MAX);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined; // the complaint below says it
  }
  if (!Array.isArray(value)) fields.complain(name, "must be a JSON list");
  return text;
}

/** A member that has a reader of its own. */
function jsonOf(fields: JsonFields, name: string): JsonValue {
  return fields.value(name) ?? "";
}
