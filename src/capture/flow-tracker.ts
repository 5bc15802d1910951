/**
 * Packets of a capture to flows, and of each flow the first payload of each direction to the judge
 * (design/agent.md "Application signatures"). Hot path. TCP: in sequence order, so that repeated,
 * reordered, overlapping and split first segments change nothing; UDP, SCTP and others: the
 * first datagram that carries something. The initiator is who sent the SYN, else who did not send
 * the SYN-ACK, else who seems to by the ports, else who sent first.
 */

import {
  type PacketHeaders,
  PROTOCOL_TCP,
  TCP_ACK,
  TCP_FIN,
  TCP_RST,
  TCP_SYN,
} from "./packet-headers.ts";
import { PrefixBuffers } from "./prefix-buffers.ts";
import {
  CLOSED,
  DECIDED,
  F_FIRST,
  F_FLAGS,
  F_SEATS,
  FLOW_WORDS,
  FLOWS_MAX,
  HAS_FIRST,
  INITIATOR_IS_1,
  MID_STREAM,
  TrackedFlows,
} from "./tracked-flows.ts";

/** As the agent waits for more of a payload (design/agent.md "Egress" 4). */
const GATHER_SEGMENTS = 3;
const GATHER_BYTES = 512;
/** Directions that wait at the same time; further ones are judged by what they have. */
const GATHER_SEATS = 8192;

/** Ports of answering ends, and those that calling ends take (Linux; IANA's begin at 49152). */
const SERVER_PORT_MAX = 1023;
const CLIENT_PORT_MIN = 32_768;

/** Answers of a judge. */
export const JUDGED = 0;
export const MORE = 1;

/** Who judges first payloads, and hears of flows that end (src/sig/). */
export interface FlowJudge {
  /**
   * `bytes[start, end)` was captured of a first payload of `wireBytes`, sent by `side`. `final` 1:
   * nothing more comes. JUDGED, or MORE when the next segment is to be added and final is 0.
   */
  judge(
    flow: number,
    side: number,
    bytes: Uint8Array,
    start: number,
    end: number,
    wireBytes: number,
    final: number,
  ): number;
  /** The flow begins: nothing is known of it but its entry. */
  begin(flow: number): void;
  /** Ended, by the capture's end, by a new one with the same 5-tuple, or for want of room. */
  end(flow: number): void;
}

export class FlowTracker {
  readonly flows: TrackedFlows;
  /** Flows that ended for want of room. */
  evicted = 0;
  /** Flows that ended so far. */
  ended = 0;
  readonly #segments = new PrefixBuffers(GATHER_SEATS, GATHER_BYTES);
  /** Where the packet at hand lies. */
  #bytes: Uint8Array = new Uint8Array(0);

  /** @param flowsMax flows at once; further ones end the most silent of them */
  constructor(
    private readonly judge: FlowJudge,
    flowsMax = FLOWS_MAX,
  ) {
    this.flows = new TrackedFlows(flowsMax);
  }

