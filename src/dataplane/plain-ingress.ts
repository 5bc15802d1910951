/**
 * Ingress, the short way: DATA packets that nearly all are (untagged Ethernet, IPv4 of 20 bytes,
 * `ip` carrier, live authenticated session, inside whole UDP or TCP in mid-stream) of an allowed
 * flow. What they go through is ingress.ts in three fused loops without a call a packet; whatever
 * is anything else, and every refusal, is left to that. Each loop stops at the first packet not
 * for this way before it has changed anything of it.
 * Hot path. Offsets are bytes of the pool.
 */
import { ABS_HEADER_BYTES, CARRIER_UDP } from "./crafting.ts";
import {
  F_LOCAL3,
  F_PEER,
  F_PORTS,
  F_PROTOCOL,
  F_REMOTE3,
  F_SEEN,
  F_STATE,
  F_TAG_RULE,
  FLOW_ALLOWED,
  FLOW_FROM_REMOTE,
  FLOW_WORDS,
} from "./flow-table.ts";
import type { IngressJobs } from "./ingress-jobs.ts";
import {
  FRAGMENT_BITS,
  IPV4_TYPES,
  IPV4_TYPES_MASK,
  PLAIN_ADDRESSES,
  PLAIN_CHECKSUM,
  PLAIN_DESTINATION_AT,
  PLAIN_DESTINATION_END,
  PLAIN_FRAGMENT,
  PLAIN_IP_AT,
  PLAIN_LENGTH_AND_ID,
  PLAIN_PAYLOAD_AT,
  PLAIN_SOURCE_AT,
  PLAIN_TYPES,
  TCP,
  TCP_ACK,
  TCP_BYTES_MIN,
  TCP_FLAGS_MASK,
  UDP,
  UDP_BYTES,
  wordsOf,
} from "./plain-ipv4.ts";
import type { Plane } from "./plane.ts";
import { COUNTER_MAX } from "./replay-window.ts";
import { BURST_MAX } from "./send-queue.ts";
import { SESSION_CAPACITY_MAX, SESSION_LIVE } from "./session-table.ts";

const ABS_DATA = 0x15; // version 1, flag DATA
const LANE_MAX = 15;
const HEADERS_BYTES = 66; // Ethernet, IPv4, ABS
const ABS_HEADER_WORDS = 8;
const SLOT_MASK = SESSION_CAPACITY_MAX - 1;
const TWO_TO_32 = 4294967296;
const KEY_WORDS = 8; // of an address pair
const IPV4 = 4;
// Words from the frame's start while the ABS header is in place.
const ABS_FRAGMENT = 9; // fragment field of the packet inside, half the index
const INNER_PORTS = 16; // half the proof, source port
const INNER_UDP_LENGTH = 17; // destination port, UDP length
const INNER_TCP_FLAGS = 19; // half the acknowledgement, data offset, flags

export class IngressPlain {
  /** How many entries of `jobs` restore() and its caller have kept. */
  restored = 0;
  /** The address pair that a session's packets came from last. */
  readonly #lastPair = new Int32Array(SESSION_CAPACITY_MAX);
  readonly #words: Int32Array;

  constructor(
    readonly plane: Plane,
    readonly jobs: IngressJobs,
  ) {
    this.#words = wordsOf(plane.memory);
  }

  /**
   * Checks packets of the burst from `first` on up to their proof. Returns the first not for it.
   */
  admit(offset: Uint32Array, length: Uint32Array, first: number, count: number): number {
    if (this.plane.ownCarrier === CARRIER_UDP) return first;
    let i = this.#admitKnown(offset, length, first, count);
    while (i < count && this.#learnPair(offset[i], length[i])) {
      i = this.#admitKnown(offset, length, i, count);
    }
    return i;
  }

