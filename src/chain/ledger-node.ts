/**
 * What validator and master have in common: the tip of the chain, keys, the master's term, and the
 * outputs of the step at hand. docs/ledger.md "Steps". No rule of the agreement is here.
 */
import { assert } from "../errors.ts";
import type { BlockBody, SealProof } from "./block.ts";
import { BLOCK_RULES, type BlockRules } from "./block-rules.ts";
import { type CatchUp, createCatchUp } from "./catch-up-state.ts";
import {
  type ChainState,
  masterOf,
  memberKeysAt,
  nextHeight,
  recordedTerm,
} from "./chain-state.ts";
import { chainConflict } from "./checkpoint.ts";
import type { LedgerCrypto, NodeKeys } from "./crypto-interface.ts";
import type { KeyRing } from "./key-ring.ts";
import type { Attempt, Hash, Height, NodeId, PublicKey, Term, View } from "./ledger-units.ts";
import { checkOf, nodeIdOf, signMessage } from "./message-signing.ts";
import type {
  Draft,
  Evidence,
  LedgerMessage,
  MasterTermMessage,
  MessageHeader,
  SignedMessage,
} from "./message-types.ts";
import type { Line } from "./replication.ts";
import { isMasterTerm } from "./seal-check.ts";
import type {
  BlockHistory,
  Instant,
  LogEntry,
  Output,
  ParticipantConfig,
  ReportCode,
  TimerName,
} from "./step-types.ts";
import { type RememberingCrypto, rememberingCrypto } from "./verified-signatures.ts";

export type LedgerNode = {
  readonly nodeId: NodeId;
  readonly ring: KeyRing;
  readonly remembering: RememberingCrypto["remembering"];
  readonly crypto: LedgerCrypto;
  readonly rules: BlockRules;
  readonly history: BlockHistory;
  /** At the sealed tip. */
  chain: ChainState;
  /** Below it, to judge another seal of the same height; undefined at genesis. */
  below: ChainState | undefined;
  tipProof: SealProof | undefined;
  /** Undefined: it was not extended since the start, the disk has it. */
  tipBody: BlockBody | undefined;
  /** The newest that is known, and whose it is. */
  term: Term;
  masterPub: PublicKey;
  /** What made it, while no block has recorded it. */
  masterTerm: MasterTermMessage | undefined;
  /** Why nothing is applied or signed any more. */
  stoppedBy: string | undefined;
  /** Of the event at hand. */
  at: Instant;
  outputs: Output[];
  readonly line: Line;
  /** The highest block that this node passed on along the line. */
  forwarded: Height;
  readonly catchUp: CatchUp;
  /** Who was proven a liar to the others already. */
  readonly accused: Set<string>;
  /** What proves the present master a liar: for the next one's first blocks. */
  masterLie: Evidence | undefined;
};

const NO_INSTANT = { ms: 0, epoch: 0 } as Instant;

export function createNode(config: ParticipantConfig): LedgerNode {
  const { chain } = config;
  const term = recordedTerm(chain);
  return {
    nodeId: config.keys.nodeId,
    ring: config.keys,
    ...rememberingCrypto(config.crypto),
    rules: config.rules ?? BLOCK_RULES,
    history: config.history,
    chain,
    below: config.below,
    tipProof: config.tipProof,
    tipBody: undefined,
    term,
    masterPub: masterOf(chain, term)?.masterPub ?? chain.genesis.file.masterPub,
    masterTerm: undefined,
    stoppedBy: chainConflict(config.checkpoint, chain, config.history),
    at: NO_INSTANT,
    outputs: [],
    line: new Map(),
    forwarded: 0 as Height,
    catchUp: createCatchUp(config.checkpoint, chain.blockHash as string as Hash),
    accused: new Set(),
    masterLie: undefined,
  };
}

/** The height that is being agreed on. */
export function openHeight(node: LedgerNode): Height {
  return nextHeight(node.chain);
}

export function masterId(node: LedgerNode): NodeId {
  return nodeIdOf(node.masterPub);
}

/** Members whose keys count at the open height, by id. */
export function memberIds(node: LedgerNode): readonly NodeId[] {
  const { chain } = node;
  const known = membersOf.get(chain);
  if (known !== undefined) return known;
  const height = nextHeight(chain);
  const ids = [...chain.members.keys()].sort();
  const members = ids.filter((nodeId) => memberKeysAt(chain, nodeId, height) !== undefined);
  membersOf.set(chain, members);
  return members;
}

