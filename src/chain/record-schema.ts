/**
 * Records as canonical JSON: docs/ledger.md "Records". Reading gives the record or a complaint with
 * the path of the field; writing gives the bytes that are hashed.
 */
import type { EpochSeconds } from "../units.ts";
import { RECORD_BYTES_MAX } from "./block.ts";
import { canonicalJson, type JsonObject, parseCanonical } from "./canonical-json.ts";
import { readActive } from "./contract-entry.ts";
import type { LedgerParams } from "./genesis.ts";
import { JsonFields } from "./json-fields.ts";
import { COMMITTEE_MAX, type NodeId, type Term } from "./ledger-units.ts";
import type { Stake } from "./member.ts";
import { EVIDENCE_PART_BYTES_MAX } from "./message-bodies.ts";
import {
  type LedgerRecord,
  type RecordKind,
  SIGNATURE_STATUSES,
  TNL_LINES_MAX,
} from "./record-types.ts";
import { readStake, stakeJson } from "./stake.ts";

export type RecordRead = { readonly record: LedgerRecord } | { readonly complaint: string };

export const RECORD_KINDS = [
  "EVIDENCE",
  "KEY_ROTATE",
  "MASTER_TERM",
  "NODE_ADD",
  "NODE_REVOKE",
  "PARAMS",
  "SC_UPDATE",
  "SIGNATURE",
  "TNL",
] as const satisfies readonly RecordKind[];

const COUNT_MAX = 2 ** 32 - 1;
const SECONDS_MAX = 2 ** 33;
const REASON_CHARACTERS_MAX = 200;
const NAME_CHARACTERS_MAX = 128;

export function encodeRecord(record: LedgerRecord): Uint8Array {
  return canonicalJson(recordJson(record));
}

export function decodeRecord(bytes: Uint8Array): RecordRead {
  const json = parseCanonical(bytes, RECORD_BYTES_MAX);
  if ("fault" in json) return { complaint: json.fault };
  const fields = new JsonFields(json.value);
  const kind = fields.oneOf("kind", RECORD_KINDS);
  const record = READERS[kind](fields);
  fields.end();
  return fields.complaint === undefined ? { record } : { complaint: fields.complaint };
}

const READERS: { readonly [Kind in RecordKind]: (fields: JsonFields) => LedgerRecord } = {
  SC_UPDATE: (fields) => ({
    kind: "SC_UPDATE",
    scId: fields.scId("sc-id"),
    seq: fields.integer("seq", 1, COUNT_MAX),
    active: readActive(fields, false),
    generation: fields.integer("generation", 1, COUNT_MAX),
    secretCommitment: fields.hash("secret_commitment"),
    keyregen: fields.integer("keyregen", 0, SECONDS_MAX) as EpochSeconds,
  }),
  NODE_ADD: (fields) => ({
    kind: "NODE_ADD",
    nodeId: fields.nodeId("node_id"),
    ledgerPub: fields.publicKey("ledger_pub"),
    vrfPub: fields.vrfKey("vrf_pub"),
    certificate: fields.hash("certificate"),
    possession: fields.signature("possession"),
  }),
  NODE_REVOKE: (fields) => ({
    kind: "NODE_REVOKE",
    nodeId: fields.nodeId("node_id"),
    reason: fields.text("reason", REASON_CHARACTERS_MAX),
  }),
  KEY_ROTATE: (fields) => ({
    kind: "KEY_ROTATE",
    nodeId: fields.nodeId("node_id"),
    seq: fields.integer("seq", 1, COUNT_MAX),
    ledgerPub: fields.publicKey("ledger_pub"),
    vrfPub: fields.vrfKey("vrf_pub"),
    certificate: fields.hash("certificate"),
    oldSignature: fields.signature("old_signature"),
    newSignature: fields.signature("new_signature"),
  }),
  TNL: readTnl,
  SIGNATURE: (fields) => ({
    kind: "SIGNATURE",
    signatureId: fields.text("signature_id", NAME_CHARACTERS_MAX),
    seq: fields.integer("seq", 1, COUNT_MAX),
    version: fields.integer("version", 0, COUNT_MAX),
    status: fields.oneOf("status", SIGNATURE_STATUSES),
    commitment: fields.hash("commitment"),
  }),
  EVIDENCE: (fields) => ({
    kind: "EVIDENCE",
    evidence: {
      first: fields.bytes("first", EVIDENCE_PART_BYTES_MAX),
      second: fields.bytes("second", EVIDENCE_PART_BYTES_MAX),
    },
  }),
  MASTER_TERM: (fields) => ({
    kind: "MASTER_TERM",
    term: fields.integer("term", 2, COUNT_MAX) as Term,
    masterPub: fields.publicKey("master_pub"),
    signature: fields.signature("signature"),
  }),
  PARAMS: (fields) => ({
    kind: "PARAMS",
    seq: fields.integer("seq", 1, COUNT_MAX),
    params: readParams(fields, "params"),
  }),
};

