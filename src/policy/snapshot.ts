/**
 * The policy as the workers read it: typed arrays only, so that it can lie in shared memory.
 * compile.ts writes it, policy-view.ts reads it. "CSR" below means: list i of `items` is
 * items[starts[i] .. starts[i + 1]).
 *
 * The port index. For each direction (in, out) and protocol class (TCP, UDP, others) the port
 * space is cut into segments at every port named by a rule; a segment lists the rules that may
 * apply there ("narrow"), and one list per index holds the rules that apply everywhere ("wide").
 * An entry of a list is a rule and its filter: what keeps most others from being looked at.
 */

import { AbsError } from "../errors.ts";

export const PORT_CLASS_TCP = 0;
export const PORT_CLASS_UDP = 1;
export const PORT_CLASS_OTHER = 2;
export const PORT_CLASSES = 3;

/** `ruleApp` of a rule that names no application. */
export const APP_ANY = 0xffff_ffff;

export const PARTY_ANY = 0;
export const PARTY_PEERS = 1;
export const PARTY_CIDR = 2;

/** Words of an entry of a rule list: rule, filter. */
export const ENTRY_WORDS = 2;
/** A filter's bits 0-15: bit p & 15 for each peer p that the rule's other end may be. */
export const FILTER_PEERS = 0xffff;
/** Bit 16: the other end may be nobody of the tenant. */
export const FILTER_OUTSIDE = 1 << 16;
/** Bits 20-31: the tag that the rule names, or FILTER_APP_ANY. */
export const FILTER_APP_SHIFT = 20;
export const FILTER_APP_ANY = 0xfff;

export const PORT_TABLE_WORDS = 65_536;
/** In a table: a list that its word cannot say. */
export const LIST_SEARCHED = 0xffff_ffff;
export const LIST_ENTRIES_MAX = 0xfe;
export const LIST_START_MAX = 0xff_ffff;

/** Words of one protocol set: a bit for each of 256 protocols. */
export const PROTOCOL_SET_WORDS = 8;

export const SETTING_OWN_QUICK = 0;
export const SETTING_STAGE = 1;
export const SETTING_REFUSE = 2;
export const SETTING_INBOUND = 3;
export const SETTING_OUTBOUND = 4;
export const SETTING_NON_INTER_VM = 5;
/** Bit i: EXCEPTION_NAMES[i] is allowed. */
export const SETTING_EXCEPTIONS = 6;
/** Number of tags, the zero tag included. */
export const SETTING_TAGS = 7;
export const SETTING_PEERS = 8;
export const SETTING_PEER_SET_WORDS = 9;
export const SETTINGS = 10;

export type PolicySnapshot = {
  settings: Uint32Array;
  /** [0] midstream of the defaults: UTC seconds, 0 never, Infinity always. */
  defaultTimes: Float64Array;
  /** 1 for each peer in quick mode. */
  peerQuick: Uint8Array;

  ruleAction: Uint8Array;
  ruleServerFirst: Uint8Array;
  ruleStage: Uint8Array;
  ruleRefuse: Uint8Array;
  ruleReturnIdentify: Uint8Array;
  ruleMidstreamUntil: Float64Array;
  /** Contract requirement + 1; 0 means none. */
  ruleContract: Uint32Array;
  /** Tag index, or APP_ANY. */
  ruleApp: Uint32Array;
  ruleParty: Uint8Array;
  /** PARTY_PEERS: which row of `peerSets`. */
  rulePeerSet: Uint32Array;
  /** PARTY_CIDR: CSR over `ranges`, counted in ranges (src/wire/address-range.ts). */
  ruleRangeStart: Uint32Array;
  ranges: Uint32Array;
  /** Which row of `protocolSets`. */
  ruleProtocolSet: Uint32Array;
  /** CSR over `ports`, each low << 16 | high; an empty list is any port. */
  rulePortStart: Uint32Array;
  ports: Uint32Array;

  peerSets: Uint32Array;
  protocolSets: Uint32Array;
  /** Ranges of other tenants, RANGE_WORDS each. */
  otherTenants: Uint32Array;

  /** Port index (direction * PORT_CLASSES + class): CSR over `segmentPort`. */
  indexSegmentStart: Uint32Array;
  /** First port of each segment, ascending; the first segment of an index begins at 0. */
  segmentPort: Uint32Array;
  /** Port index: where its table begins in `portLists`, + 1; 0: search `segmentPort`. */
  indexTable: Uint32Array;
  /** Tables of a word a port: its list's first entry << 8 | entries, or LIST_SEARCHED. */
  portLists: Uint32Array;
  /** CSR over `segmentRules` in entries of ENTRY_WORDS, one list a segment. */
  segmentRuleStart: Uint32Array;
  segmentRules: Uint32Array;
  /** CSR over `wideRules` in entries of ENTRY_WORDS, one list an index. */
  indexWideStart: Uint32Array;
  wideRules: Uint32Array;
};

