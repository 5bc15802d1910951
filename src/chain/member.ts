/**
 * Members of the ledger and their stake. docs/ledger.md "Members", design/ledger.md "Choosing" and
 * "Spreading and checking" (keys). Keys have a first height: messages and votes of a height are
 * checked by the key that is effective there, so a rotated key cannot vote again.
 */
import type { Hash, Height, NodeId, PublicKey, VrfPublicKey } from "./ledger-units.ts";

/** Membership and TNL changes of block h count for committees from h + 2. */
export const EFFECT_DELAY = 2;

/** One set of keys of a member, from `from` until the next. */
export type MemberKeys = {
  readonly from: Height;
  /** Counts up with each KEY_ROTATE. */
  readonly seq: number;
  readonly ledgerPub: PublicKey;
  readonly vrfPub: VrfPublicKey;
  /** SHA-256 of the canonical identity certificate. */
  readonly certificate: Hash;
};

export type Member = {
  readonly nodeId: NodeId;
  /** Ascending by `from`; never empty. */
  readonly keys: readonly MemberKeys[];
  /** First height without it; absent while it is none. For good. */
  readonly revokedFrom?: Height;
  /** Why: by the master's word, or by evidence. */
  readonly revokedBy?: "master" | "evidence";
};

/** A line of the Trusted Nodes List: weight is computed from the rest (weightOf in stake.ts). */
export type Stake = {
  readonly nodeId: NodeId;
  readonly vcpu: number;
  readonly ramMib: number;
  /** 0 to 100, from the trusted applications the node hosts. */
  readonly securityScore: number;
  /** 1 to 100. */
  readonly weight: number;
};

/** The keys that count at a height, or undefined where it is not a member there. */
export function keysAt(member: Member, height: Height): MemberKeys | undefined {
  if (member.revokedFrom !== undefined && height >= member.revokedFrom) return undefined;
  return member.keys.findLast((keys) => keys.from <= height);
}
