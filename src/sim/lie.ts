/**
 * Lies: what members of the committee, the line, and masters do who are not honest.
 * design/ledger.md "Lies". A liar runs the product's own steps and says something else than they
 * say; it signs with its own keys only. What each lie says is in lies-of-*.ts.
 */
import type { NodeKeys } from "../chain/crypto-interface.ts";
import type { BlockHash, ChainId, NodeId, PublicKey } from "../chain/ledger-units.ts";
import type { LedgerMessage } from "../chain/message-types.ts";
import type { Participant } from "./fault.ts";
import type { Prng } from "./prng.ts";

/** Of committee members; each needs f >= 1. */
export const MEMBER_LIES = [
  "equivocating-leader",
  "unjustified-leader",
  "double-prepare",
  "double-commit",
  "silent-leader",
  "selective-leader-f",
  "selective-leader-f+1",
  "selective-leader-q-1",
  "withheld-result",
  "forged-certificate",
  "stale-certificate",
  "lying-round-change",
  "amnesia",
  "vrf-forgery",
  "wrong-committee",
  "high-s",
  "replay-height",
  "replay-chain",
  "replay-term",
  "far-height",
  "revoked-key",
  "rotated-key",
  "bitmap-strangers",
  "bitmap-duplicates",
  "q-1-signatures",
  "fuzzed-frames",
  "oversized-frames",
  "lying-digest",
  "line-drop",
  "line-alter",
  "twins",
  "forged-term",
  "lock-without-commit",
] as const;

export const MASTER_LIES = [
  "equivocating-master",
  "master-time-stamp",
  "wrong-dummy",
  "duplicate-leaf",
  "inflated-stake",
  "wrong-term",
  "forged-redraw",
] as const;

export const LIE_KINDS = [...MEMBER_LIES, ...MASTER_LIES] as const;
export type LieKind = (typeof LIE_KINDS)[number];
export type MasterLie = (typeof MASTER_LIES)[number];

export type Lie = {
  readonly kind: LieKind;
  /** A node, or for a MasterLie the master. */
  readonly participant: Participant;
  /** How often it lies when it could, 0 to 1. */
  readonly share: number;
};

/** A message on its way out of one participant, before the network. */
export type Frame = {
  readonly to: Participant;
  /** Bytes where they are no message. */
  readonly content: LedgerMessage | Uint8Array;
};

/** What an honest participant would now say, and to whom. */
export type Speech = { readonly message: LedgerMessage; readonly to: readonly Participant[] };

/** What a liar knows: itself, and all it ever heard. */
export type LiarView = {
  readonly chainId: ChainId;
  readonly nodeId: NodeId;
  readonly keys: NodeKeys;
  /** Everybody knows it; nobody who lies can sign with it. */
  readonly recoveryPub: PublicKey;
  readonly prng: Prng;
  /** Committee size, q and f. */
  readonly members: number;
  readonly quorum: number;
  readonly faults: number;
  /** Of members that it may accuse or invent votes of. */
  readonly nodeIds: readonly NodeId[];
  /** The last messages it heard or said, oldest first. */
  readonly heard: readonly LedgerMessage[];
  /** Another hash that the master proposed for the height, or one out of thin air. */
  otherHash(than: BlockHash): BlockHash;
};

/** What it says instead; undefined: nothing to lie about in this speech. */
export type LieTold = readonly Frame[] | undefined;
export type Tell = (liar: LiarView, speech: Speech) => LieTold;

export function isMasterLie(kind: LieKind): kind is MasterLie {
  return (MASTER_LIES as readonly LieKind[]).includes(kind);
}

/** The honest speech as frames. */
export function framesOf(speech: Speech): Frame[] {
  return speech.to.map((to) => ({ to, content: speech.message }));
}

/** One message to the first `count` of the listeners, another (or silence) to the rest. */
export function split(
  to: readonly Participant[],
  count: number,
  first: LedgerMessage,
  rest: LedgerMessage | undefined,
): Frame[] {
  return to.flatMap((listener, i) => {
    const content = i < count ? first : rest;
    return content === undefined ? [] : [{ to: listener, content }];
  });
}
