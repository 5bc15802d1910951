/**
 * What each record does to the state, and when it is refused. docs/ledger.md "Records". Records
 * come in the order of recordId(), before the contracts of the same block. What changes members,
 * TNL or parameters holds from height + 2 on.
 */
import type { EpochSeconds } from "../units.ts";
import { type BlockFault, type Refusal, refuse } from "./block-fault.ts";
import { quorumOf } from "./certificate.ts";
import { newest, withVersion } from "./chain-state.ts";
import { type ContractEntry, decodeContract, encodeContract } from "./contract-entry.ts";
import { contradictionChecks, readEvidence } from "./evidence.ts";
import type { Attempt, Height, PublicKey, Signature, View } from "./ledger-units.ts";
import { NO_HASH } from "./ledger-units.ts";
import type { Member, MemberKeys } from "./member.ts";
import { checkOf, nodeIdOf } from "./message-signing.ts";
import type { MasterTermMessage } from "./message-types.ts";
import type { NextState } from "./next-state.ts";
import { encodeRecord } from "./record-schema.ts";
import type {
  EvidenceRecord,
  KeyRotateRecord,
  LedgerRecord,
  MasterTermRecord,
  NodeAddRecord,
  NodeRevokeRecord,
  ParamsRecord,
  ScUpdateRecord,
  SignatureRecord,
  TnlRecord,
} from "./record-types.ts";
import { possessionHash, rotationHash } from "./registration.ts";
import { scdEntry, signatureEntryId } from "./scd-tree.ts";
import { signatureAt } from "./signature-entry.ts";

/** Applies one record; undefined when it is in order. */
export function applyRecord(next: NextState, record: LedgerRecord): Refusal | undefined {
  switch (record.kind) {
    case "SC_UPDATE":
      return applyScUpdate(next, record);
    case "NODE_ADD":
      return applyNodeAdd(next, record);
    case "NODE_REVOKE":
      return applyNodeRevoke(next, record);
    case "KEY_ROTATE":
      return applyKeyRotate(next, record);
    case "TNL":
      return applyTnl(next, record);
    case "SIGNATURE":
      return applySignature(next, record);
    case "EVIDENCE":
      return applyEvidence(next, record);
    case "MASTER_TERM":
      return applyMasterTerm(next, record);
    case "PARAMS":
      return applyParams(next, record);
  }
}

function broken(record: LedgerRecord, why: string, fault: BlockFault = "record-rule"): Refusal {
  return refuse(fault, `${record.kind}: ${why}`);
}

/** One generation at a time, a new secret with each, and expired is for ever. */
function applyScUpdate(next: NextState, record: ScUpdateRecord): Refusal | undefined {
  const entry = next.before.scd.find(record.scId);
  const read = entry === undefined ? undefined : decodeContract(entry.bytes);
  if (read === undefined || "complaint" in read) {
    return broken(record, `contract ${record.scId} is not in the SCD`);
  }
  const why = scUpdateFault(read.contract, record, next.timestamp);
  if (why !== undefined) return broken(record, `contract ${record.scId}: ${why}`);
  if (record.active === "expired") {
    next.scdChanges.push({ id: record.scId, entry: undefined });
    return undefined;
  }
  const { active, generation, secretCommitment, keyregen, seq } = record;
  const words = { active, generation, secretCommitment, keyregen, seq };
  const changed: ContractEntry = { ...read.contract, ...words };
  const bytes = encodeContract(changed);
  next.scdChanges.push({ id: record.scId, entry: scdEntry(record.scId, bytes) });
  return undefined;
}

function scUpdateFault(
  contract: ContractEntry,
  record: ScUpdateRecord,
  timestamp: EpochSeconds,
): string | undefined {
  if (record.seq !== contract.seq + 1) return `seq ${record.seq} does not follow ${contract.seq}`;
  const isOver = contract.scLifetime <= timestamp;
  if (isOver && record.active !== "expired") return "its sc-lifetime is over";
  const isSameSecret = record.secretCommitment === contract.secretCommitment;
  if (record.generation === contract.generation) {
    if (!isSameSecret) return "another secret needs another generation";
    return record.keyregen === contract.keyregen ? undefined : "keyregen changes with a generation";
  }
  if (record.generation !== contract.generation + 1) return "a generation was left out";
  if (isSameSecret || record.secretCommitment === NO_HASH) return "a generation needs a new secret";
  const isInTime = record.keyregen > timestamp && record.keyregen <= contract.scLifetime;
  return isInTime ? undefined : "keyregen must lie between now and sc-lifetime";
}

