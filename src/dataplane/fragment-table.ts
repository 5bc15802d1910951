/**
 * Fragments follow the verdict of their first fragment (docs/wire.md "Fragments and ICMP"): the
 * first names the flow, the later ones only addresses and an identification.
 * Hot path. Numbers in, numbers out; packets are the caller's handles. Fixed capacity, made once.
 *
 * Key: version, source, destination, identification, and for IPv4 the protocol. For IPv6 the next
 * header of a later fragment is not part of the identity (RFC 8200 §4.5), or two firsts could feed
 * one reassembly. An entry lives 1 s from its first packet, or until all its bytes were seen.
 * Later fragments that arrive before the first are held: in all at most `holdCapacity`, at most
 * HELD_PER_OWNER of one owner (a peer, or the rest of the world). An owner has at most a quarter
 * of the entries; a full table refuses new packets and never evicts live ones.
 * Any overlap, also an exact repetition, condemns the whole packet (RFC 5722).
 */
import { DROP } from "./drop-reasons.ts";
import { FragmentCoverage } from "./fragment-coverage.ts";
import type { ParsedPacket } from "./parsed-packet.ts";

/** Go by `verdict`; anything above 0 is a code of DROP. */
export const FRAGMENT_PASS = 0;
/** The table keeps the packet until it comes back by `released…`. */
export const FRAGMENT_HELD = -1;

export const HELD_PER_OWNER = 64;
export const FRAGMENT_LIFETIME_US = 1_000_000;

const KEY_WORDS = 10;
const WAITING = 0;
const DECIDED = 1;
const CONDEMNED = 2;

export class FragmentTable {
  /** The verdict word of the entry, after FRAGMENT_PASS. */
  verdict = 0;
  /** Held packets that the last call gave back; their owner is the caller again. */
  releasedCount = 0;
  readonly releasedHandle = new Uint32Array(HELD_PER_OWNER);
  readonly releasedOffset = new Uint32Array(HELD_PER_OWNER);
  readonly releasedLength = new Uint32Array(HELD_PER_OWNER);
  readonly releasedContext = new Uint32Array(HELD_PER_OWNER);
  /** 0: follow `verdict`; else the code of DROP to drop this packet with. */
  readonly releasedReason = new Uint8Array(HELD_PER_OWNER);
  /** Entries in use, and packets held. */
  entryCount = 0;
  heldCount = 0;

  readonly #entriesPerOwner: number;
  readonly #bucketMask: number;
  readonly #bucket: Int32Array;
  readonly #chain: Int32Array; // next entry of the bucket, or of the free list
  readonly #older: Int32Array; // list by age
  readonly #newer: Int32Array;
  #oldest = -1;
  #newest = -1;
  #freeEntry = 0;
  readonly #key: Uint32Array;
  readonly #owner: Uint32Array;
  readonly #state: Uint8Array;
  readonly #verdict: Uint32Array;
  readonly #session: Uint32Array;
  readonly #bornUs: Float64Array;
  readonly #bucketOf: Uint32Array;
  readonly #coverage: FragmentCoverage;
  readonly #firstHeld: Int32Array;
  readonly #lastHeld: Int32Array;

  readonly #nextHeld: Int32Array;
  readonly #heldHandle: Uint32Array;
  readonly #heldOffset: Uint32Array;
  readonly #heldLength: Uint32Array;
  readonly #heldContext: Uint32Array;
  readonly #heldSession: Uint32Array;
  #freeHeld = 0;
  readonly #ownerHeld: Uint32Array;
  readonly #ownerEntries: Uint32Array;
  readonly #wanted = new Uint32Array(KEY_WORDS);
  readonly #seed: number;

  /**
   * @param capacity packets in reassembly at one time, at least 4
   * @param holdCapacity packets held in all
   * @param owners number of owners: peers, and one for everybody else
   * @param seed random, so that a stranger cannot aim at one bucket
   */
  constructor(capacity: number, holdCapacity: number, owners: number, seed: number) {
    this.#seed = seed | 0;
    let buckets = 16;
    while (buckets < capacity * 2) buckets *= 2;
    this.#entriesPerOwner = Math.max(1, capacity >>> 2);
    this.#bucketMask = buckets - 1;
    this.#bucket = new Int32Array(buckets).fill(-1);
    this.#chain = freeList(capacity);
    this.#older = new Int32Array(capacity).fill(-1);
    this.#newer = new Int32Array(capacity).fill(-1);
    this.#key = new Uint32Array(capacity * KEY_WORDS);
    this.#owner = new Uint32Array(capacity);
    this.#state = new Uint8Array(capacity);
    this.#verdict = new Uint32Array(capacity);
    this.#session = new Uint32Array(capacity);
    this.#bornUs = new Float64Array(capacity);
    this.#bucketOf = new Uint32Array(capacity);
    this.#coverage = new FragmentCoverage(capacity);
    this.#firstHeld = new Int32Array(capacity).fill(-1);
    this.#lastHeld = new Int32Array(capacity).fill(-1);
    this.#nextHeld = freeList(holdCapacity);
    this.#heldHandle = new Uint32Array(holdCapacity);
    this.#heldOffset = new Uint32Array(holdCapacity);
    this.#heldLength = new Uint32Array(holdCapacity);
    this.#heldContext = new Uint32Array(holdCapacity);
    this.#heldSession = new Uint32Array(holdCapacity);
    this.#ownerHeld = new Uint32Array(owners);
    this.#ownerEntries = new Uint32Array(owners);
  }

