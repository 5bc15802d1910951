/**
 * The state while a block's body is applied to it: copies of what changes, made when it changes.
 * Used by apply-records.ts and apply-block.ts; nothing of it outlives them.
 */
import type { EpochSeconds } from "../units.ts";
import { type ChainState, newest } from "./chain-state.ts";
import type { LedgerCrypto } from "./crypto-interface.ts";
import type { Height, NodeId } from "./ledger-units.ts";
import { EFFECT_DELAY, keysAt, type Member, type Stake } from "./member.ts";
import type { ScdChange } from "./scd-tree.ts";

export class NextState {
  members: ReadonlyMap<NodeId, Member>;
  tnl: ChainState["tnl"];
  params: ChainState["params"];
  masters: ChainState["masters"];
  readonly scdChanges: ScdChange[] = [];
  /** Of the block's contracts, without dummies. */
  readonly contractLeaves: Uint8Array[] = [];
  /** From here on changes of membership, TNL and parameters hold. */
  readonly effective: Height;

  constructor(
    readonly before: ChainState,
    readonly height: Height,
    readonly timestamp: EpochSeconds,
    readonly crypto: LedgerCrypto,
  ) {
    this.members = before.members;
    this.tnl = before.tnl;
    this.params = before.params;
    this.masters = before.masters;
    this.effective = (height + EFFECT_DELAY) as Height;
  }

  setMember(member: Member): void {
    this.members = new Map(this.members).set(member.nodeId, member);
  }

  /** Whom draws will choose among once all that is pending holds. */
  eligible(): readonly Stake[] {
    return (newest(this.tnl) ?? []).filter(({ nodeId }) => {
      const member = this.members.get(nodeId);
      return member !== undefined && keysAt(member, this.effective) !== undefined;
    });
  }
}
