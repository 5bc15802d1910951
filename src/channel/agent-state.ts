/**
 * All that an agent needs, as the manager hands it over: WELCOME of an enrolment and STATE of an
 * update. docs/manager-channel.md "State". Paper §3.6: "its tenant tag, information about its
 * neighbouring agents (IP address and trust level), populating its SCD".
 */
import {
  canonicalJson,
  isObject,
  type JsonObject,
  type JsonValue,
  withKeptText,
} from "../chain/canonical-json.ts";
import { type ContractEntry, contractJson, decodeContract } from "../chain/contract-entry.ts";
import {
  readSignedCertificate,
  type SignedCertificate,
  signedCertificateJson,
} from "../chain/identity-certificate.ts";
import { JsonFields } from "../chain/json-fields.ts";
import { BLINDING_BYTES } from "../chain/signature-entry.ts";
import type { DeliveredSignature } from "./appdb-file.ts";
import { KnownCertificates } from "./known-certificates.ts";
import { NAME_CHARACTERS_MAX } from "./message-reading.ts";
import {
  keptMarkOf,
  type Marks,
  markOf,
  readMarks,
  SECTIONS,
  type Section,
} from "./state-sections.ts";

export const TAG_BYTES = 16;
const KEY_BYTES = 32;
const MODES = ["full", "quick"] as const;
const STAGES = ["enforce", "observe", "warn"] as const;
const NODES_MAX = 4096;
const KNOWN_MAX = 20_000;
const TAGS_MAX = 4095;
const CONTRACTS_MAX = 4096;
const SIGNATURES_MAX = 65_000;
const GENERATIONS_MAX = 16;
/** A private key, if any, follows the 32 bytes of the pre-shared key. */
const SECRET_BYTES_MAX = 2048;
const LIST_MAX = 64;
const DOCUMENT_CHARACTERS_MAX = 1024 * 1024;
const GENESIS_BYTES_MAX = 1024 * 1024;
const COUNT_MAX = 2 ** 32 - 1;

/** What is said of every agent; IP addresses, carrier and keys are in its certificate. */
export type AgentWords = {
  readonly name: string;
  readonly mode: (typeof MODES)[number];
  readonly groups: readonly string[];
  readonly tags: readonly string[];
  readonly macs: readonly string[];
  readonly certificate: SignedCertificate;
  /**
   * Its session key before that of the certificate, hexadecimal, while not all know the newer: its
   * neighbours take both, and it begins with this one.
   */
  readonly sessionOld?: string;
};
export type OwnWords = AgentWords & { readonly stage: (typeof STAGES)[number] };
export type NeighbourWords = AgentWords & {
  readonly trustLevel: number;
  /** Its traffic is dropped (docs/manager.md "Quarantine"). */
  readonly isQuarantined: boolean;
};

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
  /** As it was applied: YAML or JSON. */
  readonly policy: string;
  /** Of the applications that this VM hosts, published. */
  readonly signatures: readonly DeliveredSignature[];
};

/** A state, and the marks of its sections where the manager has named them. */
export type MarkedState = { readonly state: AgentState; readonly marks: Marks };

const SECTION_JSON: { readonly [S in Section]: (value: AgentState[S]) => JsonValue } = {
  contracts: (contracts) =>
    contracts.map(({ entry, secrets }) => ({
      entry: contractJson(entry),
      secrets: secrets.map(({ generation, secret }) => ({ generation, secret: secret.toHex() })),
    })),
  known: (known) => ({ ...known }),
  ledger: ({ genesis, master }) => ({
    ...{ genesis: genesis.toHex(), master: signedCertificateJson(master) },
  }),
  neighbours: (list) => list.map(neighbourJson),
  policy: (policy) => policy,
  signatures: (signatures) =>
    signatures.map(({ contents, blinding }) => ({ contents, blinding: blinding.toHex() })),
  tags: (tags) => tags.map(tagJson),
};

/**
 * A state as it is sent.
 * @param have what its agent has already and need not be sent; undefined: it takes whole ones only
 */
export function stateJson(state: AgentState, have?: Marks): JsonObject {
  const { own } = state;
  const marks = have === undefined ? undefined : marksOf(state);
  const sections = SECTIONS.filter((name) => marks === undefined || marks[name] !== have?.[name]);
  return {
    version: state.version,
    own: { ...agentJson(own), stage: own.stage },
    tenant: tagJson(state.tenant),
    carriers: { ip_protocol: state.ipProtocol, udp_port: state.udpPort },
    ...Object.fromEntries(sections.map((name) => [name, sectionJson(state, name)])),
    ...(marks === undefined ? {} : { marks }),
  };
}

function sectionJson<S extends Section>(state: AgentState, name: S): JsonValue {
  return SECTION_JSON[name](state[name]);
}

/** A neighbour is in the sections of all others: its own mark is made once. */
function marksOf(state: AgentState): { readonly [S in Section]: string } {
  const { neighbours, policy, contracts } = state;
  const shared = (name: "known" | "ledger" | "signatures" | "tags") =>
    keptMarkOf(state[name], () => sectionJson(state, name));
  return {
    contracts: markOf(SECTION_JSON.contracts(contracts)),
    known: shared("known"),
    ledger: shared("ledger"),
    neighbours: markOf(neighbours.map((one) => keptMarkOf(one, () => neighbourJson(one)))),
    policy: markOf(policy),
    signatures: shared("signatures"),
    tags: shared("tags"),
  };
}

/** Of words that were written before: a neighbour is in the states of all others. */
const neighbourTexts = new WeakMap<NeighbourWords, JsonObject>();