function applySignature(next: NextState, record: SignatureRecord): Refusal | undefined {
  const { signatureId, status } = record;
  const id = signatureEntryId(signatureId);
  const known = signatureAt(next.before.scd, signatureId);
  if (known === undefined && next.before.scd.isUsed(id)) {
    return broken(record, `${signatureId} is decommissioned for good`);
  }
  const why = signatureFault(known, record);
  if (why !== undefined) return broken(record, `${signatureId}: ${why}`);
  const entry = status === "decommissioned" ? undefined : scdEntry(id, encodeRecord(record));
  next.scdChanges.push(entry === undefined ? { id, entry } : { id, entry });
  return undefined;
}

/** Other contents are another version; taking out of use and back changes the status alone. */
function signatureFault(
  known: SignatureRecord | undefined,
  { seq, version, status, commitment }: SignatureRecord,
): string | undefined {
  const last = known?.seq ?? 0;
  if (seq !== last + 1) return `seq ${seq} does not follow ${last}`;
  if (known === undefined) return status === "published" ? undefined : "it was never published";
  const isSame = version === known.version && commitment === known.commitment;
  if (isSame) return status === known.status ? `it is ${status} already` : undefined;
  if (status !== "published") return "other contents come by publishing";
  return version > known.version ? undefined : `version ${version} is not above ${known.version}`;
}

function applyNodeAdd(next: NextState, record: NodeAddRecord): Refusal | undefined {
  if (next.members.has(record.nodeId)) return broken(record, `${record.nodeId} is known already`);
  if (nodeIdOf(record.ledgerPub) !== record.nodeId) return broken(record, "node_id is not its own");
  const why = keysFault(next, record, undefined);
  if (why !== undefined) return broken(record, why);
  if (!isSignedBy(next, record.ledgerPub, possessionHash(record), record.possession)) {
    return broken(record, "possession is not proven", "record-signature");
  }
  const { ledgerPub, vrfPub, certificate } = record;
  const keys: MemberKeys = { from: next.effective, seq: 0, ledgerPub, vrfPub, certificate };
  next.setMember({ nodeId: record.nodeId, keys: [keys] });
  return undefined;
}

function applyKeyRotate(next: NextState, record: KeyRotateRecord): Refusal | undefined {
  const member = next.members.get(record.nodeId);
  const last = member?.keys.at(-1);
  if (member === undefined || last === undefined || member.revokedFrom !== undefined) {
    return broken(record, `${record.nodeId} is no member`);
  }
  if (record.seq !== last.seq + 1) {
    return broken(record, `seq ${record.seq} does not follow ${last.seq}`);
  }
  const why = keysFault(next, record, member);
  if (why !== undefined) return broken(record, why);
  const hash = rotationHash(next.before.chainId, record.nodeId, record.seq, record);
  const isSigned =
    isSignedBy(next, last.ledgerPub, hash, record.oldSignature) &&
    isSignedBy(next, record.ledgerPub, hash, record.newSignature);
  if (!isSigned) return broken(record, "not signed by both keys", "record-signature");
  const { seq, ledgerPub, vrfPub, certificate } = record;
  const keys: MemberKeys = { from: next.effective, seq, ledgerPub, vrfPub, certificate };
  next.setMember({ ...member, keys: [...member.keys, keys] });
  return undefined;
}

/** Keys must be keys, and nobody else's: neither now nor ever before. */
function keysFault(
  next: NextState,
  words: { readonly ledgerPub: PublicKey; readonly vrfPub: MemberKeys["vrfPub"] },
  owner: Member | undefined,
): string | undefined {
  const { ledgerPub, vrfPub } = words;
  if (!next.crypto.signatures.isPublicKey(ledgerPub)) return "ledger_pub is no key";
  if (!next.crypto.vrf.isPublicKey(vrfPub)) return "vrf_pub is no key";
  const { recoveryPub } = next.before.genesis.file;
  const isOffice = next.masters.some(({ masterPub }) => masterPub === ledgerPub);
  if (isOffice || recoveryPub === ledgerPub) return "ledger_pub is the master's or recovery's";
  for (const member of next.members.values()) {
    // Renewing a certificate keeps the key, however often.
    const kept = member === owner ? member.keys.at(-1)?.ledgerPub : undefined;
    const past = member.keys.filter((keys) => keys.ledgerPub !== kept);
    if (past.some((keys) => keys.ledgerPub === ledgerPub)) return "ledger_pub was used before";
    if (past.some((keys) => keys.vrfPub === vrfPub) && member !== owner) {
      return "vrf_pub is another member's";
    }
  }
  return undefined;
}

function isSignedBy(
  next: NextState,
  publicKey: PublicKey,
  hash: ReturnType<typeof possessionHash>,
  signature: Signature,
): boolean {
  return next.crypto.signatures.verify({ hash, signature, publicKey });
}

function applyNodeRevoke(next: NextState, record: NodeRevokeRecord): Refusal | undefined {
  const member = next.members.get(record.nodeId);
  if (member === undefined) return broken(record, `${record.nodeId} is no member`);
  if (member.revokedFrom !== undefined)
    return broken(record, `${record.nodeId} is revoked already`);
  next.setMember({ ...member, revokedFrom: next.effective, revokedBy: "master" });
  return undefined;
}

