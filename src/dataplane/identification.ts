/**
 * Recognising the application of a flow's initiator by its first payload, as flow state
 * `identifying`. design/agent.md "Egress" 4: when the payload is shorter than a candidate needs,
 * wait for the next segment, at most IDENTIFY_SEGMENTS segments, IDENTIFY_BYTES bytes,
 * IDENTIFY_WAIT_US. Packets wait in the hold queue under the flow's seat number; bytes are gathered
 * in a fixed text. Hot path.
 */

import { DROP } from "./drop-reasons.ts";
import {
  F_PEER,
  F_STATE,
  FLOW_ESTABLISHING,
  FLOW_IDENTIFYING,
  FLOW_SERVER_FIRST,
  FLOW_WORDS,
} from "./flow-table.ts";
import { type ParsedPacket, PROTOCOL_TCP } from "./parsed-packet.ts";
import type { Plane } from "./plane.ts";
import { MATCH_MORE, MATCH_NONE } from "./policy-seam.ts";
import { addressOf, fixedU8, fixedU32 } from "./shim.ts";
import { TimerWheel } from "./timer-wheel.ts";

export const IDENTIFY_SEGMENTS = 3;
export const IDENTIFY_BYTES = 512;
export const IDENTIFY_WAIT_US = 200_000;
/**
 * Flows that may wait for more bytes at the same time; the next ones are judged by what they have.
 */
export const IDENTIFY_SEATS = 1024;
/** Resolution of the time limit. */
const TICK_US = 5_000;

/** Answers of offer(): a drop reason is positive. */
export const IDENTIFIED = 0;
export const IDENTIFY_HELD = -1;

export class Identification {
  /** Of the flow identified last. */
  tag = 0;
  signature = -1;
  /** Owner of the packets that waited with that flow, or -1; they are released with its packet. */
  waiting = -1;
  /** 1 when the packet at hand is older than those that waited, so that it leaves first. */
  isOldest = 0;

  /** Flow + 1 of each seat; 0 when it is free. */
  readonly #flow = fixedU32(IDENTIFY_SEATS);
  readonly #since = new Float64Array(IDENTIFY_SEATS);
  readonly #timers = new TimerWheel(IDENTIFY_SEATS, TICK_US, 0);
  /** Number of each taken seat's timer. */
  readonly #timer = new Float64Array(IDENTIFY_SEATS);
  readonly #segments = fixedU8(IDENTIFY_SEATS);
  readonly #textBytes = new Uint16Array(IDENTIFY_SEATS);
  /** What the flow's responder has said before and meanwhile, in bytes. */
  readonly #spoken = fixedU32(IDENTIFY_SEATS);
  readonly #nextSequence = fixedU32(IDENTIFY_SEATS);
  readonly #text = fixedU8(IDENTIFY_SEATS * IDENTIFY_BYTES);
  readonly #textMemory = new DataView(this.#text.buffer);
  readonly #textPointer = addressOf(this.#text);
  #seatsTaken = 0;
  #seatHint = 0;

  constructor(
    readonly plane: Plane,
    /** First owner number of the hold queue that belongs to seats. */
    readonly firstOwner: number,
  ) {}

  hasCandidate(packet: ParsedPacket): boolean {
    return this.plane.matcher.hasCandidate(packet);
  }

