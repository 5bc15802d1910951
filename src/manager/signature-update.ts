/**
 * How an application signature on the chain becomes what AppDB says: one SIGNATURE record at a
 * time, as the ledger wants it. docs/ledger.md "Signatures". And after a restore, how AppDB becomes
 * what the chain says: docs/manager.md "Restore".
 */
import type { ChainState } from "../chain/chain-state.ts";
import type { LedgerRecord } from "../chain/record-types.ts";
import { signatureEntryId } from "../chain/scd-tree.ts";
import { signatureAt } from "../chain/signature-entry.ts";
import type { AbsEvent } from "../observe/event-record.ts";
import type { PublishedSignature } from "./app-db.ts";
import type { ManagerState } from "./manager-state.ts";

type Chain = Pick<ChainState, "scd">;

/** The next step, or undefined when there is none. */
export function signatureStepOf(
  signature: PublishedSignature,
  chain: Chain,
): LedgerRecord | undefined {
  const { sigId, version, status, commitment } = signature;
  const known = signatureAt(chain.scd, sigId);
  const words = { kind: "SIGNATURE" as const, signatureId: sigId, seq: (known?.seq ?? 0) + 1 };
  if (status === "published") {
    const isOver = known === undefined && isDecommissioned(signature, chain);
    const isAhead = known !== undefined && known.version > version;
    if (isOver || isAhead || isSealed(signature, chain)) return undefined;
    return { ...words, status, version, commitment };
  }
  // Of what the chain has: a version that was withdrawn before it got there stays away.
  if (known === undefined || known.status === status) return undefined;
  return { ...words, status, version: known.version, commitment: known.commitment };
}

/** Whether the chain holds this very version as published. */
export function isSealed(
  { sigId, version, status, commitment }: PublishedSignature,
  chain: Chain,
): boolean {
  const known = signatureAt(chain.scd, sigId);
  const isSame = known?.version === version && known.commitment === commitment;
  return isSame && status === "published" && known.status === "published";
}

/**
 * Of a restored database: what was disabled or decommissioned after the backup is so here, and what
 * has a newer version whose contents are lost is disabled until it is published anew.
 */
export function followSignatures(state: ManagerState, tenant: string, chain: Chain): AbsEvent[] {
  const { appDb, tenants } = state;
  const published = appDb
    .published(tenant)
    .filter(({ sigId, status }) => status === "published" && !appDb.isChangedHere(tenant, sigId));
  const ended = published.flatMap((signature) => {
    const known = signatureAt(chain.scd, signature.sigId);
    const isOver = known === undefined && isDecommissioned(signature, chain);
    const isOut = known?.status === "disabled" || (known?.version ?? 0) > signature.version;
    if (!isOver && !isOut) return [];
    return [{ ...signature, status: isOver ? "decommissioned" : "disabled" } as const];
  });
  if (ended.length === 0) return [];
  state.transaction(() => {
    for (const { sigId, status } of ended) appDb.withdraw(tenant, sigId, status);
    tenants.countUp(tenant);
  });
  return ended.map(({ sigId, status }) => ({ event: `signature-${status}`, signature: sigId }));
}

function isDecommissioned({ sigId }: PublishedSignature, { scd }: Chain): boolean {
  return scd.isUsed(signatureEntryId(sigId)) && signatureAt(scd, sigId) === undefined;
}