  /** Takes packet `number` of the capture, `wireBytes` long on the wire; returns its flow. */
  take(packet: PacketHeaders, bytes: Uint8Array, number: number, wireBytes: number): number {
    this.#bytes = bytes;
    const flows = this.flows;
    let flow = flows.find(packet, number);
    if (flow < 0) {
      this.evicted++;
      this.#end(flows.victim());
      flow = flows.find(packet, number);
    }
    const side = flows.side;
    if (packet.protocol === PROTOCOL_TCP) {
      if (flows.isNew === 1) this.#beginTcp(flow, side, packet);
      else if ((packet.tcpFlags & (TCP_SYN | TCP_ACK)) === TCP_SYN) {
        flow = this.#synAgain(flow, side, packet, number);
      }
      flows.add(flow, side, wireBytes);
      this.#tcp(flow, side, packet);
      return flow;
    }
    if (flows.isNew === 1) this.judge.begin(flow);
    flows.add(flow, side, wireBytes);
    const at = flow * FLOW_WORDS + F_FLAGS;
    if ((flows.words[at] & (DECIDED << side)) !== 0) return flow;
    if (packet.payloadStart >= packet.payloadEnd) return flow;
    flows.words[at] |= DECIDED << side;
    const { payloadStart, payloadEnd, payloadBytes } = packet;
    this.judge.judge(flow, side, this.#bytes, payloadStart, payloadEnd, payloadBytes, 1);
    return flow;
  }

  /** The capture is over: all flows end, in the order in which they began. */
  finish(): void {
    const all = this.flows.inOrder();
    for (let i = 0; i < all.length; i++) this.#end(all[i]);
  }

  /** For the next capture. */
  clear(): void {
    this.flows.clear();
    this.#segments.clear();
    this.evicted = 0;
    this.ended = 0;
  }

  #beginTcp(flow: number, side: number, packet: PacketHeaders): void {
    const words = this.flows.words;
    const at = flow * FLOW_WORDS;
    const opening = packet.tcpFlags & (TCP_SYN | TCP_ACK);
    let initiator = side;
    let flags = 0;
    // A SYN-ACK is sent by who was called.
    if (opening === (TCP_SYN | TCP_ACK)) initiator = 1 - side;
    else if (opening !== TCP_SYN) {
      flags = MID_STREAM;
      if (isAnswer(packet)) initiator = 1 - side;
    }
    words[at + F_FLAGS] = flags | (initiator === 1 ? INITIATOR_IS_1 : 0);
    this.judge.begin(flow);
  }