function readTnl(fields: JsonFields): LedgerRecord {
  const set: Stake[] = [];
  for (const line of fields.list("set", TNL_LINES_MAX)) {
    const part = new JsonFields(line, "set");
    set.push(readStake(part));
    fields.close(part);
  }
  const isSorted = set.every((stake, i) => i === 0 || (set[i - 1]?.nodeId ?? "") < stake.nodeId);
  if (!isSorted) fields.complain("set", "must ascend by node_id");
  const remove = fields.sortedTexts("remove", TNL_LINES_MAX, 32);
  const areIds = remove.every((text) => /^[0-9a-f]{32}$/.test(text));
  if (!areIds) fields.complain("remove", "must be node ids");
  return { kind: "TNL", set, remove: remove as NodeId[] };
}

/** Shared with the genesis file. */
export function readParams(fields: JsonFields, name: string): LedgerParams {
  const part = fields.object(name);
  const params: LedgerParams = {
    committeeMax: part.integer("committee_max", 1, COMMITTEE_MAX),
    coolDownBlocks: part.integer("cool_down_blocks", 0, 1000),
    viewTimeoutMs: part.integer("view_timeout_ms", 10, 60_000),
    viewTimeoutMaxMs: part.integer("view_timeout_max_ms", 10, 600_000),
    clockWindowSeconds: part.integer("clock_window", 1, 86_400),
  };
  fields.close(part);
  return params;
}

export function paramsJson(params: LedgerParams): JsonObject {
  return {
    committee_max: params.committeeMax,
    cool_down_blocks: params.coolDownBlocks,
    view_timeout_ms: params.viewTimeoutMs,
    view_timeout_max_ms: params.viewTimeoutMaxMs,
    clock_window: params.clockWindowSeconds,
  };
}

export function recordJson(record: LedgerRecord): JsonObject {
  const { kind } = record;
  switch (kind) {
    case "SC_UPDATE":
      return {
        kind,
        "sc-id": record.scId,
        seq: record.seq,
        active: record.active,
        generation: record.generation,
        secret_commitment: record.secretCommitment,
        keyregen: record.keyregen,
      };
    case "NODE_ADD":
      return {
        kind,
        node_id: record.nodeId,
        ledger_pub: record.ledgerPub,
        vrf_pub: record.vrfPub,
        certificate: record.certificate,
        possession: record.possession.toHex(),
      };
    case "NODE_REVOKE":
      return { kind, node_id: record.nodeId, reason: record.reason };
    case "KEY_ROTATE":
      return {
        kind,
        node_id: record.nodeId,
        seq: record.seq,
        ledger_pub: record.ledgerPub,
        vrf_pub: record.vrfPub,
        certificate: record.certificate,
        old_signature: record.oldSignature.toHex(),
        new_signature: record.newSignature.toHex(),
      };
    default:
      return rareRecordJson(record);
  }
}

function rareRecordJson(
  record: Exclude<LedgerRecord, { kind: "SC_UPDATE" | "NODE_ADD" | "NODE_REVOKE" | "KEY_ROTATE" }>,
): JsonObject {
  const { kind } = record;
  switch (kind) {
    case "TNL":
      return { kind, set: record.set.map(stakeJson), remove: record.remove };
    case "SIGNATURE":
      return {
        kind,
        signature_id: record.signatureId,
        seq: record.seq,
        version: record.version,
        status: record.status,
        commitment: record.commitment,
      };
    case "EVIDENCE": {
      const { first, second } = record.evidence;
      return { kind, first: first.toHex(), second: second.toHex() };
    }
    case "MASTER_TERM":
      return {
        kind,
        term: record.term,
        master_pub: record.masterPub,
        signature: record.signature.toHex(),
      };
    case "PARAMS":
      return { kind, seq: record.seq, params: paramsJson(record.params) };
  }
}
