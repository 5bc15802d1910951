/**
 * Gossip and catch-up: every 2 s a node compares heights with the master and two random peers, and
 * pulls what it misses, headers first. Headers must be linked to the tip and to the checkpoint
 * before a body is asked for; every block is then applied whole. Quorums and VRF proofs are
 * verified at every change of the voters and at the end of each answer, the master's signature at
 * every block. docs/ledger.md "Catch-up". Answers are bounded by count and bytes.
 */
import { applyBlock, withSeal } from "./apply-block.ts";
import type { Block, BlockBody, BlockCore, SealedHeader } from "./block.ts";
import { blockHashOf } from "./block-core.ts";
import type { Refusal } from "./block-fault.ts";
import { bodySize } from "./certificate-codec.ts";
import type { ChainState } from "./chain-state.ts";
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
import type { BlockHash, Hash, Height, NodeId } from "./ledger-units.ts";
import type {
  BodyRequest,
  BodyResponse,
  HeadersRequest,
  HeadersResponse,
} from "./message-types.ts";
import { checkSealBelow } from "./seal-check.ts";
import { extendChain, isNext, type Judged, judgeOn, takeRival } from "./sealing.ts";
import { bytesOf } from "./sha256.ts";

export const GOSSIP_MS = 2000;
const PEERS_ASKED = 2;
const HEADERS_ASKED = 256;
const BODIES_ASKED = 64;
/** A frame of 1 MiB holds it, whatever the headers around it. */
const ANSWER_BYTES_MAX = 900_000;
/** More than a core takes. */
const CORE_WORDS_BYTES = 512;
/** A peer that gives nothing for so long is left for another. */
const PATIENCE_MS = 3000;

export function onGossipTimer(node: LedgerNode, entropy: Hash): void {
  const { catchUp } = node;
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
  const request: HeadersRequest = { kind: "HEADERS_REQ", ...plainHeader(node, height), count };
  send(node, to, request);
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
  send(node, [from], { kind: "HEADERS_RESP", ...plainHeader(node, height), headers });
}

export function onHeadersResponse(node: LedgerNode, from: NodeId, message: HeadersResponse): void {
  const [first] = message.headers;
  if (node.stoppedBy !== undefined || first === undefined) return;
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
    if (height === checkpoint?.height && parent !== checkpoint.blockHash) {
      report(node, "refused", `block ${height} is not the checkpoint's ${checkpoint.blockHash}`);
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
    sizeBytes += CORE_WORDS_BYTES + bodySize(block.body);
    if (blocks.length > 0 && sizeBytes > ANSWER_BYTES_MAX) break;
    blocks.push({ core: block.core, body: block.body });
  }
  if (blocks.length === 0) return;
  send(node, [from], { kind: "BODY_RESP", ...plainHeader(node, node.chain.height), blocks });
}

/** Links what was asked for; gives back blocks that were not, and says whether the tip moved. */
export function onBodyResponse(
  node: LedgerNode,
  from: NodeId,
  message: BodyResponse,
): { readonly others: readonly CoreAndBody[]; readonly hasGrown: boolean } {
  const before = node.chain.height;
  const isAsked = node.stoppedBy === undefined && node.catchUp.peer === from;
  dropKnown(node);
  const wanted = isAsked ? wantedOf(node, message.blocks) : [];
  link(node, from, wanted);
  const hasGrown = node.chain.height > before;
  if (hasGrown) pullOn(node, from);
  return { others: message.blocks.slice(wanted.length), hasGrown };
}

/** The first of an answer, as far as they are the bodies of the headers that come next. */
function wantedOf({ catchUp }: LedgerNode, blocks: readonly CoreAndBody[]): Block[] {
  const wanted: Block[] = [];
  for (const { core, body } of blocks) {
    const header = catchUp.headers[wanted.length];
    if (header === undefined || blockHashOf(core) !== blockHashOf(header.core)) break;
    wanted.push({ core, body, proof: header.proof });
  }
  return wanted;
}

type Linked = { readonly block: Block; readonly judged: Judged };

/**
 * Applies blocks that follow each other. Quorum and VRF proof are verified of the last, which binds
 * those before it by their hashes, and of each that changes members, TNL, parameters or masters:
 * only then is the chain extended. Where something does not hold the peer is left.
 */
function link(node: LedgerNode, from: NodeId, blocks: readonly Block[]): void {
  let chain = node.chain;
  let unanchored: Linked[] = [];
  for (const [i, block] of blocks.entries()) {
    const next = applyBlock(chain, block.core, block.body, node.crypto);
    const child = blocks[i + 1]?.core;
    const isAnchor = child === undefined || "fault" in next || !haveSameVoters(chain, next);
    const judged = isAnchor
      ? judgeOn(node, chain, block, next)
      : judgeBelow(node, chain, { block, next, child });
    if ("fault" in judged) return refuseLink(node, from, block, judged);
    chain = withSeal(judged.next, judged.seal);
    unanchored.push({ block, judged });
    if (!isAnchor) continue;
    for (const linked of unanchored) extendChain(node, linked.block, linked.judged);
    node.catchUp.headers = node.catchUp.headers.slice(unanchored.length);
    node.catchUp.sinceMs = node.at.ms;
    unanchored = [];
  }
}

/** Whether the quorums above a block are judged by what those below it were. */
function haveSameVoters(one: ChainState, other: ChainState): boolean {
  const isSame = one.members === other.members && one.tnl === other.tnl;
  return isSame && one.params === other.params && one.masters === other.masters;
}

function judgeBelow(
  { crypto }: LedgerNode,
  chain: ChainState,
  linked: { readonly block: Block; readonly next: ChainState; readonly child: BlockCore },
): Judged | Refusal {
  const { block, next, child } = linked;
  const seal = checkSealBelow(chain, next, { proof: block.proof, child }, crypto);
  return "fault" in seal ? seal : { next, seal };
}

function refuseLink(node: LedgerNode, from: NodeId, { core }: Block, refusal: Refusal): void {
  leavePeer(node);
  report(node, "refused", `block ${core.height} of ${from}: ${refusal.fault} ${refusal.detail}`);
  // Sealed by another quorum of the parent than the one known here: ask for it.
  if (refusal.fault === "parent-quorum") askHeaders(node, [from], node.chain.height, 1);
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
