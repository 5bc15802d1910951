/**
 * Gossip and catch-up: every 2 s a node compares heights with the master and two random peers, and
 * pulls what it misses, headers first. Headers must be linked to the tip and to the checkpoint
 * before a body is asked for; every block is then applied whole, with its quorum and VRF proof.
 * docs/ledger.md "Catch-up". Answers are bounded by count and bytes.
 */
import type { BlockBody, BlockCore, SealedHeader } from "./block.ts";
import { blockHashOf } from "./block-core.ts";
import { checkpointFault } from "./checkpoint.ts";
import {
  type LedgerNode,
  masterId,
  memberIds,
  openHeight,
  plainHeader,
  report,
  send,
  setTimer,
} from "./ledger-node.ts";
import { type BlockHash, type Hash, type Height, NO_HASH, type NodeId } from "./ledger-units.ts";
import type {
  BodyRequest,
  BodyResponse,
  HeadersRequest,
  HeadersResponse,
} from "./message-types.ts";
import { extendChain, isNext, judgeBlock, takeRival } from "./sealing.ts";
import { bytesOf } from "./sha256.ts";

export const GOSSIP_MS = 2000;
const PEERS_ASKED = 2;
const HEADERS_ASKED = 64;
const BODIES_ASKED = 16;
/** A frame of 1 MiB holds it, whatever the headers around it. */
const ANSWER_BYTES_MAX = 900_000;
/** A peer that gives nothing for so long is left for another. */
const PATIENCE_MS = 3000;

export function onGossipTimer(node: LedgerNode, entropy: Hash): void {
  const { catchUp } = node;
  catchUp.nonces = [entropy, ...catchUp.nonces.slice(0, 1)];
  if (node.at.ms - catchUp.sinceMs > PATIENCE_MS) leavePeer(node);
  const peers = pickPeers(node, entropy, PEERS_ASKED);
  askHeaders(node, [masterId(node), ...peers], openHeight(node), HEADERS_ASKED);
  setTimer(node, "gossip", GOSSIP_MS);
}

/** `count` different members other than this one, by 32 random bytes. */
export function pickPeers(node: LedgerNode, entropy: Hash, count: number): NodeId[] {
  const left = memberIds(node).filter((nodeId) => nodeId !== node.nodeId);
  const random = bytesOf(entropy);
  const picked: NodeId[] = [];
  for (let i = 0; i < count && left.length > 0; i++) {
    const number = ((random[2 * i] ?? 0) << 8) | (random[2 * i + 1] ?? 0);
    picked.push(...left.splice(number % left.length, 1));
  }
  return picked;
}

export function askHeaders(
  node: LedgerNode,
  to: readonly NodeId[],
  height: Height,
  count: number,
): void {
  const nonce = node.catchUp.nonces[0] ?? NO_HASH;
  const header = plainHeader(node, height);
  const request: HeadersRequest = { kind: "HEADERS_REQ", ...header, nonce, count };
  send(node, to, request);
}

/** Whether this answers a question of this or the last gossip. */
export function isAnswer(node: LedgerNode, { nonce }: HeadersResponse): boolean {
  return node.catchUp.nonces.includes(nonce);
}

function leavePeer(node: LedgerNode): void {
  node.catchUp.headers = [];
  node.catchUp.peer = undefined;
}

export function onHeadersRequest(node: LedgerNode, from: NodeId, message: HeadersRequest): void {
  const headers: SealedHeader[] = [];
  const count = Math.min(message.count, HEADERS_ASKED);
  for (let i = 0; i < count; i++) {
    const block = node.history.at((message.height + i) as Height);
    if (block === undefined) break;
    headers.push({ core: block.core, proof: block.proof });
  }
  const { height } = node.chain;
  const { nonce } = message;
  send(node, [from], { kind: "HEADERS_RESP", ...plainHeader(node, height), nonce, headers });
}

export function onHeadersResponse(node: LedgerNode, from: NodeId, message: HeadersResponse): void {
  const [first] = message.headers;
  if (node.stoppedBy !== undefined || first === undefined || !isAnswer(node, message)) return;
  if (first.core.height === node.chain.height) {
    takeRival(node, first.core, first.proof);
    return;
  }
  if (first.core.height !== openHeight(node) || node.catchUp.headers.length > 0) return;
  // Whoever stands on another parent is asked for its seal of our height.
  if (!isNext(node, first.core)) return askHeaders(node, [from], node.chain.height, 1);
  const linked = linkedHeaders(node, message.headers);
  if (linked.length === 0) return;
  node.catchUp.headers = linked;
  node.catchUp.peer = from;
  node.catchUp.sinceMs = node.at.ms;
  askBodies(node);
}

