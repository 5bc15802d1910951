/**
 * Records: what a block holds beside contracts. docs/ledger.md "Records" has a table of fields
 * each. Only shapes and the order of records in a block; record-schema.ts reads and writes them,
 * apply-records.ts says what they do.
 */
import type { EpochSeconds } from "../units.ts";
import type { ContractActive } from "./contract-entry.ts";
import type { LedgerParams } from "./genesis.ts";
import type {
  Hash,
  NodeId,
  PublicKey,
  ScId,
  Signature,
  Term,
  VrfPublicKey,
} from "./ledger-units.ts";
import type { Stake } from "./member.ts";
import type { Evidence } from "./message-types.ts";

/** Regeneration, activation, deactivation, expiry of a contract of an earlier block. */
export type ScUpdateRecord = {
  readonly kind: "SC_UPDATE";
  readonly scId: ScId;
  /** One more than the contract's. */
  readonly seq: number;
  readonly active: ContractActive;
  readonly generation: number;
  readonly secretCommitment: Hash;
  readonly keyregen: EpochSeconds;
};

export type NodeAddRecord = {
  readonly kind: "NODE_ADD";
  readonly nodeId: NodeId;
  readonly ledgerPub: PublicKey;
  readonly vrfPub: VrfPublicKey;
  /** SHA-256 of the canonical identity certificate. */
  readonly certificate: Hash;
  /** By the ledger key over what is registered. */
  readonly possession: Signature;
};

export type NodeRevokeRecord = {
  readonly kind: "NODE_REVOKE";
  readonly nodeId: NodeId;
  readonly reason: string;
};

/** New keys, or the same with a renewed certificate. */
export type KeyRotateRecord = {
  readonly kind: "KEY_ROTATE";
  readonly nodeId: NodeId;
  readonly seq: number;
  readonly ledgerPub: PublicKey;
  readonly vrfPub: VrfPublicKey;
  readonly certificate: Hash;
  readonly oldSignature: Signature;
  readonly newSignature: Signature;
};

/** Changes of the Trusted Nodes List. */
export type TnlRecord = {
  readonly kind: "TNL";
  readonly set: readonly Stake[];
  readonly remove: readonly NodeId[];
};

/** As Fig. 10's status; decommissioned is for good. */
export const SIGNATURE_STATUSES = ["published", "disabled", "decommissioned"] as const;
export type SignatureStatus = (typeof SIGNATURE_STATUSES)[number];

/** What the ledger says of an application signature: never what is in it. */
export type SignatureRecord = {
  readonly kind: "SIGNATURE";
  readonly signatureId: string;
  readonly seq: number;
  /** That of the contents. */
  readonly version: number;
  readonly status: SignatureStatus;
  /** Blinded: signature-entry.ts. */
  readonly commitment: Hash;
};

export type EvidenceRecord = { readonly kind: "EVIDENCE"; readonly evidence: Evidence };

export type MasterTermRecord = {
  readonly kind: "MASTER_TERM";
  readonly term: Term;
  readonly masterPub: PublicKey;
  /** The recovery key's, of the MASTER_TERM message of these words. */
  readonly signature: Signature;
};

export type ParamsRecord = {
  readonly kind: "PARAMS";
  readonly seq: number;
  readonly params: LedgerParams;
};

export type LedgerRecord =
  | EvidenceRecord
  | KeyRotateRecord
  | MasterTermRecord
  | NodeAddRecord
  | NodeRevokeRecord
  | ParamsRecord
  | ScUpdateRecord
  | SignatureRecord
  | TnlRecord;
export type RecordKind = LedgerRecord["kind"];

/** Lines of one TNL record: 256 of them stay far below RECORD_BYTES_MAX. */
export const TNL_LINES_MAX = 256;

/** Kind and subject. Records of a block ascend by it, so one subject changes once a block. */
export function recordId(record: LedgerRecord): string {
  switch (record.kind) {
    case "SC_UPDATE":
      return `SC_UPDATE/${record.scId}`;
    case "NODE_ADD":
    case "NODE_REVOKE":
    case "KEY_ROTATE":
      return `${record.kind}/${record.nodeId}`;
    case "SIGNATURE":
      return `SIGNATURE/${record.signatureId}`;
    case "EVIDENCE":
      return `EVIDENCE/${record.evidence.first.toHex()}`;
    case "TNL":
    case "MASTER_TERM":
    case "PARAMS":
      return record.kind;
  }
}