  /** Whether the session of the packet at `start` may have a new address pair, which is noted. */
  #learnPair(start: number, length: number): boolean {
    if (length < HEADERS_BYTES) return false;
    const memory = this.plane.memory;
    const pairs = this.plane.pairs;
    const index = memory.getInt32(start + PLAIN_PAYLOAD_AT + 4, false);
    const slot = index & SLOT_MASK;
    if ((this.plane.sessions.receiverIndex[slot] ^ index) !== 0) return false;
    const destination = memory.getInt32(start + PLAIN_DESTINATION_AT, false);
    const source = memory.getInt32(start + PLAIN_SOURCE_AT, false);
    if (pairs.is4(this.#lastPair[slot], destination, source)) return false;
    const pair = pairs.find4(destination, source);
    if (pair < 0) return false;
    this.#lastPair[slot] = pair;
    return true;
  }

  /**
   * As admit(), up to a packet from an address pair that its session's last one was not from.
   * Without a call in the loop, after which JavaScriptCore would read and check every table again.
   */
  #admitKnown(offset: Uint32Array, length: Uint32Array, first: number, count: number): number {
    const plane = this.plane;
    const memory = plane.memory;
    const words = this.#words;
    const sessions = plane.sessions;
    const receiverIndex = sessions.receiverIndex;
    const quickIn = sessions.quickIn;
    const sessionPeer = sessions.peer;
    const keyIn = sessions.keyIn;
    const confidentialIn = sessions.confidentialIn;
    const pairs = plane.pairs;
    const pairKeys = pairs.keys;
    const pairVersion = pairs.version;
    const pairPeer = pairs.peer;
    const hashIn = pairs.hashIn;
    const windows = plane.windows;
    const windowNext = windows.next;
    const windowBits = windows.bits;
    const windowSlots = windows.slots;
    const windowPackets = windows.windowPackets;
    const ringMask = windows.ringMask;
    const cellWords = windows.cellWords;
    const lastPair = this.#lastPair;
    const carrierProtocol = plane.carrierProtocol;
    const jobs = this.jobs;
    const pseudo = jobs.pseudo;
    const jobPacket = jobs.packet;
    const jobSlot = jobs.slot;
    const jobPair = jobs.pair;
    const jobLane = jobs.lane;
    const jobCounter = jobs.counter;
    const jobPlain = jobs.plain;
    const jobKey = jobs.key;
    const jobHeader = jobs.header;
    const jobText = jobs.text;
    const jobConfidential = jobs.confidential;
    let job = jobs.count;
    let i = first;
    for (; i < count; i++) {
      const start = offset[i];
      const room = length[i];
      if (room < HEADERS_BYTES || (start & 3) !== 0) break;
      const at = start >>> 2;
      const fragment = words[at + PLAIN_FRAGMENT];
      const odd =
        ((words[at + PLAIN_TYPES] & IPV4_TYPES_MASK) ^ IPV4_TYPES) |
        (fragment & FRAGMENT_BITS) |
        ((fragment >>> 24) ^ carrierProtocol) |
        (((words[at + PLAIN_DESTINATION_END] >>> 16) & 0xff) ^ ABS_DATA);
      if (odd !== 0) break;
      const lengthAndId = words[at + PLAIN_LENGTH_AND_ID];
      const total = ((lengthAndId & 0xff) << 8) | ((lengthAndId >>> 8) & 0xff);
      if (total + PLAIN_IP_AT > room || total < HEADERS_BYTES - PLAIN_IP_AT) break;
      const index = memory.getInt32(start + 38, false);
      const slot = index & SLOT_MASK;
      const laneAndHigh = memory.getInt32(start + 42, false);
      const lane = laneAndHigh >>> 24;
      if (((receiverIndex[slot] ^ index) | quickIn[slot]) !== 0 || lane > LANE_MAX) break;
      const pair = lastPair[slot];
      const key = pair * KEY_WORDS;
      const stranger =
        (pairKeys[key + 3] ^ memory.getInt32(start + PLAIN_DESTINATION_AT, false)) |
        (pairKeys[key + 7] ^ memory.getInt32(start + PLAIN_SOURCE_AT, false)) |
        (pairVersion[pair] ^ IPV4) |
        (pairPeer[pair] ^ sessionPeer[slot]);
      if (stranger !== 0) break;
      const counter =
        (laneAndHigh & 0xffffff) * TWO_TO_32 + (memory.getInt32(start + 46, false) >>> 0);
      // ReplayWindow.check()
      const cell = lane * windowSlots + slot;
      const next = windowNext[cell];
      const bit = counter & ringMask;
      // Read even when not needed: restore() finds it in the cache.
      const seen = windowBits[cell * cellWords + (bit >>> 5)] >>> (bit & 31);
      if (counter < next) {
        if (counter < next - windowPackets || (seen & 1) !== 0) break;
      } else if (counter > COUNTER_MAX) break;
      jobPacket[job] = i;
      jobSlot[job] = slot;
      jobPair[job] = pair;
      jobLane[job] = lane;
      jobCounter[job] = counter;
      jobPlain[job] = 1;
      jobKey[job] = keyIn[slot];
      jobHeader[job] = start + PLAIN_PAYLOAD_AT;
      jobText[job] = total + PLAIN_IP_AT - HEADERS_BYTES;
      jobConfidential[job] = confidentialIn[slot];
      const shorter = total - ABS_HEADER_BYTES;
      pseudo.setInt32(16 * job, hashIn[3 * pair] | 0, false);
      pseudo.setInt32(16 * job + 4, hashIn[3 * pair + 1] | 0, false);
      pseudo.setInt32(16 * job + 8, hashIn[3 * pair + 2] | 0, false);
      const inner = (lengthAndId & 0xffff0000) | ((shorter & 0xff) << 8) | (shorter >>> 8);
      pseudo.setInt32(16 * job + 12, inner, true);
      job++;
    }
    jobs.count = job;
    return i;
  }