  /**
   * A first fragment, whose verdict is known. Returns FRAGMENT_PASS, or the reason to drop it too.
   * @param owner who is charged for the entry, 0 … owners - 1
   * @param session what all fragments must share (peer and tag on the way in); any number
   * @param verdict any 32-bit word: it comes back for each later fragment
   */
  first(
    packet: ParsedPacket,
    owner: number,
    session: number,
    verdict: number,
    nowUs: number,
  ): number {
    this.releasedCount = 0;
    const entry = this.#entryOf(packet, owner, session, nowUs);
    if (entry < 0) return DROP.fragmentTableFull;
    if (this.#state[entry] === CONDEMNED) return DROP.fragmentOverlap;
    if (this.#session[entry] !== session && this.#state[entry] === DECIDED) {
      return DROP.fragmentSession;
    }
    if (!this.#mark(entry, packet)) return this.#condemn(entry);
    this.#state[entry] = DECIDED;
    this.#session[entry] = session;
    this.#verdict[entry] = verdict;
    this.verdict = verdict;
    this.#release(entry, 0);
    if (this.#coverage.isWhole(entry)) this.#remove(entry);
    return FRAGMENT_PASS;
  }

  /**
   * A later fragment. Returns FRAGMENT_PASS (`verdict` is set), FRAGMENT_HELD, or the reason to
   * drop it. `handle`, `offset`, `length` and `context` come back when a held packet is released.
   */
  later(
    packet: ParsedPacket,
    owner: number,
    session: number,
    handle: number,
    offset: number,
    length: number,
    context: number,
    nowUs: number,
  ): number {
    this.releasedCount = 0;
    const entry = this.#entryOf(packet, owner, session, nowUs);
    if (entry < 0) return DROP.fragmentTableFull;
    const state = this.#state[entry];
    if (state === CONDEMNED) return DROP.fragmentOverlap;
    if (state === DECIDED) {
      if (this.#session[entry] !== session) return DROP.fragmentSession;
      if (!this.#mark(entry, packet)) return this.#condemn(entry);
      this.verdict = this.#verdict[entry];
      if (this.#coverage.isWhole(entry)) this.#remove(entry);
      return FRAGMENT_PASS;
    }
    const slot = this.#freeHeld;
    const charged = this.#owner[entry];
    if (slot < 0 || this.#ownerHeld[charged] >= HELD_PER_OWNER) return DROP.fragmentHoldFull;
    if (!this.#mark(entry, packet)) return this.#condemn(entry);
    this.#freeHeld = this.#nextHeld[slot];
    this.#nextHeld[slot] = -1;
    this.#heldHandle[slot] = handle;
    this.#heldOffset[slot] = offset;
    this.#heldLength[slot] = length;
    this.#heldContext[slot] = context;
    this.#heldSession[slot] = session;
    if (this.#lastHeld[entry] < 0) this.#firstHeld[entry] = slot;
    else this.#nextHeld[this.#lastHeld[entry]] = slot;
    this.#lastHeld[entry] = slot;
    this.#ownerHeld[charged]++;
    this.heldCount++;
    return FRAGMENT_HELD;
  }

  /**
   * Ends entries older than a second, at most until held packets came back: call again while
   * `releasedCount` is not 0. Costs one comparison when nothing is due.
   */
  expire(nowUs: number): void {
    this.releasedCount = 0;
    while (this.#oldest >= 0 && this.releasedCount === 0) {
      const entry = this.#oldest;
      if (nowUs - this.#bornUs[entry] < FRAGMENT_LIFETIME_US) return;
      this.#release(entry, DROP.fragmentTimeout);
      this.#remove(entry);
    }
  }

  /** The live entry of this packet, made when there is none; -1 when there is no room. */
  #entryOf(packet: ParsedPacket, owner: number, session: number, nowUs: number): number {
    const bucket = this.#setWanted(packet);
    let entry = this.#bucket[bucket];
    while (entry >= 0 && !this.#isWanted(entry)) entry = this.#chain[entry];
    if (entry >= 0) {
      if (nowUs - this.#bornUs[entry] < FRAGMENT_LIFETIME_US) return entry;
      this.#release(entry, DROP.fragmentTimeout);
      this.#remove(entry);
    }
    entry = this.#freeEntry;
    if (entry < 0 || this.#ownerEntries[owner] >= this.#entriesPerOwner) return -1;
    this.#freeEntry = this.#chain[entry];
    this.#chain[entry] = this.#bucket[bucket];
    this.#bucket[bucket] = entry;
    this.#bucketOf[entry] = bucket;
    const key = entry * KEY_WORDS;
    for (let i = 0; i < KEY_WORDS; i++) this.#key[key + i] = this.#wanted[i];
    this.#owner[entry] = owner;
    this.#ownerEntries[owner]++;
    this.#state[entry] = WAITING;
    this.#session[entry] = session;
    this.#bornUs[entry] = nowUs;
    this.#coverage.clear(entry);
    this.#older[entry] = this.#newest;
    this.#newer[entry] = -1;
    if (this.#newest >= 0) this.#newer[this.#newest] = entry;
    else this.#oldest = entry;
    this.#newest = entry;
    this.entryCount++;
    return entry;
  }

  /** Writes the key of `packet` to `#wanted` and returns its bucket. */
  #setWanted(packet: ParsedPacket): number {
    const wanted = this.#wanted;
    wanted[0] = packet.source3;
    wanted[1] = packet.destination3;
    wanted[2] = packet.identification;
    wanted[3] = packet.ipVersion === 4 ? 0x0400 | packet.ipProtocol : 0x0600;
    wanted[4] = packet.source0;
    wanted[5] = packet.source1;
    wanted[6] = packet.source2;
    wanted[7] = packet.destination0;
    wanted[8] = packet.destination1;
    wanted[9] = packet.destination2;
    let hash = this.#seed;
    for (let i = 0; i < KEY_WORDS; i++) {
      hash = Math.imul(hash ^ wanted[i], 0x9e37_79b1);
      hash ^= hash >>> 15;
    }
    return hash & this.#bucketMask;
  }

  #isWanted(entry: number): boolean {
    const key = entry * KEY_WORDS;
    for (let i = 0; i < KEY_WORDS; i++) {
      if (this.#key[key + i] !== this.#wanted[i]) return false;
    }
    return true;
  }

  #mark(entry: number, packet: ParsedPacket): boolean {
    const bytes = packet.ipEnd - packet.fragmentDataStart;
    return this.#coverage.mark(entry, packet.fragmentOffsetBytes, bytes, packet.moreFragments);
  }

  #condemn(entry: number): number {
    this.#state[entry] = CONDEMNED;
    this.#release(entry, DROP.fragmentOverlap);
    return DROP.fragmentOverlap;
  }

  /** Gives the held packets of an entry back to the caller. */
  #release(entry: number, reason: number): void {
    let slot = this.#firstHeld[entry];
    let count = this.releasedCount;
    while (slot >= 0) {
      this.releasedHandle[count] = this.#heldHandle[slot];
      this.releasedOffset[count] = this.#heldOffset[slot];
      this.releasedLength[count] = this.#heldLength[slot];
      this.releasedContext[count] = this.#heldContext[slot];
      const strange = reason === 0 && this.#heldSession[slot] !== this.#session[entry];
      this.releasedReason[count] = strange ? DROP.fragmentSession : reason;
      count++;
      const next = this.#nextHeld[slot];
      this.#nextHeld[slot] = this.#freeHeld;
      this.#freeHeld = slot;
      slot = next;
    }
    const released = count - this.releasedCount;
    this.#ownerHeld[this.#owner[entry]] -= released;
    this.heldCount -= released;
    this.releasedCount = count;
    this.#firstHeld[entry] = -1;
    this.#lastHeld[entry] = -1;
  }

  #remove(entry: number): void {
    const bucket = this.#bucketOf[entry];
    let at = this.#bucket[bucket];
    if (at === entry) this.#bucket[bucket] = this.#chain[entry];
    else {
      while (this.#chain[at] !== entry) at = this.#chain[at];
      this.#chain[at] = this.#chain[entry];
    }
    this.#chain[entry] = this.#freeEntry;
    this.#freeEntry = entry;
    const older = this.#older[entry];
    const newer = this.#newer[entry];
    if (older >= 0) this.#newer[older] = newer;
    else this.#oldest = newer;
    if (newer >= 0) this.#older[newer] = older;
    else this.#newest = older;
    this.#ownerEntries[this.#owner[entry]]--;
    this.entryCount--;
  }
}

/** Set-up. Links 0 … count - 1 in a row, ended by -1. */
function freeList(count: number): Int32Array {
  const next = new Int32Array(count);
  for (let i = 0; i < count; i++) next[i] = i + 1 < count ? i + 1 : -1;
  return next;
}
