/**
 * The memory of a master between steps. What must outlive a crash is in its log: every CANDIDATE
 * and every "sealed" before it is sent. master.ts dispatches; master-candidate.ts assembles and
 * offers; master-attempts.ts opens attempts; master-recovery.ts asks before anything new is
 * proposed; master-seal.ts seals.
 */
import type { BlockBody, BlockCore } from "./block.ts";
import type { ChainState } from "./chain-state.ts";
import { committeeOf } from "./chain-state.ts";
import type { LedgerNode } from "./ledger-node.ts";
import type { Attempt, BlockHash, CandidateSequence, Hash, NodeId } from "./ledger-units.ts";
import type { Stake } from "./member.ts";
import type {
  AbandonMessage,
  CandidateMessage,
  ForcedRedrawMessage,
  MasterTermMessage,
  QcStateMessage,
} from "./message-types.ts";

/** A block of the open height that this master could seal. */
export type Draft = {
  readonly core: BlockCore;
  readonly body: BlockBody;
  readonly next: ChainState;
};

/** What the answers to QC_FETCH said so far. */
export type Asking = { readonly nonce: Hash; readonly answers: Map<NodeId, QcStateMessage> };

/** An operator's: master-survey.ts. */
export type Survey = Asking & {
  /** The attempt that its FORCED_REDRAW opens; undefined: nobody was asked to wait. */
  readonly number: Attempt | undefined;
  /** Then the promises are given back. */
  readonly untilMs: number;
};

export type Master = LedgerNode & {
  readonly kind: "master";
  /** Waiting for a block. */
  contracts: Uint8Array[];
  records: Uint8Array[];
  readonly drafts: Map<BlockHash, Draft>;
  attempt: Attempt;
  /** Of the open height and attempt, the newest; undefined: nothing is offered. */
  offered: CandidateMessage | undefined;
  nextSequence: CandidateSequence;
  /** Of each height: above any that was forgotten, so that no sequence has two hashes. */
  readonly firstSequence: CandidateSequence;
  /** Where nobody is to agree with it. Not if it may have sealed another block at this height. */
  readonly sealsAlone: boolean;
  readonly abandons: Map<Attempt, Map<NodeId, AbandonMessage>>;
  readonly redraws: Map<Attempt, ForcedRedrawMessage>;
  /** "sealed h = hash" of the log: no other hash is ever sealed there. */
  sealedHash: BlockHash | undefined;
  /** After a start: nothing new before q have told what they hold. */
  asking: Asking | undefined;
  /** An operator wants to know what all hold: redraw-plan.ts. */
  survey: Survey | undefined;
  /** Numbers of those of the open height and of this master, by its log. */
  readonly surveys: Map<Hash, Attempt>;
  /** A certificate's hash whose body is being fetched. */
  wanted: BlockHash | undefined;
  /** When each member was last heard of; and whom this took off the list: master-list.ts. */
  readonly seenMs: Map<NodeId, number>;
  readonly watchedMs: Map<NodeId, number>;
  readonly parked: Map<NodeId, Stake>;
  /** What makes this master one, repeated until a block records it. */
  readonly ownTerm: MasterTermMessage | undefined;
};

/** The FORCED_REDRAW that opens the highest attempt, if it is not below `attempt`. */
export function newestRedraw(master: Master, attempt: Attempt): ForcedRedrawMessage | undefined {
  const highest = Math.max(...master.redraws.keys()) as Attempt;
  return highest >= attempt ? master.redraws.get(highest) : undefined;
}

/** Who agrees on the present attempt. */
export function presentCommittee(master: Master): readonly NodeId[] {
  return committeeAt(master, master.attempt);
}

export function committeeAt(master: Master, attempt: Attempt): readonly NodeId[] {
  return master.redraws.get(attempt)?.committee ?? committeeOf(master.chain, attempt);
}