  /**
   * Marks counters and undoes the crafting of opened jobs from `first` on. Returns the first that
   * is not plain inside, not proven, or whose counter is not the lane's next; nothing of it is
   * changed. ReplayWindow.mark() and FlowHash.of4() are written out: without a call in the loop.
   */
  restore(offset: Uint32Array, length: Uint32Array, first: number): number {
    const plane = this.plane;
    const memory = plane.memory;
    const words = this.#words;
    const sessions = plane.sessions;
    const state = sessions.state;
    const lastReceivedUs = sessions.lastReceivedUs;
    const lastHeardUs = sessions.lastHeardUs;
    const windows = plane.windows;
    const windowNext = windows.next;
    const windowBits = windows.bits;
    const windowSlots = windows.slots;
    const ringMask = windows.ringMask;
    const cellWords = windows.cellWords;
    const { seed, factor0, factor1, factor2, factor3, factor4 } = plane.flows.hash;
    const nowUs = plane.nowUs;
    const jobs = this.jobs;
    const jobPacket = jobs.packet;
    const jobSlot = jobs.slot;
    const jobPair = jobs.pair;
    const jobPlain = jobs.plain;
    const jobPorts = jobs.ports;
    const jobProtocol = jobs.protocol;
    const jobHash = jobs.hash;
    const jobText = jobs.text;
    const jobLane = jobs.lane;
    const jobCounter = jobs.counter;
    const valid = jobs.valid;
    const count = jobs.count;
    let restored = this.restored;
    let job = first;
    for (; job < count; job++) {
      const i = jobPacket[job];
      const slot = jobSlot[job];
      const start = offset[i];
      const text = jobText[job];
      const from = start >>> 2;
      const to = from + ABS_HEADER_WORDS;
      const destinationEnd = words[from + PLAIN_DESTINATION_END];
      const protocol = destinationEnd >>> 24;
      const field = words[from + ABS_FRAGMENT] & 0xffff;
      if ((jobPlain[job] & valid[job]) === 0 || (field & FRAGMENT_BITS) !== 0) break;
      if (state[slot] !== SESSION_LIVE) break;
      if (protocol === UDP) {
        const udp = words[from + INNER_UDP_LENGTH];
        const bytes = ((udp >>> 8) & 0xff00) | (udp >>> 24);
        if (text < UDP_BYTES || bytes < UDP_BYTES || bytes > text) break;
      } else {
        if (protocol !== TCP || text < TCP_BYTES_MIN) break;
        const flags = words[from + INNER_TCP_FLAGS];
        const bytes = (flags >>> 18) & 0x3c;
        if (bytes < TCP_BYTES_MIN || bytes > text) break;
        if (((flags >>> 24) & TCP_FLAGS_MASK) !== TCP_ACK) break;
      }
      const counter = jobCounter[job];
      const cell = jobLane[job] * windowSlots + slot;
      if (counter !== windowNext[cell] || counter === 0) break;
      windowNext[cell] = counter + 1;
      const bit = counter & ringMask;
      windowBits[cell * cellWords + (bit >>> 5)] |= 1 << (bit & 31);
      lastHeardUs[slot] = nowUs;
      lastReceivedUs[slot] = nowUs;

      // The headers move back by 32 bytes; all is read before the first word is written over.
      const fragment = words[from + PLAIN_FRAGMENT];
      const lengthAndId = words[from + PLAIN_LENGTH_AND_ID];
      const checksum = words[from + PLAIN_CHECKSUM];
      const source = memory.getInt32(start + PLAIN_SOURCE_AT, false);
      const destination = memory.getInt32(start + PLAIN_DESTINATION_AT, false);
      const total = ((lengthAndId & 0xff) << 8) | ((lengthAndId >>> 8) & 0xff);
      const shorter = total - ABS_HEADER_BYTES;
      const shorterField = ((shorter & 0xff) << 8) | (shorter >>> 8);
      const ttlProtocol = ((fragment >>> 16) & 0xff) | (protocol << 8);
      // RFC 1624 equation 3, as crafting.ts rewriteIpv4, over the fields as they lie in memory.
      let sum =
        (~checksum & 0xffff) +
        (~lengthAndId & 0xffff) +
        shorterField +
        (~fragment & 0xffff) +
        field +
        (~(fragment >>> 16) & 0xffff) +
        ttlProtocol;
      sum = (sum & 0xffff) + (sum >>> 16);
      sum = (sum & 0xffff) + (sum >>> 16);
      words[to + PLAIN_DESTINATION_END] =
        (destinationEnd & 0xffff) | (words[from + INNER_PORTS] & 0xffff0000);
      words[to] = words[from];
      words[to + 1] = words[from + 1];
      words[to + 2] = words[from + 2];
      words[to + PLAIN_TYPES] = words[from + PLAIN_TYPES];
      words[to + PLAIN_LENGTH_AND_ID] = (lengthAndId & 0xffff0000) | shorterField;
      words[to + PLAIN_FRAGMENT] = field | (ttlProtocol << 16);
      words[to + PLAIN_CHECKSUM] = (checksum & 0xffff0000) | (~sum & 0xffff);
      words[to + PLAIN_ADDRESSES] = words[from + PLAIN_ADDRESSES];
      offset[i] = start + ABS_HEADER_BYTES;
      length[i] = shorter + PLAIN_IP_AT;

      const ports = memory.getInt32(start + PLAIN_PAYLOAD_AT + ABS_HEADER_BYTES, false);
      const swapped = (ports << 16) | (ports >>> 16);
      const beside = destination ^ Math.imul(protocol, factor4);
      let hash = Math.imul(swapped ^ seed, factor0);
      hash = Math.imul(hash ^ (hash >>> 15) ^ source, factor1);
      hash = Math.imul(hash ^ (hash >>> 14) ^ beside, factor2);
      hash = Math.imul(hash ^ (hash >>> 16), factor3);
      jobHash[restored] = hash ^ (hash >>> 16);
      jobPacket[restored] = i;
      jobSlot[restored] = slot;
      jobPair[restored] = jobPair[job];
      jobPlain[restored] = 1;
      jobPorts[restored] = swapped;
      jobProtocol[restored] = protocol;
      restored++;
    }
    this.restored = restored;
    return job;
  }

