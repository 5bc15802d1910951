/**
 * The table of flows of a capture: both directions of a 5-tuple in one entry of typed arrays. Hot
 * path. Side 0 is the end with the smaller address (then port), so that both directions find
 * the entry; which side began is a flag. Fixed capacity: when it is full, the flow that has been
 * silent longest, of a few that are looked at in turn, ends early; the tracker reports it.
 */
import type { PacketHeaders } from "./packet-headers.ts";

/** 262,144 flows at once: 16 MiB of words, 6 MiB of IPv6 addresses. */
export const FLOWS_MAX = 1 << 18;
const BUCKETS = 1 << 19;
/** Entries that eviction compares. */
const EVICTION_SAMPLE = 8;

/** Words of an entry: one cache line. Words 14 and 15 are one double: bytes of both directions. */
export const FLOW_WORDS = 16;
/** Protocol, and the IP version shifted by 8; 0: the entry is free. */
export const F_KIND = 0;
export const F_ADDRESS = 1; // and 2: last words of the addresses of side 0 and 1
export const F_PORTS = 3; // side 0's, shifted by 16, and side 1's
const F_HASH = 4;
/** Index + 1 of the next entry of the bucket, or of the next free one. */
const F_NEXT = 5;
export const F_FLAGS = 6;
export const F_PACKETS = 7; // and 8: sent by side 0 and 1
export const F_FIRST = 9; // and 10: sequence number of the first payload byte of side 0 and 1
export const F_SEATS = 11; // number + 1 of the gathering seats: side 0's low, side 1's high
const F_LAST = 12; // number of the newest packet
export const F_ORDER = 13; // number of the first packet
const F_BYTES = 7; // as a double

/** Flags of an entry. */
export const INITIATOR_IS_1 = 1;
/** TCP without a SYN or SYN-ACK in the capture. */
export const MID_STREAM = 2;
export const CLOSED = 4;
/** A fragment of this flow came, and its first payload could not be put together. */
export const FRAGMENTED = 8;
/** Side 0's; side 1's is shifted by 1. */
export const DECIDED = 0x10; // its first payload was judged
export const HAS_FIRST = 0x40; // F_FIRST is known

export class TrackedFlows {
  readonly words: Int32Array;
  readonly doubles: Float64Array;
  /** Words 0 to 2 of both addresses of IPv6 flows. */
  readonly wide: Int32Array;
  count = 0;
  /** Side that sent the packet looked up last. */
  side = 0;
  /** 1 when the flow looked up last is new. */
  isNew = 0;

  readonly #buckets = new Int32Array(BUCKETS);
  #free = 0;
  /** Entries from here on were never used. */
  #fresh = 0;
  #hand = 0;
  readonly #seed = crypto.getRandomValues(new Int32Array(1))[0];

  /** @param capacity flows at once; at most FLOWS_MAX */
  constructor(readonly capacity: number) {
    this.words = new Int32Array(capacity * FLOW_WORDS);
    this.doubles = new Float64Array(this.words.buffer);
    this.wide = new Int32Array(capacity * 6);
  }

