/**
 * When agents' keys and certificates are renewed, and what the ledger has to say to it.
 * docs/manager.md "Keys". A certificate is renewed long before its end, and a key when it has been
 * in use for as long as the administrator wants.
 */
import { type ChainState, nextHeight } from "../chain/chain-state.ts";
import { certificateHash } from "../chain/identity-certificate.ts";
import type { NodeId } from "../chain/ledger-units.ts";
import type { LedgerRecord } from "../chain/record-types.ts";
import { KEY_KINDS, type KeyKind } from "../channel/renewal-messages.ts";
import type { AbsEvent } from "../observe/event-record.ts";
import type { ManagerState } from "./manager-state.ts";
import type { MappedNode } from "./mapping-service.ts";

const DAY_SECONDS = 24 * 3600;
export const KEY_DAYS_DEFAULT = 90;
/** Two thirds of a certificate's life: the rest is for agents that are away. */
export const KEY_DAYS_MAX = 243;

/** Asks for renewals that are due. @returns how many are new */
export function askDueRenewals(state: ManagerState, tenant: string, keyDays: number): number {
  const before = state.now() - keyDays * DAY_SECONDS;
  let asked = 0;
  for (const node of state.nodes.list(tenant)) {
    if (node.state !== "enrolled") continue;
    const due = KEY_KINDS.filter((kind) => sinceOf(node, kind) <= before);
    if (due.length > 0 && state.renewals.ask(node.nodeId, due, state.now())) asked++;
  }
  if (asked > 0) state.tenants.countUp(tenant);
  return asked;
}

/** UNIX seconds from which the present key of that kind is in use. */
export function sinceOf(node: MappedNode, kind: KeyKind): number {
  const { ledgerSince: ledger, sessionSince: session, sshSince: ssh, enrolledAt } = node;
  return { ledger, session, ssh }[kind] ?? enrolledAt;
}

/** Whether the newest keys that the chain has of a node are those that count now. */
export function areKeysCounted(chain: ChainState, nodeId: string): boolean {
  const last = chain.members.get(nodeId as NodeId)?.keys.at(-1);
  return last !== undefined && last.from <= nextHeight(chain);
}

/** KEY_ROTATE for every renewal that its agent has agreed to and the chain has not. */
export function rotationsOf(
  state: ManagerState,
  tenant: string,
  chain: ChainState,
): LedgerRecord[] {
  return state.renewals.list(tenant).flatMap(({ certificate: signed, agreement }) => {
    if (signed === undefined || agreement === undefined) return [];
    const { ledgerPub, vrfPub, seq } = signed.certificate;
    const nodeId = signed.certificate.nodeId as NodeId;
    const last = chain.members.get(nodeId)?.keys.at(-1);
    if (last === undefined || last.seq !== seq - 1) return [];
    const certificate = certificateHash(signed.certificate);
    const keys = { ledgerPub, vrfPub, certificate, ...agreement };
    return [{ kind: "KEY_ROTATE" as const, nodeId, seq, ...keys }];
  });
}

/** What the chain has is so from now on; agents are told of it. */
export function settleRenewals(state: ManagerState, tenant: string, chain: ChainState): AbsEvent[] {
  const sealed = state.renewals.list(tenant).filter(({ nodeId, certificate: signed }) => {
    const last = chain.members.get(nodeId as NodeId)?.keys.at(-1);
    return signed !== undefined && last?.certificate === certificateHash(signed.certificate);
  });
  if (sealed.length === 0) return [];
  state.transaction(() => {
    for (const renewal of sealed) state.renewals.settle(renewal, state.now());
    state.tenants.countUp(tenant);
  });
  return sealed.map(({ nodeId, kinds, certificate }) => ({
    ...{ event: "agent-key-renewed", node: nodeId, kinds: kinds.join(" ") },
    seq: certificate?.certificate.seq ?? 0,
  }));
}
