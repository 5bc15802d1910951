/**
 * Whether the next block can be agreed at all, as one node sees it: how many of the committee it
 * hears, and how many must agree. For people who wonder why no block comes; nothing decides by it.
 * docs/peer-channel.md "Frames": a peer speaks every 2 s.
 */
import { quorumOf } from "../chain/certificate.ts";
import { type ChainState, committeeOf } from "../chain/chain-state.ts";
import type { Attempt } from "../chain/ledger-units.ts";

/** Two frames that should have come have not. */
const SILENT_MS = 4_100;

export type PeerHeard = {
  readonly nodeId: string;
  /** Since it was last heard; undefined: there is no connection. */
  readonly silentMs: number | undefined;
};

export type CommitteeReach = {
  readonly committee: number;
  readonly quorum: number;
  readonly reachable: number;
};

/** @param self counts as heard, where it is a member */
export function committeeReach(
  chain: ChainState,
  self: string,
  peers: readonly PeerHeard[],
): CommitteeReach {
  const committee = committeeOf(chain, 0 as Attempt);
  const heard = new Set([self]);
  for (const { nodeId, silentMs } of peers) {
    if (silentMs !== undefined && silentMs < SILENT_MS) heard.add(nodeId);
  }
  return {
    committee: committee.length,
    quorum: committee.length === 0 ? 0 : quorumOf(committee.length),
    reachable: committee.filter((nodeId) => heard.has(nodeId)).length,
  };
}