  /**
   * The flow of the packet, made when there is none; -1 when the table is full: evict, ask again.
   * `number` is the packet's.
   */
  find(packet: PacketHeaders, number: number): number {
    let low3 = packet.source3;
    let high3 = packet.destination3;
    let ports = (packet.sourcePort << 16) | packet.destinationPort;
    const kind = packet.protocol | (packet.version << 8);
    const side = packet.version === 4 ? sideOf4(packet) : sideOf6(packet);
    if (side === 1) {
      low3 = packet.destination3;
      high3 = packet.source3;
      ports = (packet.destinationPort << 16) | packet.sourcePort;
    }
    this.side = side;
    const hash = this.#hashOf(low3, high3, ports, kind, packet);
    const words = this.words;
    const bucket = hash & (BUCKETS - 1);
    for (let next = this.#buckets[bucket]; next !== 0; ) {
      const at = (next - 1) * FLOW_WORDS;
      if (
        words[at + F_PORTS] === ports &&
        words[at + F_ADDRESS] === low3 &&
        words[at + F_ADDRESS + 1] === high3 &&
        words[at + F_KIND] === kind &&
        (packet.version === 4 || this.#isWide(next - 1, packet, side))
      ) {
        words[at + F_LAST] = number;
        this.isNew = 0;
        return next - 1;
      }
      next = words[at + F_NEXT];
    }
    return this.#make(packet, number, bucket, hash, kind, low3, high3, ports);
  }

  #make(
    packet: PacketHeaders,
    number: number,
    bucket: number,
    hash: number,
    kind: number,
    low3: number,
    high3: number,
    ports: number,
  ): number {
    const words = this.words;
    let flow = this.#free - 1;
    if (flow >= 0) this.#free = words[flow * FLOW_WORDS + F_NEXT];
    else if (this.#fresh === this.capacity) return -1;
    else flow = this.#fresh++;
    const at = flow * FLOW_WORDS;
    words[at + F_KIND] = kind;
    words[at + F_ADDRESS] = low3;
    words[at + F_ADDRESS + 1] = high3;
    words[at + F_PORTS] = ports;
    words[at + F_HASH] = hash;
    words[at + F_NEXT] = this.#buckets[bucket];
    words[at + F_FLAGS] = this.side === 1 ? INITIATOR_IS_1 : 0;
    words[at + F_PACKETS] = 0;
    words[at + F_PACKETS + 1] = 0;
    words[at + F_FIRST] = 0;
    words[at + F_FIRST + 1] = 0;
    words[at + F_SEATS] = 0;
    words[at + F_LAST] = number;
    words[at + F_ORDER] = number;
    this.doubles[(at >> 1) + F_BYTES] = 0;
    if (packet.version === 6) this.#writeWide(flow, packet);
    this.#buckets[bucket] = flow + 1;
    this.count++;
    this.isNew = 1;
    return flow;
  }

  /** Counts a packet of the flow. */
  add(flow: number, side: number, bytes: number): void {
    const at = flow * FLOW_WORDS;
    this.words[at + F_PACKETS + side]++;
    this.doubles[(at >> 1) + F_BYTES] += bytes;
  }

  bytesOf(flow: number): number {
    return this.doubles[((flow * FLOW_WORDS) >> 1) + F_BYTES];
  }

  /** The flow to end when the table is full: the most silent of the next few. */
  victim(): number {
    const words = this.words;
    let victim = -1;
    let oldest = 0;
    for (let seen = 0; seen < EVICTION_SAMPLE; this.#hand = (this.#hand + 1) % this.capacity) {
      const at = this.#hand * FLOW_WORDS;
      if (words[at + F_KIND] === 0) continue;
      seen++;
      // Packet numbers wrap: the difference is what counts.
      if (victim >= 0 && ((words[at + F_LAST] - oldest) | 0) >= 0) continue;
      victim = this.#hand;
      oldest = words[at + F_LAST];
    }
    return victim;
  }

  remove(flow: number): void {
    const words = this.words;
    const at = flow * FLOW_WORDS;
    const bucket = words[at + F_HASH] & (BUCKETS - 1);
    if (this.#buckets[bucket] === flow + 1) {
      this.#buckets[bucket] = words[at + F_NEXT];
    } else {
      let before = this.#buckets[bucket] - 1;
      while (words[before * FLOW_WORDS + F_NEXT] !== flow + 1) {
        before = words[before * FLOW_WORDS + F_NEXT] - 1;
      }
      words[before * FLOW_WORDS + F_NEXT] = words[at + F_NEXT];
    }
    words[at + F_KIND] = 0;
    words[at + F_NEXT] = this.#free;
    this.#free = flow + 1;
    this.count--;
  }

  /** Set-up, once a capture. All flows, in the order of their first packets. */
  inOrder(): Int32Array {
    const words = this.words;
    // Order and number in one double, so that sorting needs no function to compare.
    const keys = new Float64Array(this.count);
    let count = 0;
    for (let flow = 0; flow < this.#fresh; flow++) {
      const at = flow * FLOW_WORDS;
      if (words[at + F_KIND] !== 0) keys[count++] = (words[at + F_ORDER] >>> 0) * FLOWS_MAX + flow;
    }
    return Int32Array.from(keys.sort(), (key) => key % FLOWS_MAX);
  }

  /** Forgets everything: for the next capture. */
  clear(): void {
    this.#buckets.fill(0);
    this.#free = 0;
    this.#fresh = 0;
    this.#hand = 0;
    this.count = 0;
  }

  #isWide(flow: number, packet: PacketHeaders, side: number): boolean {
    const wide = this.wide;
    const at = flow * 6;
    const source = at + 3 * side;
    const destination = at + 3 - 3 * side;
    return (
      wide[source] === packet.source0 &&
      wide[source + 1] === packet.source1 &&
      wide[source + 2] === packet.source2 &&
      wide[destination] === packet.destination0 &&
      wide[destination + 1] === packet.destination1 &&
      wide[destination + 2] === packet.destination2
    );
  }

  #writeWide(flow: number, packet: PacketHeaders): void {
    const wide = this.wide;
    const source = flow * 6 + 3 * this.side;
    const destination = flow * 6 + 3 - 3 * this.side;
    wide[source] = packet.source0;
    wide[source + 1] = packet.source1;
    wide[source + 2] = packet.source2;
    wide[destination] = packet.destination0;
    wide[destination + 1] = packet.destination1;
    wide[destination + 2] = packet.destination2;
  }

  /** Seeded, so that nobody can write a capture whose flows share one bucket. */
  #hashOf(low3: number, high3: number, ports: number, kind: number, packet: PacketHeaders): number {
    let hash = Math.imul(ports ^ this.#seed, 0x9e3779b1);
    hash = Math.imul(hash ^ (hash >>> 15) ^ low3, 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 13) ^ high3, 0xc2b2ae35);
    if (packet.version === 6) {
      // The same from both sides: sums, mixed afterwards.
      hash = Math.imul(hash ^ (packet.source0 + packet.destination0), 0x27d4eb2f);
      hash = Math.imul(hash ^ (hash >>> 14) ^ (packet.source1 + packet.destination1), 0x165667b1);
      hash = Math.imul(hash ^ (hash >>> 15) ^ (packet.source2 + packet.destination2), 0x9e3779b1);
    }
    hash = Math.imul(hash ^ (hash >>> 16) ^ kind, 0x7feb352d);
    return hash ^ (hash >>> 15);
  }
}

function sideOf4(packet: PacketHeaders): number {
  if (packet.source3 !== packet.destination3) return packet.source3 < packet.destination3 ? 0 : 1;
  return packet.sourcePort <= packet.destinationPort ? 0 : 1;
}

function sideOf6(packet: PacketHeaders): number {
  if (packet.source3 !== packet.destination3) return packet.source3 < packet.destination3 ? 0 : 1;
  if (packet.source0 !== packet.destination0) return packet.source0 < packet.destination0 ? 0 : 1;
  if (packet.source1 !== packet.destination1) return packet.source1 < packet.destination1 ? 0 : 1;
  if (packet.source2 !== packet.destination2) return packet.source2 < packet.destination2 ? 0 : 1;
  return packet.sourcePort <= packet.destinationPort ? 0 : 1;
}
