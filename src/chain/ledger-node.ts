/**
 * What validator and master have in common: the tip of the chain, keys, the master's term, and the
 * outputs of the step at hand. docs/ledger.md "Steps". No rule of the agreement is here.
 */
import type { SealProof } from "./block.ts";
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
import { rememberingCrypto } from "./verified-signatures.ts";

export type LedgerNode = {
  readonly nodeId: NodeId;
  readonly keys: NodeKeys;
  readonly crypto: LedgerCrypto;
  readonly history: BlockHistory;
  /** At the sealed tip. */
  chain: ChainState;
  /** Below it, to judge another seal of the same height; undefined at genesis. */
  below: ChainState | undefined;
  tipProof: SealProof | undefined;
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
  const { keys, chain } = config;
  const term = recordedTerm(chain);
  return {
    nodeId: nodeIdOf(keys.signer.publicKey),
    keys,
    crypto: rememberingCrypto(config.crypto),
    history: config.history,
    chain,
    below: config.below,
    tipProof: config.tipProof,
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
export function memberIds(node: LedgerNode): NodeId[] {
  const height = openHeight(node);
  const ids = [...node.chain.members.keys()].sort();
  return ids.filter((nodeId) => memberKeysAt(node.chain, nodeId, height) !== undefined);
}

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

export function sign<M extends SignedMessage>(node: LedgerNode, draft: Draft<M>): M {
  return signMessage<M>(node.keys.signer, draft);
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