type SnapshotField = Uint8Array | Uint32Array | Float64Array;

const FLOAT_FIELDS = ["defaultTimes", "ruleMidstreamUntil"] as const;
const BYTE_FIELDS = [
  "peerQuick",
  "ruleAction",
  "ruleServerFirst",
  "ruleStage",
  "ruleRefuse",
  "ruleReturnIdentify",
  "ruleParty",
] as const;

/** The snapshot whose fields another thread packed; a missing or mistyped field is refused. */
export function policySnapshotFrom(
  fields: Readonly<Record<string, SnapshotField>>,
): PolicySnapshot {
  const word = (name: string) => wordField(fields, name);
  return {
    settings: word("settings"),
    ...floatFields(fields),
    ...byteFields(fields),
    ruleContract: word("ruleContract"),
    ruleApp: word("ruleApp"),
    rulePeerSet: word("rulePeerSet"),
    ruleRangeStart: word("ruleRangeStart"),
    ranges: word("ranges"),
    ruleProtocolSet: word("ruleProtocolSet"),
    rulePortStart: word("rulePortStart"),
    ports: word("ports"),
    peerSets: word("peerSets"),
    protocolSets: word("protocolSets"),
    otherTenants: word("otherTenants"),
    indexSegmentStart: word("indexSegmentStart"),
    segmentPort: word("segmentPort"),
    indexTable: word("indexTable"),
    portLists: word("portLists"),
    segmentRuleStart: word("segmentRuleStart"),
    segmentRules: word("segmentRules"),
    indexWideStart: word("indexWideStart"),
    wideRules: word("wideRules"),
  };
}

function wordField(fields: Readonly<Record<string, SnapshotField>>, name: string): Uint32Array {
  const field = fields[name];
  if (field instanceof Uint32Array) return field;
  throw malformed(name);
}

function floatFields(fields: Readonly<Record<string, SnapshotField>>) {
  const found: Partial<Record<(typeof FLOAT_FIELDS)[number], Float64Array>> = {};
  for (const name of FLOAT_FIELDS) {
    const field = fields[name];
    if (!(field instanceof Float64Array)) throw malformed(name);
    found[name] = field;
  }
  return found as Record<(typeof FLOAT_FIELDS)[number], Float64Array>;
}

function byteFields(fields: Readonly<Record<string, SnapshotField>>) {
  const found: Partial<Record<(typeof BYTE_FIELDS)[number], Uint8Array>> = {};
  for (const name of BYTE_FIELDS) {
    const field = fields[name];
    if (!(field instanceof Uint8Array)) throw malformed(name);
    found[name] = field;
  }
  return found as Record<(typeof BYTE_FIELDS)[number], Uint8Array>;
}

function malformed(name: string): AbsError {
  const message = `The policy snapshot has no usable field "${name}".`;
  return new AbsError("SNAPSHOT_MALFORMED", message, "Restart the agent: its threads disagree.");
}