const membersOf = new WeakMap<ChainState, readonly NodeId[]>();

export function write(node: LedgerNode, entry: LogEntry): void {
  node.outputs.push({ kind: "write", entry });
}

export function send(node: LedgerNode, to: readonly NodeId[], message: LedgerMessage): void {
  const others = to.filter((nodeId) => nodeId !== node.nodeId);
  if (others.length > 0) node.outputs.push({ kind: "send", to: others, message });
}

export function report(node: LedgerNode, code: ReportCode, detail: string): void {
  node.outputs.push({ kind: "report", code, detail });
}

export function setTimer(node: LedgerNode, timer: TimerName, afterMs: number): void {
  node.outputs.push({ kind: "timer", timer, afterMs });
}

export function cancelTimer(node: LedgerNode, timer: TimerName): void {
  node.outputs.push({ kind: "cancel", timer });
}

/**
 * The keys of this node that count at the open height. Undefined: the chain names others there than
 * it holds, or none; then it signs nothing.
 */
export function ownKeys({ chain, nodeId, ring, remembering }: LedgerNode): NodeKeys | undefined {
  const isMember = chain.members.has(nodeId);
  const named = isMember ? memberKeysAt(chain, nodeId, nextHeight(chain)) : undefined;
  if (isMember && named === undefined) return undefined;
  const keys = named === undefined ? ring.own : ring.find(named);
  return keys === undefined ? undefined : remembering(keys);
}

/** On entry ownKeys() is not undefined. */
export function sign<M extends SignedMessage>(node: LedgerNode, draft: Draft<M>): M {
  const keys = ownKeys(node);
  assert(keys !== undefined, `${draft.kind} by a node that holds no key of this height`);
  return signMessage<M>(keys.signer, draft);
}

/** Says so where the chain names keys of this node that it does not hold. */
export function reportKeys(node: LedgerNode): void {
  const named = memberKeysAt(node.chain, node.nodeId, openHeight(node));
  if (named === undefined || ownKeys(node) !== undefined) return;
  report(node, "keys-absent", `height ${openHeight(node)} wants ${named.ledgerPub}`);
}

/** A header of the open height by this node. */
export function headerOf(
  node: LedgerNode,
  place: { readonly attempt: Attempt; readonly view: View; readonly term?: Term },
): MessageHeader {
  return {
    chainId: node.chain.chainId,
    term: place.term ?? node.term,
    height: openHeight(node),
    attempt: place.attempt,
    view: place.view,
    signer: node.nodeId,
  };
}

/** A header that says no more than who sends it, and a height. */
export function plainHeader(node: LedgerNode, height: Height): MessageHeader {
  return {
    chainId: node.chain.chainId,
    term: node.term,
    height,
    attempt: 0 as Attempt,
    view: 0 as View,
    signer: node.nodeId,
  };
}

/** Whether a member signed this, with the key that counts at the open height. */
export function isSignedByMember(node: LedgerNode, message: SignedMessage): boolean {
  const keys = memberKeysAt(node.chain, message.signer, openHeight(node));
  if (keys === undefined) return false;
  return node.crypto.signatures.verify(checkOf(message, keys.ledgerPub));
}

export function isSignedByMaster(node: LedgerNode, message: SignedMessage): boolean {
  if (message.signer !== masterId(node) || message.term !== node.term) return false;
  return node.crypto.signatures.verify(checkOf(message, node.masterPub));
}

/** MASTER_TERM acts on receipt; true when it begins a new term. */
export function takeMasterTerm(node: LedgerNode, message: MasterTermMessage): boolean {
  if (message.term <= node.term) return false;
  if (message.height !== 0 || message.attempt !== 0 || message.view !== 0) return false;
  if (!isMasterTerm(node.chain, message, node.crypto)) return false;
  node.term = message.term;
  node.masterPub = message.masterPub;
  node.masterTerm = message;
  return true;
}

/** After a new tip: a term that a block recorded needs no MASTER_TERM any more. */
export function settleTerm(node: LedgerNode): void {
  const recorded = recordedTerm(node.chain);
  if (recorded < node.term) return;
  node.term = recorded;
  node.masterPub = masterOf(node.chain, recorded)?.masterPub ?? node.masterPub;
  node.masterTerm = undefined;
}
