/**
 * Consistency checks (paper §3.3.3, design "Check"): each period a node has its own SCD root
 * recomputed from the disk and asks min(5, N - 1) random peers for a signed {height, block hash,
 * SCD root} over its nonce. Own root differs from the sealed header: blocks that are damaged are
 * fetched from the master and verified, the SCD is written anew, the master told. A peer differs:
 * it is reported, and asked for its seal, which may prove two chains (sealing.ts).
 */

import { contractWords } from "./apply-block.ts";
import type { BlockBody, BlockCore } from "./block.ts";
import { blockHashOf } from "./block-core.ts";
import { askHeaders, pickPeers } from "./catch-up.ts";
import {
  isSignedByMember,
  masterId,
  memberIds,
  ownKeys,
  plainHeader,
  report,
  send,
  setTimer,
  sign,
} from "./ledger-node.ts";
import type { BlockHash, Hash, Height, NodeId } from "./ledger-units.ts";
import { leafBytes, rootOf } from "./merkle.ts";
import type { BodyRequest, DigestRequest, DigestResponse } from "./message-types.ts";
import type { StepEvent } from "./step-types.ts";
import type { Validator } from "./validator-state.ts";

const PEERS_ASKED = 5;
/** An answer costs a walk over the whole disk: one asker gets no more than one in this time. */
const ANSWER_MS = 1000;
const ASKERS_MAX = 1024;

export type DigestChecks = {
  /** Of the questions that are out; undefined: none. */
  nonce: Hash | undefined;
  readonly asked: Set<NodeId>;
  /** When the last answer of each asker was begun. */
  readonly answeredMs: Map<NodeId, number>;
  /** Stored blocks that do not fit, asked of the master, by hash. */
  readonly damaged: Map<BlockHash, Height>;
};

export function createDigestChecks(): DigestChecks {
  return { nonce: undefined, asked: new Set(), answeredMs: new Map(), damaged: new Map() };
}

export function onCheckTimer(validator: Validator, entropy: Hash): void {
  const { digests } = validator;
  digests.nonce = entropy;
  digests.asked.clear();
  const peers = pickPeers(validator, entropy, Math.min(PEERS_ASKED, memberIds(validator).length));
  for (const peer of peers) digests.asked.add(peer);
  const { height } = validator.chain;
  const request: DigestRequest = {
    kind: "DIGEST_REQ",
    ...plainHeader(validator, height),
    nonce: entropy,
  };
  send(validator, peers, request);
  validator.outputs.push({ kind: "recompute", asker: undefined });
  setTimer(validator, "check", validator.checkPeriodMs);
}

/** The answer is recomputed from the disk, not copied from the header. */
export function onDigestRequest(validator: Validator, from: NodeId, message: DigestRequest): void {
  const { answeredMs } = validator.digests;
  const nowMs = validator.at.ms;
  if (nowMs - (answeredMs.get(from) ?? -ANSWER_MS) < ANSWER_MS) return;
  if (answeredMs.size >= ASKERS_MAX) answeredMs.clear();
  answeredMs.set(from, nowMs);
  const asker = { nodeId: from, nonce: message.nonce };
  validator.outputs.push({ kind: "recompute", asker });
}

export function onRecomputed(
  validator: Validator,
  event: Extract<StepEvent, { kind: "recomputed" }>,
): void {
  // The chain may have grown meanwhile: the disk is compared with the block that it was read at.
  const core = coreAt(validator, event.height);
  if (core === undefined) return;
  const { scdRoot } = event;
  if (event.asker !== undefined) {
    answer(validator, [event.asker.nodeId], { core, nonce: event.asker.nonce, scdRoot });
  }
  const isRight = scdRoot === core.scdRoot;
  if (isRight && event.damaged.length === 0) return;
  report(validator, "own-root-differs", `height ${event.height}: ${scdRoot} on the disk`);
  // A signed answer with the wrong root is the notice to the master.
  answer(validator, [masterId(validator)], { core, nonce: scdRoot, scdRoot });
  if (!isRight) {
    validator.outputs.push({ kind: "repair", chain: validator.chain });
    report(validator, "repaired", `the SCD of height ${event.height} was written anew`);
  }
  askDamaged(validator, event.damaged);
}

function coreAt({ chain, history }: Validator, height: Height): BlockCore | undefined {
  return height === chain.height ? chain.core : history.at(height)?.core;
}

function answer(
  validator: Validator,
  to: readonly NodeId[],
  words: { readonly core: BlockCore; readonly nonce: Hash; readonly scdRoot: Hash },
): void {
  if (ownKeys(validator) === undefined) return;
  const { core, nonce, scdRoot } = words;
  const response = sign<DigestResponse>(validator, {
    kind: "DIGEST_RESP",
    ...plainHeader(validator, core.height),
    ...{ nonce, blockHash: blockHashOf(core), scdRoot },
  });
  send(validator, to, response);
}

/** Headers are intact or the node would not have started: they say which bodies to fetch. */
function askDamaged(validator: Validator, damaged: readonly Height[]): void {
  const { digests } = validator;
  for (const height of damaged) {
    const block = validator.history.at(height);
    if (block !== undefined) digests.damaged.set(blockHashOf(block.core), height);
  }
  const blockHashes = [...digests.damaged.keys()].slice(0, 16);
  if (blockHashes.length === 0) return;
  const header = plainHeader(validator, validator.chain.height);
  const request: BodyRequest = { kind: "BODY_REQ", ...header, blockHashes };
  send(validator, [masterId(validator)], request);
}

/** A body that was asked for as damaged: verified against the core's roots, then replaced. */
export function takeRestored(
  validator: Validator,
  { core, body }: { readonly core: BlockCore; readonly body: BlockBody },
): boolean {
  const { digests, history } = validator;
  const height = digests.damaged.get(blockHashOf(core));
  const stored = height === undefined ? undefined : history.at(height);
  if (height === undefined || stored === undefined) return false;
  const { merkleRoot } = contractWords(core.chainId, core.height, body.contracts);
  const recordsRoot = rootOf(body.records.map(leafBytes));
  if (merkleRoot !== core.merkleRoot || recordsRoot !== core.recordsRoot) return true;
  digests.damaged.delete(blockHashOf(core));
  validator.outputs.push({ kind: "restore", block: { core, body, proof: stored.proof } });
  report(validator, "repaired", `block ${height} was fetched again`);
  return true;
}

export function onDigestResponse(validator: Validator, from: NodeId, message: DigestResponse) {
  const { digests, chain } = validator;
  if (message.nonce !== digests.nonce || message.signer !== from) return;
  if (!digests.asked.delete(from) || !isSignedByMember(validator, message)) return;
  if (message.height !== chain.height) return;
  const isSame = message.blockHash === chain.blockHash && message.scdRoot === chain.core.scdRoot;
  if (isSame) return;
  report(validator, "peer-differs", `${from} at height ${message.height}`);
  // Its own signature is on it: the master sees the same.
  send(validator, [masterId(validator)], message);
  if (message.blockHash !== chain.blockHash) askHeaders(validator, [from], chain.height, 1);
}