  /**
   * Looks at the payload of `packet`, the initiator's. IDENTIFIED (tag and signature are set),
   * IDENTIFY_HELD (the packet is kept), or the reason why the flow is to be refused.
   */
  offer(handle: number, start: number, length: number, packet: ParsedPacket, flow: number): number {
    const seat = this.#seatOf(flow);
    this.waiting = -1;
    if (seat >= 0) return this.#more(handle, start, length, packet, flow, seat);
    const bytes = packet.payloadEnd - packet.payloadStart;
    const address = this.plane.poolAddress + packet.payloadStart;
    const isWhole = packet.transportProtocol === PROTOCOL_TCP && packet.isFragment === 0;
    const mayWait = isWhole && bytes < IDENTIFY_BYTES;
    const found = this.plane.matcher.match(packet, address, bytes, mayWait ? 0 : 1);
    if (found !== MATCH_MORE) return this.#conclude(found);
    const fresh = this.#takeSeat();
    if (fresh < 0) return this.#conclude(this.plane.matcher.match(packet, address, bytes, 1));
    this.#flow[fresh] = flow + 1;
    this.#since[fresh] = this.plane.nowUs;
    this.#timer[fresh] = this.#timers.set(this.plane.nowUs + IDENTIFY_WAIT_US, 0, fresh);
    this.#segments[fresh] = 0;
    this.#textBytes[fresh] = 0;
    this.#nextSequence[fresh] = packet.tcpSequence;
    const words = this.plane.flows.words;
    const at = flow * FLOW_WORDS;
    const before = words[at + F_STATE];
    this.#spoken[fresh] = (before & 0xff) === FLOW_SERVER_FIRST ? before >>> 16 : 0;
    words[at + F_STATE] = (before & 0xff00) | FLOW_IDENTIFYING | (fresh << 16);
    this.#append(packet, fresh);
    const held = this.#hold(handle, start, length, fresh, flow);
    if (held !== IDENTIFY_HELD) this.#rise(flow, fresh);
    return held;
  }

  /** Counts what a responder said while its flow waits; returns the sum in bytes. */
  addSpoken(flow: number, bytes: number): number {
    const seat = this.#seatOf(flow);
    if (seat < 0) return bytes;
    this.#spoken[seat] += bytes;
    return this.#spoken[seat];
  }

  /** Bytes of the flow's first payload that were gathered, for an event; 0 without a seat. */
  gatheredBytes(flow: number): number {
    const seat = this.#seatOf(flow);
    return seat < 0 ? 0 : this.#textBytes[seat];
  }

  /** Judges flows that waited IDENTIFY_WAIT_US by what there is. Bounded by the seats taken. */
  expire(): void {
    const timers = this.#timers;
    const now = this.plane.nowUs;
    for (let fired = timers.advance(now); fired > 0; fired = timers.advance(now)) {
      for (let i = 0; i < fired; i++) this.#timeOver(timers.firedId[i]);
    }
  }

  #timeOver(seat: number): void {
    // A flow judged just before may have left this seat to another one.
    const oldest = this.plane.nowUs - IDENTIFY_WAIT_US;
    if (this.#flow[seat] === 0 || this.#since[seat] > oldest) return;
    this.#since[seat] = 0; // the oldest packet, offered once more, is judged at once
    if (!this.plane.releaseOne(this.firstOwner + seat)) this.#freeSeat(seat);
    else if (this.#flow[seat] !== 0 && this.#since[seat] === 0) {
      this.#timer[seat] = this.#timers.set(this.plane.nowUs + TICK_US, 0, seat);
    }
  }

  /** Ends the waiting of a flow that is forgotten: its seat is free and its packets are dropped. */
  leave(flow: number): void {
    const seat = this.#seatOf(flow);
    if (seat < 0) return;
    this.#freeSeat(seat);
    this.plane.dropOwner(this.firstOwner + seat, DROP.identifyTimeout);
  }

