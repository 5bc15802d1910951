/**
 * Why a block, a record or a seal is refused: the reasons of REJECT and of `abs ledger verify`.
 * docs/ledger.md "Reasons". Codes are published: only append.
 */

export const BLOCK_FAULTS = [
  "version",
  "chain",
  "height",
  "term",
  "parent-hash",
  "parent-quorum",
  "time-order",
  "clock",
  "too-many",
  "sc-count",
  "merkleroot",
  "recordsroot",
  "scd-root",
  "tnl-root",
  "membership-root",
  "contract-schema",
  "contract-rule",
  "contract-duplicate",
  "record-schema",
  "record-order",
  "record-rule",
  "record-signature",
  "last-member",
  "master-signature",
  "seal-term",
  "seal-signature",
  "bitmap",
  "quorum-short",
  "vote-signature",
  "leader-signature",
  "vrf",
  "committee",
  "redraw",
  "attempt",
  "bound-hash",
  "checkpoint",
] as const;
export type BlockFault = (typeof BLOCK_FAULTS)[number];

export type Refusal = {
  readonly fault: BlockFault;
  /** The place and the values, for people. */
  readonly detail: string;
};

export function refuse(fault: BlockFault, detail = ""): Refusal {
  return { fault, detail };
}

/** The code of a reason in REJECT: from 1. */
export function faultCode(fault: BlockFault): number {
  return BLOCK_FAULTS.indexOf(fault) + 1;
}
