/**
 * The roots over members and Trusted Nodes List: docs/ledger.md "Roots". RFC 9162 trees over
 * canonical JSON leaves sorted by id. The SCD's own root is scd-tree.ts.
 */
import { canonicalJson, type JsonObject } from "./canonical-json.ts";
import type { ChainState } from "./chain-state.ts";
import { newest } from "./chain-state.ts";
import type { Hash } from "./ledger-units.ts";
import type { Member, Stake } from "./member.ts";
import { leafBytes, rootOf } from "./merkle.ts";
import { paramsJson } from "./record-schema.ts";
import { stakeJson } from "./stake.ts";

const memberLeaves = new WeakMap<Member, Uint8Array>();
const stakeLeaves = new WeakMap<Stake, Uint8Array>();

function leafOf<T extends object>(
  leaves: WeakMap<T, Uint8Array>,
  value: T,
  json: (value: T) => JsonObject,
): Uint8Array {
  const known = leaves.get(value);
  if (known !== undefined) return known;
  const leaf = leafBytes(canonicalJson(json(value)));
  leaves.set(value, leaf);
  return leaf;
}

export function memberJson(member: Member): JsonObject {
  const keys = member.keys.map((set) => ({
    from: set.from,
    seq: set.seq,
    ledger_pub: set.ledgerPub,
    vrf_pub: set.vrfPub,
    certificate: set.certificate,
  }));
  const { nodeId, revokedFrom, revokedBy } = member;
  const ending =
    revokedFrom === undefined ? {} : { revoked_from: revokedFrom, revoked_by: revokedBy ?? "" };
  return { node_id: nodeId, keys, ...ending };
}

type MembershipState = Pick<ChainState, "members" | "masters" | "params">;

/** Members by node id, then the reigns, then the parameters: "master" and "params" sort last. */
export function membershipRoot(state: MembershipState): Hash {
  const leaves = membersById(state).map((member) => leafOf(memberLeaves, member, memberJson));
  for (const { bytes } of reignsAndParams(state)) leaves.push(leafBytes(bytes));
  return rootOf(leaves);
}

export type MembershipLeaf = { readonly id: string; readonly bytes: Uint8Array };

/** What the root is over, in its order, which is that of the ids. */
export function membershipLeaves(state: MembershipState): MembershipLeaf[] {
  const members = membersById(state).map((member) => {
    return { id: member.nodeId as string, bytes: canonicalJson(memberJson(member)) };
  });
  return [...members, ...reignsAndParams(state)];
}

function membersById(state: MembershipState): Member[] {
  const ids = [...state.members.keys()].sort();
  return ids.flatMap((id) => state.members.get(id) ?? []);
}

function reignsAndParams(state: MembershipState): MembershipLeaf[] {
  const terms = state.masters.map(({ term, masterPub, isProvenLiar }) => {
    return { term, master_pub: masterPub, evidence: isProvenLiar };
  });
  const versions = state.params.map(({ from, value }) => {
    return { from, seq: value.seq, params: paramsJson(value.params) };
  });
  return [
    { id: "master", bytes: canonicalJson({ id: "master", terms }) },
    { id: "params", bytes: canonicalJson({ id: "params", versions }) },
  ];
}

/** Over the newest list, also before it takes effect. */
export function tnlRoot(state: Pick<ChainState, "tnl">): Hash {
  return rootOf((newest(state.tnl) ?? []).map((stake) => leafOf(stakeLeaves, stake, stakeJson)));
}