  /** A SYN in a flow that is known: a repetition, a late one, or a new connection. */
  #synAgain(flow: number, side: number, packet: PacketHeaders, number: number): number {
    const words = this.flows.words;
    const at = flow * FLOW_WORDS;
    const flags = words[at + F_FLAGS];
    const first = (packet.tcpSequence + 1) | 0;
    if ((flags & (HAS_FIRST << side)) !== 0 && words[at + F_FIRST + side] === first) return flow;
    const isSpent = (flags & (DECIDED | (DECIDED << 1) | CLOSED)) !== 0;
    if (!isSpent) {
      // Nothing was said yet: the attempt that counts begins now.
      this.#releaseSeats(flow);
      words[at + F_FLAGS] = side === 1 ? INITIATOR_IS_1 : 0;
      return flow;
    }
    this.#end(flow);
    const next = this.flows.find(packet, number);
    this.#beginTcp(next, side, packet);
    return next;
  }

  #tcp(flow: number, side: number, packet: PacketHeaders): void {
    const words = this.flows.words;
    const at = flow * FLOW_WORDS;
    const flags = words[at + F_FLAGS];
    const tcpFlags = packet.tcpFlags;
    const isSyn = (tcpFlags & TCP_SYN) !== 0;
    if (isSyn && (flags & (DECIDED << side)) === 0) {
      words[at + F_FIRST + side] = (packet.tcpSequence + 1) | 0;
      words[at + F_FLAGS] |= HAS_FIRST << side;
      // A SYN-ACK also tells where the initiator's payload begins.
      if ((tcpFlags & TCP_ACK) !== 0 && (flags & (HAS_FIRST << (1 - side))) === 0) {
        words[at + F_FIRST + 1 - side] = packet.tcpAcknowledgement;
        words[at + F_FLAGS] |= HAS_FIRST << (1 - side);
      }
    }
    if ((tcpFlags & (TCP_FIN | TCP_RST)) !== 0) words[at + F_FLAGS] |= CLOSED;
    if ((flags & (DECIDED << side)) !== 0 || packet.payloadStart >= packet.payloadEnd) return;
    // What a reset carries is the sender's reason, not the application's (RFC 9293 §3.5.3).
    if ((tcpFlags & TCP_RST) !== 0) return;
    const sequence = isSyn ? (packet.tcpSequence + 1) | 0 : packet.tcpSequence;
    if ((words[at + F_FLAGS] & (HAS_FIRST << side)) === 0) {
      words[at + F_FIRST + side] = sequence;
      words[at + F_FLAGS] |= HAS_FIRST << side;
    }
    this.#segment(flow, side, (sequence - words[at + F_FIRST + side]) | 0, packet);
  }

  /** A segment whose payload begins `offset` bytes after the direction's first byte. */
  #segment(flow: number, side: number, offset: number, packet: PacketHeaders): void {
    const { payloadStart, payloadEnd, payloadBytes } = packet;
    if (offset + (payloadEnd - payloadStart) <= 0 || offset >= GATHER_BYTES) return;
    const seats = this.flows.words[flow * FLOW_WORDS + F_SEATS];
    let seat = ((side === 0 ? seats : seats >>> 16) & 0xffff) - 1;
    if (offset <= 0) {
      // Bytes before the first one repeat the handshake's: a keep-alive, or another's.
      const start = payloadStart - offset;
      const bytes = payloadBytes + offset;
      const isCut = payloadEnd - payloadStart < payloadBytes;
      const isLast = seat < 0 && (payloadEnd - start >= GATHER_BYTES || isCut) ? 1 : 0;
      if (seat < 0 || this.#segments.contiguous(seat) === 0) {
        const answer = this.judge.judge(flow, side, this.#bytes, start, payloadEnd, bytes, isLast);
        if (answer === JUDGED) {
          this.#decided(flow, side, seat);
          return;
        }
      }
    }
    if (seat < 0) {
      seat = this.#segments.take();
      if (seat < 0) {
        if (offset > 0) return;
        this.judge.judge(
          flow,
          side,
          this.#bytes,
          payloadStart - offset,
          payloadEnd,
          payloadBytes,
          1,
        );
        this.#decided(flow, side, -1);
        return;
      }
      this.flows.words[flow * FLOW_WORDS + F_SEATS] |= (seat + 1) << (16 * side);
    }
    const before = this.#segments.contiguous(seat);
    this.#segments.put(seat, offset, this.#bytes, payloadStart, payloadEnd);
    const after = this.#segments.contiguous(seat);
    // Judged alone already, and nothing came behind it.
    if (after === before || (before === 0 && after === payloadEnd - payloadStart + offset)) return;
    const isFull = after === GATHER_BYTES || this.#segments.parts[seat] >= GATHER_SEGMENTS;
    if (this.#judgeSeat(flow, side, seat, after, isFull ? 1 : 0) === JUDGED) {
      this.#decided(flow, side, seat);
    }
  }

  #judgeSeat(flow: number, side: number, seat: number, length: number, final: number): number {
    const start = seat * GATHER_BYTES;
    const bytes = this.#segments.bytes;
    return this.judge.judge(flow, side, bytes, start, start + length, length, final);
  }

  #decided(flow: number, side: number, seat: number): void {
    const at = flow * FLOW_WORDS;
    this.flows.words[at + F_FLAGS] |= DECIDED << side;
    if (seat < 0) return;
    this.flows.words[at + F_SEATS] &= side === 0 ? 0xffff_0000 : 0xffff;
    this.#segments.release(seat);
  }

  #releaseSeats(flow: number): void {
    const at = flow * FLOW_WORDS + F_SEATS;
    const seats = this.flows.words[at];
    if ((seats & 0xffff) !== 0) this.#segments.release((seats & 0xffff) - 1);
    if (seats >>> 16 !== 0) this.#segments.release((seats >>> 16) - 1);
    this.flows.words[at] = 0;
  }

  /** Directions that still wait are judged by what they have. */
  #end(flow: number): void {
    for (let side = 0; side < 2; side++) {
      const seats = this.flows.words[flow * FLOW_WORDS + F_SEATS];
      const seat = ((side === 0 ? seats : seats >>> 16) & 0xffff) - 1;
      if (seat < 0) continue;
      const length = this.#segments.contiguous(seat);
      if (length > 0) this.#judgeSeat(flow, side, seat, length, 1);
    }
    this.#releaseSeats(flow);
    this.ended++;
    this.judge.end(flow);
    this.flows.remove(flow);
  }
}

/** Whether the ports say that a packet of a connection under way comes from who was called. */
function isAnswer(packet: PacketHeaders): boolean {
  const { sourcePort, destinationPort } = packet;
  return (
    (sourcePort <= SERVER_PORT_MAX && destinationPort > SERVER_PORT_MAX) ||
    (sourcePort < CLIENT_PORT_MIN && destinationPort >= CLIENT_PORT_MIN)
  );
}