  /** Delivers restored packets of allowed flows from `first` on, after flows.prefetch(). */
  deliver(handle: Uint32Array, offset: Uint32Array, length: Uint32Array, first: number): number {
    const plane = this.plane;
    const memory = plane.memory;
    const words = plane.flows.signed;
    const hints = plane.flows.hints;
    const sessions = plane.sessions;
    const sessionTag = sessions.tag;
    const sessionPeer = sessions.peer;
    const sessionRole = sessions.role;
    const nowSeconds = plane.nowSeconds;
    const jobs = this.jobs;
    const count = this.restored;
    const queue = plane.inside;
    if (queue.count + count - first > BURST_MAX) queue.flush();
    let queued = queue.count;
    let job = first;
    for (; job < count; job++) {
      const flow = hints[job];
      if (jobs.plain[job] === 0 || flow < 0) break;
      const i = jobs.packet[job];
      const slot = jobs.slot[job];
      const start = offset[i];
      const at = flow * FLOW_WORDS;
      const state = words[at + F_STATE] | 0;
      const tag = sessionTag[slot];
      const difference =
        (words[at + F_REMOTE3] ^ memory.getInt32(start + 26, false)) |
        (words[at + F_LOCAL3] ^ memory.getInt32(start + 30, false)) |
        (words[at + F_PORTS] ^ jobs.ports[job]) |
        (words[at + F_PROTOCOL] ^ jobs.protocol[job]) |
        ((state & 0xff) ^ FLOW_ALLOWED) |
        ((words[at + F_TAG_RULE] >>> 16) ^ tag) |
        ((words[at + F_PEER] & 0xffff) ^ (sessionPeer[slot] + 1));
      if (difference !== 0) break;
      const fromRemote = (state & FLOW_FROM_REMOTE) === 0 ? 0 : 1;
      if (tag !== 0 && sessionRole[slot] !== fromRemote) break;
      words[at + F_SEEN] = nowSeconds;
      queue.handle[queued] = handle[i];
      queue.offset[queued] = start;
      queue.length[queued] = length[i];
      queued++;
    }
    queue.count = queued;
    return job;
  }
}