function neighbourJson(words: NeighbourWords): JsonObject {
  const known = neighbourTexts.get(words);
  if (known !== undefined) return known;
  const json = withKeptText({
    ...{ ...agentJson(words), trust_level: words.trustLevel },
    // Left out where it is not so: agents of before take it as it was.
    ...(words.isQuarantined ? { quarantined: true } : {}),
  });
  neighbourTexts.set(words, json);
  return json;
}

function agentJson({ certificate, sessionOld, ...words }: AgentWords): JsonObject {
  const { name, mode, groups, tags, macs } = words;
  return {
    ...{ name, mode, groups, tags, macs, certificate: signedCertificateJson(certificate) },
    ...(sessionOld === undefined ? {} : { session_old: sessionOld }),
  };
}

function tagJson({ name, tag }: StateTag): JsonObject {
  return { name, tag: tag.toHex() };
}

/** A whole one. @param known what this agent has read before */
export function readState(fields: JsonFields, known = new KnownCertificates()): AgentState {
  return readMarkedState(fields, known).state;
}

/** @param base the state before: the sections of it that have still the same marks are left out */
export function readMarkedState(
  fields: JsonFields,
  known: KnownCertificates,
  base?: MarkedState,
): MarkedState {
  const marks = fields.has("marks") ? readMarks(fields, "marks") : {};
  const section = <S extends Section>(name: S, read: () => AgentState[S]): AgentState[S] => {
    const isSame = marks[name] !== undefined && marks[name] === base?.marks[name];
    return base !== undefined && isSame && !fields.has(name) ? base.state[name] : read();
  };
  const own = fields.object("own");
  const tenant = fields.object("tenant");
  const carriers = fields.object("carriers");
  const state: AgentState = {
    version: fields.integer("version", 1, COUNT_MAX),
    own: { ...readAgent(own, known), stage: own.oneOf("stage", STAGES) },
    tenant: readTag(tenant),
    ipProtocol: carriers.integer("ip_protocol", 146, 254),
    udpPort: carriers.integer("udp_port", 1, 65_535),
    tags: section("tags", () => readEach(fields, "tags", TAGS_MAX, readTag)),
    neighbours: section("neighbours", () =>
      readEach(fields, "neighbours", NODES_MAX, (part) => readNeighbour(part, known)),
    ),
    contracts: section("contracts", () =>
      readEach(fields, "contracts", CONTRACTS_MAX, readContract),
    ),
    ledger: section("ledger", () => readLedger(fields, known)),
    known: section("known", () => readKnown(fields)),
    policy: section("policy", () => fields.text("policy", DOCUMENT_CHARACTERS_MAX)),
    signatures: section("signatures", () =>
      readEach(fields, "signatures", SIGNATURES_MAX, readSignature),
    ),
  };
  for (const part of [own, tenant, carriers]) fields.close(part);
  return { state, marks };
}

function readNeighbour(fields: JsonFields, known: KnownCertificates): NeighbourWords {
  const trustLevel = fields.integer("trust_level", 0, 100);
  const isQuarantined = fields.has("quarantined") && fields.boolean("quarantined");
  return { ...readAgent(fields, known), trustLevel, isQuarantined };
}

function readLedger(fields: JsonFields, known: KnownCertificates): StateLedger {
  const part = fields.object("ledger");
  const genesis = part.bytes("genesis", GENESIS_BYTES_MAX);
  const master = readCertificate(part, "master", known);
  fields.close(part);
  return { genesis, master };
}

function readKnown(fields: JsonFields): AgentState["known"] {
  const part = fields.object("known");
  const agents = part.sortedTexts("agents", KNOWN_MAX, NAME_CHARACTERS_MAX);
  const groups = part.sortedTexts("groups", KNOWN_MAX, NAME_CHARACTERS_MAX);
  fields.close(part);
  return { agents, groups };
}

function readAgent(fields: JsonFields, known: KnownCertificates): AgentWords {
  return {
    name: fields.text("name", NAME_CHARACTERS_MAX),
    mode: fields.oneOf("mode", MODES),
    groups: fields.sortedTexts("groups", LIST_MAX, NAME_CHARACTERS_MAX),
    tags: fields.sortedTexts("tags", LIST_MAX, NAME_CHARACTERS_MAX),
    macs: fields.sortedTexts("macs", LIST_MAX, NAME_CHARACTERS_MAX),
    certificate: readCertificate(fields, "certificate", known),
    ...(fields.has("session_old") && { sessionOld: fields.hex("session_old", KEY_BYTES) }),
  };
}

function readCertificate(
  fields: JsonFields,
  name: string,
  known: KnownCertificates,
): SignedCertificate {
  let complaint = "is no certificate";
  const signed = known.take(jsonOf(fields, name), (value) => {
    const part = new JsonFields(value);
    const read = readSignedCertificate(part);
    part.end();
    complaint = part.complaint ?? complaint;
    return part.complaint === undefined ? read : undefined;
  });
  if (signed !== undefined) return signed;
  fields.complain(name, complaint);
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

/** What contents mean is judged with the rest of the folder, before it takes effect. */
function readSignature(fields: JsonFields): DeliveredSignature {
  const contents = jsonOf(fields, "contents");
  if (!isObject(contents)) fields.complain("contents", "must be an object");
  const blinding = Uint8Array.fromHex(fields.hex("blinding", BLINDING_BYTES));
  return { contents: isObject(contents) ? contents : {}, blinding };
}

/** A member that has a reader of its own. */
function jsonOf(fields: JsonFields, name: string): JsonValue {
  return fields.value(name) ?? "";
}