  #seatOf(flow: number): number {
    const word = this.plane.flows.words[flow * FLOW_WORDS + F_STATE];
    if ((word & 0xff) !== FLOW_IDENTIFYING) return -1;
    const seat = word >>> 16;
    return seat < IDENTIFY_SEATS && this.#flow[seat] === flow + 1 ? seat : -1;
  }

  /** A packet of a flow that waits: a held one offered again, or the next segment. */
  #more(
    handle: number,
    start: number,
    length: number,
    packet: ParsedPacket,
    flow: number,
    seat: number,
  ): number {
    const plane = this.plane;
    const before = this.#textBytes[seat];
    const isNext = this.#append(packet, seat);
    const late = plane.nowUs - this.#since[seat] >= IDENTIFY_WAIT_US;
    const full = this.#segments[seat] >= IDENTIFY_SEGMENTS;
    const final = late || full || this.#textBytes[seat] === IDENTIFY_BYTES ? 1 : 0;
    const address = this.#textPointer + seat * IDENTIFY_BYTES;
    const found = plane.matcher.match(packet, address, this.#textBytes[seat], final);
    if (found === MATCH_MORE) {
      // Repetitions wait too, as many as there may be segments.
      const isFull = plane.holds.countOf(this.firstOwner + seat) >= IDENTIFY_SEGMENTS;
      const held = isFull ? DROP.identifyLimit : this.#hold(handle, start, length, seat, flow);
      if (held !== IDENTIFY_HELD && isNext) {
        this.#textBytes[seat] = before;
        this.#segments[seat]--;
        this.#nextSequence[seat] = packet.tcpSequence;
      }
      return held;
    }
    this.#rise(flow, seat);
    this.waiting = this.firstOwner + seat;
    this.isOldest = late && this.#since[seat] === 0 ? 1 : 0;
    return this.#conclude(found);
  }

  /** As #rise(), for a flow that need not be identified; returns the owner of what waits. */
  rise(flow: number): number {
    const seat = this.#seatOf(flow);
    if (seat < 0) return -1;
    this.#rise(flow, seat);
    return this.firstOwner + seat;
  }

  /** The flow leaves its seat, and is what it was before. */
  #rise(flow: number, seat: number): void {
    const words = this.plane.flows.words;
    const at = flow * FLOW_WORDS;
    const spoken = this.#spoken[seat];
    const state = spoken > 0 ? (spoken << 16) | FLOW_SERVER_FIRST : FLOW_ESTABLISHING;
    words[at + F_STATE] = (words[at + F_STATE] & 0xff00) | state;
    this.#freeSeat(seat);
  }

  /** Takes the bytes that continue the text; false for retransmissions and gaps. */
  #append(packet: ParsedPacket, seat: number): boolean {
    if (packet.tcpSequence !== this.#nextSequence[seat]) return false;
    const room = IDENTIFY_BYTES - this.#textBytes[seat];
    const bytes = packet.payloadEnd - packet.payloadStart;
    const count = bytes < room ? bytes : room;
    const to = seat * IDENTIFY_BYTES + this.#textBytes[seat];
    for (let i = 0; i < count; i++) {
      this.#textMemory.setUint8(to + i, this.plane.memory.getUint8(packet.payloadStart + i));
    }
    this.#textBytes[seat] += count;
    this.#segments[seat]++;
    this.#nextSequence[seat] = packet.tcpSequence + bytes;
    return true;
  }

  #hold(handle: number, start: number, length: number, seat: number, flow: number): number {
    const plane = this.plane;
    const peer = (plane.flows.words[flow * FLOW_WORDS + F_PEER] & 0xffff) - 1;
    const owner = this.firstOwner + seat;
    const held = plane.holds.put(owner, peer, handle, start, length, 0, plane.nowUs);
    return held === 0 ? IDENTIFY_HELD : DROP.holdQueueFull;
  }

  #conclude(found: number): number {
    this.signature = found;
    this.tag = 0;
    if (found === MATCH_NONE) return DROP.noSignature;
    const tag = this.plane.matcher.tagOf(found);
    if (tag <= 0) return DROP.notEntitled;
    this.tag = tag;
    return IDENTIFIED;
  }

  #takeSeat(): number {
    if (this.#seatsTaken === IDENTIFY_SEATS) return -1;
    for (let step = 0; step < IDENTIFY_SEATS; step++) {
      const seat = this.#seatHint;
      this.#seatHint = (seat + 1) & (IDENTIFY_SEATS - 1);
      if (this.#flow[seat] !== 0) continue;
      this.#seatsTaken++;
      return seat;
    }
    return -1;
  }

  #freeSeat(seat: number): void {
    this.#timers.cancel(this.#timer[seat]);
    this.#flow[seat] = 0;
    this.#seatsTaken--;
  }
}
