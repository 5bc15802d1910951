/**
 * Who agrees on a block: seed, weighted draw without replacement, seats and cool-down.
 * docs/ledger.md "Choosing"; Fig. 9 of the paper. A function of the chain alone, in integers, so
 * that everyone draws the same committee before its leader is known to anyone.
 */
import { ByteWriter } from "./byte-codec.ts";
import type { Committee } from "./certificate.ts";
import type { Attempt, ChainId, Hash, Height, NodeId, View, VrfBeta } from "./ledger-units.ts";
import type { Stake } from "./member.ts";
import { bytesOf, TAG, taggedBytes, taggedHash } from "./sha256.ts";

/** The seed of heights 0 and 1. */
export function firstSeed(genesisHash: string): Hash {
  return taggedHash(TAG.seed, bytesOf(genesisHash));
}

/** seed(h + 1), of seed(h) and the parent_beta in the core of h. */
export function nextSeed(seed: Hash, parentBeta: VrfBeta): Hash {
  return taggedHash(TAG.seed, bytesOf(seed), bytesOf(parentBeta));
}

export type LeaderPlace = {
  readonly chainId: ChainId;
  readonly height: Height;
  readonly attempt: Attempt;
  readonly view: View;
};

/** What the leader of a view proves its random output of; the tag is part of it. */
export function vrfAlpha(place: LeaderPlace, seed: Hash): Uint8Array {
  const writer = new ByteWriter();
  writer.raw(TAG.vrf);
  writer.hex(place.chainId);
  writer.u64(place.height);
  writer.u16(place.attempt);
  writer.u16(place.view);
  writer.hex(seed);
  return writer.finish();
}

export type Draw = {
  /** Sorted by node id. */
  readonly eligible: readonly Stake[];
  readonly seed: Hash;
  readonly attempt: Attempt;
  readonly committeeMax: number;
  /** Let their view pass lately: they take the last seats, in the order drawn. */
  readonly isCooling: (nodeId: NodeId) => boolean;
};

/**
 * C(h, attempt). Cooling nodes keep their vote, since a committee without them could bear fewer
 * liars; only leading comes to them last.
 */
export function drawCommittee(draw: Draw): Committee {
  const left = [...draw.eligible];
  let weight = left.reduce((sum, stake) => sum + stake.weight, 0);
  const drawn: NodeId[] = [];
  const count = Math.min(draw.committeeMax, left.length);
  for (let i = 0; i < count; i++) {
    const picked = pick(left, drawnNumber(draw.seed, draw.attempt, i, weight));
    const [stake] = left.splice(picked, 1);
    if (stake === undefined) break;
    weight -= stake.weight;
    drawn.push(stake.nodeId);
  }
  const ready = drawn.filter((nodeId) => !draw.isCooling(nodeId));
  return [...ready, ...drawn.filter((nodeId) => draw.isCooling(nodeId))];
}

/** First 16 bytes of the tagged hash, big-endian, modulo the weight that is left. */
function drawnNumber(seed: Hash, attempt: Attempt, i: number, weight: number): number {
  const place = new ByteWriter();
  place.u16(attempt);
  place.u16(i);
  const hash = taggedBytes(TAG.draw, bytesOf(seed), place.finish());
  const view = new DataView(hash.buffer, hash.byteOffset);
  let rest = 0;
  // 16 bits at a time stay exact for any weight below 2^37: a billion nodes.
  for (let at = 0; at < 16; at += 2) rest = (rest * 65_536 + view.getUint16(at, false)) % weight;
  return rest;
}

/** By prefix sum. */
function pick(stakes: readonly Stake[], number: number): number {
  let sum = 0;
  for (let i = 0; i < stakes.length; i++) {
    sum += stakes[i]?.weight ?? 0;
    if (number < sum) return i;
  }
  return stakes.length - 1;
}
