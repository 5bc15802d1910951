/**
 * What the ledger knows and the database does not: after a restore from a backup, and where nodes
 * convicted a member by evidence. docs/manager.md "Restore". What is revoked or expired there is
 * so here; a secret that was drawn after the backup is lost, so its contract gets the next one.
 */
import type { ChainState } from "../chain/chain-state.ts";
import { type ContractEntry, decodeContract } from "../chain/contract-entry.ts";
import type { NodeId } from "../chain/ledger-units.ts";
import type { LedgerRecord } from "../chain/record-types.ts";
import type { AbsEvent } from "../observe/event-record.ts";
import type { ManagerState } from "./manager-state.ts";
import type { MappedNode } from "./mapping-service.ts";

export type ChainLead = {
  /** What was changed in the database. */
  readonly events: readonly AbsEvent[];
  /** Node ids of those who are agents no longer. */
  readonly revoked: readonly string[];
};

/** Of a node that the ledger has convicted by evidence. */
export const PROVEN_REASON = "proven to contradict itself";
const NOTHING: ChainLead = { events: [], revoked: [] };

/** Changes the database, in one transaction, where the chain is ahead of it. */
export function followChain(state: ManagerState, tenant: string, chain: ChainState): ChainLead {
  const nodes = state.nodes.list(tenant).filter((node) => isRevokedOn(chain, node));
  const entries = state.tenants.contracts(tenant).map(({ entry }) => entry);
  const live = entries.filter(({ active }) => active !== "expired");
  const over = live.filter(({ scId }) => chain.scd.isUsed(scId) && !chain.scd.find(scId));
  const behind = live.flatMap((entry) => generationAhead(entry, chain) ?? []);
  for (const { nodeId } of nodes) state.forget(nodeId);
  if (nodes.length + over.length + behind.length === 0) return NOTHING;
  const now = state.now();
  const events: AbsEvent[] = [];
  state.transaction(() => {
    for (const { nodeId, name } of nodes) {
      const by = chain.members.get(nodeId as NodeId)?.revokedBy;
      const reason = by === "evidence" ? PROVEN_REASON : "revoked on the ledger";
      state.nodes.revoke(nodeId, reason, now);
      events.push({ event: "agent-revoked", node: nodeId, name, reason });
    }
    if (nodes.length > 0) state.tenants.countUp(tenant);
    for (const entry of over) {
      state.tenants.expireContract(tenant, entry);
      events.push({ event: "contract-expired", contract: entry.scId });
    }
    for (const entry of behind) {
      state.tenants.regenerateContract(tenant, entry, now);
      const generation = entry.generation + 1;
      events.push({ event: "contract-regenerated", contract: entry.scId, generation });
    }
  });
  return { events, revoked: nodes.map(({ nodeId }) => nodeId) };
}

/** Contracts whose secrets nobody can give to a new agent any more: they are expired. */
export function unknownContracts(
  state: ManagerState,
  tenant: string,
  chain: ChainState,
): LedgerRecord[] {
  const known = new Set(state.tenants.contracts(tenant).map(({ entry }) => entry.scId));
  return contractsOf(chain)
    .filter(({ scId }) => !known.has(scId))
    .map(({ scId, seq, generation, keyregen, secretCommitment }) => ({
      ...{ kind: "SC_UPDATE" as const, scId, seq: seq + 1, active: "expired" as const },
      ...{ generation, keyregen, secretCommitment },
    }));
}

/** Members that enrolled after the backup: the manager knows neither their names nor their keys. */
export function unknownMembers(state: ManagerState, tenant: string, chain: ChainState): string[] {
  const known = new Set(state.nodes.list(tenant).map(({ nodeId }) => nodeId));
  return [...chain.members.values()]
    .filter(({ nodeId, revokedFrom }) => revokedFrom === undefined && !known.has(nodeId))
    .map(({ nodeId }) => nodeId);
}

function isRevokedOn({ members }: ChainState, { nodeId, state }: MappedNode): boolean {
  return state === "enrolled" && members.get(nodeId as NodeId)?.revokedFrom !== undefined;
}

/** The contract as the next generation follows from it, where the chain has another secret. */
function generationAhead(entry: ContractEntry, chain: ChainState): ContractEntry | undefined {
  const bytes = chain.scd.find(entry.scId)?.bytes;
  const read = bytes === undefined ? undefined : decodeContract(bytes);
  if (read === undefined || "complaint" in read) return undefined;
  const { generation, secretCommitment } = read.contract;
  if (generation < entry.generation) return undefined;
  const isSame = generation === entry.generation && secretCommitment === entry.secretCommitment;
  return isSame ? undefined : { ...entry, generation };
}

function contractsOf({ scd }: ChainState): ContractEntry[] {
  return [...scd.entries()].flatMap(({ bytes }) => {
    const read = decodeContract(bytes);
    return "contract" in read ? [read.contract] : [];
  });
}
