/**
 * Packets that wait: for a session (docs/wire.md "HANDSHAKE": a quarter of the pool in all, a
 * sixteenth a peer, 5 s) or for the next segment of a flow being identified. First in, first out
 * per owner, an owner being any small number the caller chooses (a binding, a seat).
 * Hot path. Fixed memory; put() says HOLD_FULL or HOLD_PEER_FULL when a bound is hit, and the
 * packet stays the caller's. The queue only keeps numbers: it never touches packets.
 */
import { assert } from "../errors.ts";

export const HOLD_OK = 0;
export const HOLD_FULL = 1;
export const HOLD_PEER_FULL = 2;
export const HOLD_US = 5_000_000;

const NONE = -1;

export class HoldQueue {
  count = 0;
  /** The packet that takeOne() or expireOne() took out last. */
  handle = 0;
  offset = 0;
  length = 0;
  context = 0;
  owner = 0;
  peer = 0;
  sinceUs = 0;

  private readonly handles: Uint32Array;
  private readonly offsets: Uint32Array;
  private readonly lengths: Uint32Array;
  private readonly contexts: Uint32Array;
  private readonly owners: Int32Array;
  private readonly peers: Int32Array;
  private readonly since: Float64Array;
  /** The next packet of the same owner, or the next free entry. */
  private readonly next: Int32Array;
  /** Neighbours in the order of time, all owners together. */
  private readonly older: Int32Array;
  private readonly newer: Int32Array;

  private readonly first: Int32Array;
  private readonly last: Int32Array;
  private readonly ownerCount: Uint32Array;
  private readonly peerCount: Uint32Array;
  private free = NONE;
  private unused = 0;
  private oldest = NONE;
  private newest = NONE;

  /**
   * @param capacity packets in all
   * @param owners owner numbers are below this
   * @param peerCount peer indexes are below this
   * @param peerCapacity packets of one peer
   * @param holdUs how long a packet may wait before expireOne() gives it back
   */
  constructor(
    readonly capacity: number,
    owners: number,
    peers: number,
    readonly peerCapacity: number = Math.max(1, capacity >>> 2),
    readonly holdUs: number = HOLD_US,
  ) {
    assert(capacity >= 1 && owners >= 1 && peers >= 1, "hold queue capacity out of range");
    this.handles = new Uint32Array(capacity);
    this.offsets = new Uint32Array(capacity);
    this.lengths = new Uint32Array(capacity);
    this.contexts = new Uint32Array(capacity);
    this.owners = new Int32Array(capacity);
    this.peers = new Int32Array(capacity);
    this.since = new Float64Array(capacity);
    this.next = new Int32Array(capacity);
    this.older = new Int32Array(capacity);
    this.newer = new Int32Array(capacity);
    this.first = new Int32Array(owners).fill(NONE);
    this.last = new Int32Array(owners).fill(NONE);
    this.ownerCount = new Uint32Array(owners);
    this.peerCount = new Uint32Array(peers);
  }

  /**
   * Holds a packet as the owner's newest. @param context one number of the caller's
   * Returns HOLD_OK, HOLD_FULL (also for an owner out of range) or HOLD_PEER_FULL (also for a
   * peer).
   */
  put(
    owner: number,
    peer: number,
    handle: number,
    offset: number,
    length: number,
    context: number,
    nowUs: number,
  ): number {
    if (this.count === this.capacity || !(owner >= 0 && owner < this.first.length)) {
      return HOLD_FULL;
    }
    if (!(peer >= 0 && peer < this.peerCount.length)) return HOLD_PEER_FULL;
    if (this.peerCount[peer] >= this.peerCapacity) return HOLD_PEER_FULL;
    const entry = this.takeEntry();
    this.handles[entry] = handle;
    this.offsets[entry] = offset;
    this.lengths[entry] = length;
    this.contexts[entry] = context;
    this.owners[entry] = owner;
    this.peers[entry] = peer;
    this.since[entry] = nowUs;
    this.next[entry] = NONE;
    const before = this.last[owner];
    if (before === NONE) this.first[owner] = entry;
    else this.next[before] = entry;
    this.last[owner] = entry;
    this.older[entry] = this.newest;
    this.newer[entry] = NONE;
    if (this.newest === NONE) this.oldest = entry;
    else this.newer[this.newest] = entry;
    this.newest = entry;
    this.ownerCount[owner]++;
    this.peerCount[peer]++;
    this.count++;
    return HOLD_OK;
  }

  /** Packets that wait for `owner`. */
  countOf(owner: number): number {
    return this.ownerCount[owner];
  }

  /** Packets of `peer` that wait. */
  countOfPeer(peer: number): number {
    return this.peerCount[peer];
  }

  /** Takes the owner's oldest packet out into the fields above; false when none waits. */
  takeOne(owner: number): boolean {
    const entry = this.first[owner];
    if (!(entry >= 0)) return false;
    this.remove(entry);
    return true;
  }

  /** Takes out the packet that waits longest, when it has waited for holdUs; else false. */
  expireOne(nowUs: number): boolean {
    const entry = this.oldest;
    if (entry === NONE || nowUs - this.since[entry] < this.holdUs) return false;
    this.remove(entry);
    return true;
  }

  /** When expireOne() will have something to give back, Infinity when nothing waits. */
  nextExpiryUs(): number {
    return this.oldest === NONE ? Number.POSITIVE_INFINITY : this.since[this.oldest] + this.holdUs;
  }

  private takeEntry(): number {
    const entry = this.free;
    if (entry === NONE) return this.unused++;
    this.free = this.next[entry];
    return entry;
  }

  /**
   * The entry is its owner's first: the oldest of all is, as both lists are in the order of put().
   */
  private remove(entry: number): void {
    const owner = this.owners[entry];
    const peer = this.peers[entry];
    this.handle = this.handles[entry];
    this.offset = this.offsets[entry];
    this.length = this.lengths[entry];
    this.context = this.contexts[entry];
    this.owner = owner;
    this.peer = peer;
    this.sinceUs = this.since[entry];
    this.first[owner] = this.next[entry];
    if (this.first[owner] === NONE) this.last[owner] = NONE;
    const older = this.older[entry];
    const newer = this.newer[entry];
    if (older === NONE) this.oldest = newer;
    else this.newer[older] = newer;
    if (newer === NONE) this.newest = older;
    else this.older[newer] = older;
    this.next[entry] = this.free;
    this.free = entry;
    this.ownerCount[owner]--;
    this.peerCount[peer]--;
    this.count--;
  }
}