/** Those from the first on that follow each other; none where one conflicts with the checkpoint. */
function linkedHeaders(node: LedgerNode, headers: readonly SealedHeader[]): SealedHeader[] {
  const { checkpoint } = node.catchUp;
  const linked: SealedHeader[] = [];
  let parent = node.chain.blockHash;
  let height = node.chain.height;
  for (const header of headers) {
    const { core } = header;
    if (core.height !== height + 1 || core.previousBlockHash !== parent) break;
    if (core.chainId !== node.chain.chainId) break;
    parent = blockHashOf(core);
    height = core.height;
    const misfit = checkpointFault(checkpoint, core);
    if (misfit !== undefined) {
      report(node, "refused", `${misfit.fault}: ${misfit.detail}`);
      return [];
    }
    linked.push(header);
  }
  return linked;
}

function askBodies(node: LedgerNode): void {
  const { headers, peer } = node.catchUp;
  if (peer === undefined || headers.length === 0) return;
  const blockHashes = headers.slice(0, BODIES_ASKED).map(({ core }) => blockHashOf(core));
  const request: BodyRequest = {
    kind: "BODY_REQ",
    ...plainHeader(node, openHeight(node)),
    blockHashes,
  };
  send(node, [peer], request);
}

type CoreAndBody = { readonly core: BlockCore; readonly body: BlockBody };

/** `unsealed` finds a candidate of this node that is not sealed yet. */
export function onBodyRequest(
  node: LedgerNode,
  from: NodeId,
  message: BodyRequest,
  unsealed: (blockHash: BlockHash) => CoreAndBody | undefined,
): void {
  const blocks: CoreAndBody[] = [];
  let sizeBytes = 0;
  for (const blockHash of message.blockHashes) {
    const block = unsealed(blockHash) ?? node.history.find(blockHash);
    if (block === undefined) continue;
    sizeBytes += sizeOf(block.body);
    if (blocks.length > 0 && sizeBytes > ANSWER_BYTES_MAX) break;
    blocks.push({ core: block.core, body: block.body });
  }
  if (blocks.length === 0) return;
  send(node, [from], { kind: "BODY_RESP", ...plainHeader(node, node.chain.height), blocks });
}

function sizeOf({ contracts, records }: BlockBody): number {
  let sizeBytes = 512;
  for (const bytes of contracts) sizeBytes += bytes.length + 4;
  for (const bytes of records) sizeBytes += bytes.length + 4;
  return sizeBytes;
}

/** Links what was asked for; gives back blocks that were not, and says whether the tip moved. */
export function onBodyResponse(
  node: LedgerNode,
  from: NodeId,
  message: BodyResponse,
): { readonly others: readonly CoreAndBody[]; readonly hasGrown: boolean } {
  const others: CoreAndBody[] = [];
  const before = node.chain.height;
  for (const block of message.blocks) {
    if (!link(node, from, block)) others.push(block);
  }
  const hasGrown = node.chain.height > before;
  if (hasGrown) pullOn(node, from);
  return { others, hasGrown };
}

/** A block that is the next header's: applied, or its peer is left. */
function link(node: LedgerNode, from: NodeId, { core, body }: CoreAndBody): boolean {
  const { catchUp } = node;
  dropKnown(node);
  const [header] = catchUp.headers;
  if (header === undefined || node.stoppedBy !== undefined || catchUp.peer !== from) return false;
  if (blockHashOf(core) !== blockHashOf(header.core)) return false;
  const block = { core, body, proof: header.proof };
  const judged = judgeBlock(node, block, undefined);
  if ("fault" in judged) {
    leavePeer(node);
    report(node, "refused", `block ${core.height} of ${from}: ${judged.fault} ${judged.detail}`);
    // Sealed by another quorum of the parent than the one known here: ask for it.
    if (judged.fault === "parent-quorum") askHeaders(node, [from], node.chain.height, 1);
    return true;
  }
  extendChain(node, block, judged);
  catchUp.headers = catchUp.headers.slice(1);
  catchUp.sinceMs = node.at.ms;
  return true;
}

/** Headers of blocks that came another way meanwhile. */
function dropKnown(node: LedgerNode): void {
  const { catchUp } = node;
  catchUp.headers = catchUp.headers.filter(({ core }) => core.height > node.chain.height);
}

function pullOn(node: LedgerNode, from: NodeId): void {
  if (node.catchUp.headers.length > 0) return askBodies(node);
  leavePeer(node);
  askHeaders(node, [from], openHeight(node), HEADERS_ASKED);
}