/** Nodes leave the list only while a quorum of those on it remains: revoking is for the rest. */
function applyTnl(next: NextState, record: TnlRecord): Refusal | undefined {
  const lines = new Map((newest(next.tnl) ?? []).map((stake) => [stake.nodeId, stake]));
  for (const stake of record.set) {
    const member = next.members.get(stake.nodeId);
    if (member === undefined || member.revokedFrom !== undefined) {
      return broken(record, `${stake.nodeId} is no member`);
    }
    if (record.remove.includes(stake.nodeId)) return broken(record, "set and removed at once");
    lines.set(stake.nodeId, stake);
  }
  const present = new Set(next.eligible().map(({ nodeId }) => nodeId));
  for (const nodeId of record.remove) {
    if (!lines.delete(nodeId)) return broken(record, `${nodeId} is not on the list`);
  }
  const leaving = record.remove.filter((nodeId) => present.has(nodeId)).length;
  if (leaving > 0 && present.size - leaving < quorumOf(present.size)) {
    return broken(record, `${leaving} of ${present.size} leave no quorum`);
  }
  const value = [...lines.values()].sort((left, right) => (left.nodeId < right.nodeId ? -1 : 1));
  next.tnl = withVersion(next.tnl, next.height, { from: next.effective, value });
  return undefined;
}

function applyParams(next: NextState, record: ParamsRecord): Refusal | undefined {
  const seq = newest(next.params)?.seq ?? 0;
  if (record.seq !== seq + 1) return broken(record, `seq ${record.seq} does not follow ${seq}`);
  const { params } = record;
  if (params.viewTimeoutMaxMs < params.viewTimeoutMs) return broken(record, "cap below T0");
  const value = { seq: record.seq, params };
  next.params = withVersion(next.params, next.height, { from: next.effective, value });
  return undefined;
}

/** The message that the record stands for: the recovery key signed it, not the record. */
export function masterTermMessage(
  record: MasterTermRecord,
  chain: Pick<NextState["before"], "chainId" | "genesis">,
): MasterTermMessage {
  return {
    kind: "MASTER_TERM",
    chainId: chain.chainId,
    term: record.term,
    height: 0 as Height,
    attempt: 0 as Attempt,
    view: 0 as View,
    signer: nodeIdOf(chain.genesis.file.recoveryPub),
    masterPub: record.masterPub,
    signature: record.signature,
  };
}

function applyMasterTerm(next: NextState, record: MasterTermRecord): Refusal | undefined {
  const last = next.masters.at(-1)?.term ?? 0;
  if (record.term <= last) return broken(record, `term ${record.term} is not above ${last}`);
  const { masterPub } = record;
  if (!next.crypto.signatures.isPublicKey(masterPub)) return broken(record, "master_pub is no key");
  const message = masterTermMessage(record, next.before);
  const { recoveryPub } = next.before.genesis.file;
  if (!next.crypto.signatures.verify(checkOf(message, recoveryPub))) {
    return broken(record, "not by the recovery key", "record-signature");
  }
  next.masters = [...next.masters, { term: record.term, masterPub, isProvenLiar: false }];
  return undefined;
}

/** Accepted once: a node is revoked for good, a master's term is marked. */
function applyEvidence(next: NextState, record: EvidenceRecord): Refusal | undefined {
  const found = readEvidence(next.before.chainId, record.evidence);
  if (typeof found === "string") return broken(record, found);
  const member = next.members.get(found.offender);
  const reign = next.masters.find(({ masterPub, term }) => {
    return nodeIdOf(masterPub) === found.offender && term === found.term;
  });
  const known = found.isMaster ? reign?.isProvenLiar : member?.revokedBy === "evidence";
  if (known === true) return broken(record, "proven already");
  const key = found.isMaster ? reign?.masterPub : keyOf(member, found.height);
  if (key === undefined) return broken(record, `${found.offender} has no key there`);
  const checks = next.crypto.signatures.verifyMany(contradictionChecks(found, key));
  if (checks.includes(false)) return broken(record, "a signature is not its", "record-signature");
  if (found.isMaster) {
    next.masters = next.masters.map((one) =>
      one === reign ? { ...one, isProvenLiar: true } : one,
    );
  } else if (member !== undefined) {
    const revokedFrom = Math.min(member.revokedFrom ?? next.effective, next.effective) as Height;
    next.setMember({ ...member, revokedFrom, revokedBy: "evidence" });
  }
  return undefined;
}

/** Also of a member that was revoked since. */
function keyOf(member: Member | undefined, height: Height): PublicKey | undefined {
  return member?.keys.findLast(({ from }) => from <= height)?.ledgerPub;
}
