/**
 * Replication along a line of nodes (paper §3.3.3, design "Spreading and checking"): by id,
 * ascending on even heights, descending on odd, so that the same node is not always last. A node
 * forwards to its successor; who does not acknowledge within 300 ms, three times, is skipped and
 * reported to the master. Used by validators and by the master, who stands before the first.
 */
import {
  cancelTimer,
  type LedgerNode,
  masterId,
  memberIds,
  plainHeader,
  report,
  send,
  setTimer,
} from "./ledger-node.ts";
import type { Height, NodeId } from "./ledger-units.ts";
import type { LinkDownMessage, ReplAckMessage, SealMessage } from "./message-types.ts";

const ACK_MS = 300;
const TRIES_MAX = 3;
/** Blocks on their way at once; what falls off is healed by gossip. */
const JOBS_MAX = 16;

/** What this node has forwarded and waits for, by height. */
export type Line = Map<Height, LineJob>;
type LineJob = {
  readonly message: SealMessage;
  /** The first is being tried. */
  readonly successors: NodeId[];
  tries: number;
};

/** Who comes after this node at a height; all for whoever is not in the line. */
export function successorsOf(node: LedgerNode, members: readonly NodeId[], height: Height) {
  const line = [...members].sort();
  if (height % 2 === 1) line.reverse();
  return line.slice(line.indexOf(node.nodeId) + 1);
}

/** On entry the seal has been verified. */
export function forward(node: LedgerNode, message: SealMessage): void {
  const { height } = message;
  const successors = successorsOf(node, memberIds(node), height);
  node.forwarded = Math.max(node.forwarded, height) as Height;
  if (successors.length === 0 || node.line.has(height)) return;
  for (const oldest of node.line.keys()) {
    if (node.line.size < JOBS_MAX) break;
    drop(node, oldest);
  }
  node.line.set(height, { message, successors, tries: 0 });
  tryNext(node, height);
}

export function onLineTimer(node: LedgerNode, height: Height): void {
  if (node.line.has(height)) tryNext(node, height);
}

function tryNext(node: LedgerNode, height: Height): void {
  const job = node.line.get(height);
  if (job === undefined) return;
  if (job.tries >= TRIES_MAX) skip(node, job);
  const [successor] = job.successors;
  if (successor === undefined) return drop(node, height);
  job.tries++;
  send(node, [successor], job.message);
  setTimer(node, `line ${height}`, ACK_MS);
}

function skip(node: LedgerNode, job: LineJob): void {
  const skipped = job.successors.shift();
  job.tries = 0;
  if (skipped === undefined) return;
  const { height, blockHash } = job.message;
  report(node, "link-down", `${skipped} did not acknowledge block ${height}`);
  const notice: LinkDownMessage = {
    kind: "LINK_DOWN",
    ...plainHeader(node, height),
    nodeId: skipped,
    blockHash,
  };
  send(node, [masterId(node)], notice);
}

function drop(node: LedgerNode, height: Height): void {
  node.line.delete(height);
  cancelTimer(node, `line ${height}`);
}

export function acknowledge(node: LedgerNode, to: NodeId, message: SealMessage): void {
  const { height, blockHash } = message;
  send(node, [to], { kind: "REPL_ACK", ...plainHeader(node, height), blockHash });
}

export function onReplAck(node: LedgerNode, from: NodeId, message: ReplAckMessage): void {
  const job = node.line.get(message.height);
  if (job === undefined || job.successors[0] !== from) return;
  if (job.message.blockHash === message.blockHash) drop(node, message.height);
}
