/**
 * Peers and tags are numbers to flows, sessions and policy: their positions in the running agent's
 * lists. An update must not move them: what stays keeps its position, what is gone leaves a place
 * that means nobody, what is new takes a place that was free before, or a new one. Kept in the
 * state directory, so that saved flows mean the same at the next start.
 */
import { toHex } from "../bytes.ts";
import { AbsError } from "../errors.ts";
import type { TagIndex } from "../units.ts";
import { meaningOf, type Provisioning } from "./provisioning.ts";
import { PEERS_MAX, type Peer, TAGS_MAX, type Tag } from "./provisioning-fields.ts";

export interface Positions {
  /** By PeerIndex; `isGone`: the peer was removed. */
  readonly peers: readonly { readonly id: string; readonly isGone: boolean }[];
  /** By TagIndex, in hex. */
  readonly tags: readonly string[];
}

const NO_KEY = new Uint8Array(32);

export function positionsOf({ peers, tags }: Provisioning): Positions {
  return {
    peers: peers.map((peer) => ({ id: peer.id, isGone: isGone(peer) })),
    tags: tags.map(({ bytes }) => toHex(bytes)),
  };
}

/** Whether the place of a removed peer. */
export function isGone({ staticPublic }: Peer): boolean {
  return staticPublic.every((byte) => byte === 0);
}

/** `fresh` with the positions of `before`. Throws AbsError `POSITIONS_FULL`. */
export function aligned(fresh: Provisioning, before: Positions): Provisioning {
  const tags = alignedTags(fresh.tags, before.tags);
  const position = new Map(tags.map(({ bytes }, i) => [toHex(bytes), i as TagIndex]));
  const moved = (indexes: readonly TagIndex[]): TagIndex[] =>
    indexes.flatMap((index) => {
      const tag = fresh.tags[index];
      return (tag && position.get(toHex(tag.bytes))) ?? [];
    });
  const movedPeers = fresh.peers.map((peer) => ({ ...peer, tags: moved(peer.tags) }));
  const peers = alignedPeers(movedPeers, before.peers);
  const node = { ...fresh.node, tags: moved(fresh.node.tags) };
  const digest = meaningOf(node, fresh.tenant, tags, peers);
  return { ...fresh, node, tags, peers, digest };
}

function alignedTags(fresh: readonly Tag[], before: readonly string[]): Tag[] {
  const left = new Map(fresh.map((tag) => [toHex(tag.bytes), tag]));
  const tags = before.map((hex): Tag => {
    const tag = left.get(hex);
    left.delete(hex);
    // Without a name nobody can ask for it; its bytes stay, since they must mean nothing else.
    return tag ?? { name: "", bytes: Uint8Array.fromHex(hex) };
  });
  tags.push(...left.values());
  if (tags.length > TAGS_MAX) throw full(`${tags.length} tags`, TAGS_MAX);
  return tags;
}

function alignedPeers(fresh: readonly Peer[], before: Positions["peers"]): Peer[] {
  const left = new Map(fresh.map((peer) => [peer.id, peer]));
  const peers = before.map(({ id }): Peer => {
    const peer = left.get(id);
    left.delete(id);
    return peer ?? gonePeer(id);
  });
  const free = before.flatMap(({ isGone }, i) =>
    isGone && peers[i]?.addresses.length === 0 ? [i] : [],
  );
  for (const peer of left.values()) peers[free.shift() ?? peers.length] = peer;
  if (peers.length > PEERS_MAX) throw full(`${peers.length} peers`, PEERS_MAX);
  return peers;
}

function gonePeer(id: string): Peer {
  const nothing = { addresses: [], macs: [], groups: [], tags: [] };
  return { id, ...nothing, mode: "full", carrier: "ip", staticPublic: NO_KEY };
}

function full(what: string, most: number): AbsError {
  const message = `With what this agent knew before, there are ${what}; at most ${most} fit.`;
  return new AbsError("POSITIONS_FULL", message, "Restart the agent with an empty state folder.");
}
