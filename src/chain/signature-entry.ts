/**
 * What the ledger holds of an application signature, and how its contents are bound to that:
 * docs/ledger.md "Signatures". Contents go to those alone who host the application (paper §3.4), so
 * the commitment is blinded: who has it cannot try contents out against it.
 */
import type { Hash } from "./ledger-units.ts";
import { decodeRecord } from "./record-schema.ts";
import type { SignatureRecord } from "./record-types.ts";
import { type ScdTree, signatureEntryId } from "./scd-tree.ts";
import { TAG, taggedHash } from "./sha256.ts";

/** Random bytes, drawn once a version and delivered with its contents. */
export const BLINDING_BYTES = 32;

/** @param contents canonical JSON, docs/ledger.md "JSON that is hashed" */
export function signatureCommitment(blinding: Uint8Array, contents: Uint8Array): Hash {
  return taggedHash(TAG.signature, blinding, contents);
}

/** Undefined: it was never published, or is decommissioned (`scd.isUsed()` then). */
export function signatureAt(scd: ScdTree, signatureId: string): SignatureRecord | undefined {
  const entry = scd.find(signatureEntryId(signatureId));
  return entry === undefined ? undefined : signatureOf(entry.bytes);
}

/** Of a record's bytes; undefined: it is another record. */
export function signatureOf(bytes: Uint8Array): SignatureRecord | undefined {
  const read = decodeRecord(bytes);
  return "record" in read && read.record.kind === "SIGNATURE" ? read.record : undefined;
}
