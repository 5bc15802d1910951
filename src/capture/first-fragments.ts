/**
 * The start of IP packets that came in fragments (RFC 791 §3.2, RFC 8200 §4.5): enough of it for
 * the transport header and the first payload. Hot path. The oldest packet gives way when all seats
 * are taken; overlapping bytes stay as they came first.
 */
import { HEADERS, type PacketHeaders, PROTOCOL_UDP, parseTransport } from "./packet-headers.ts";
import { PrefixBuffers } from "./prefix-buffers.ts";

/** Packets that are put together at the same time. */
const SEATS = 128;
/** Transport header and more payload than signatures look at. */
export const FRAGMENT_BYTES = 1024;
/** Addresses, identification, protocol with version. */
const KEY_WORDS = 10;
const UNKNOWN_TOTAL = 0;
const PACKET_BYTES_MAX = 0xffff;

/** Answers of take(). */
export const INCOMPLETE = 0;
/** The start of the packet is there: the headers given were completed, in `buffers`. */
export const COMPLETE = 1;
/** It is a part of a packet that was completed before. */
export const LATER = 2;

export class FirstFragments {
  readonly buffers = new PrefixBuffers(SEATS, FRAGMENT_BYTES);
  /** Packets given up before their start was there. */
  lost = 0;
  readonly #keys = new Int32Array(SEATS * KEY_WORDS);
  readonly #total = new Int32Array(SEATS);
  /** 0 free, 1 gathering, 2 completed. */
  readonly #state = new Uint8Array(SEATS);
  #hand = 0;

  clear(): void {
    this.#state.fill(0);
    this.#hand = 0;
    this.lost = 0;
  }

  /** Takes a fragment: `packet` as parseHeaders() left it, its data in `bytes`. */
  take(packet: PacketHeaders, bytes: Uint8Array): number {
    let seat = this.#find(packet);
    if (seat < 0) seat = this.#begin(packet);
    if (this.#state[seat] === 2) return LATER;
    const { payloadStart, payloadEnd, fragmentOffset } = packet;
    this.buffers.put(seat, fragmentOffset, bytes, payloadStart, payloadEnd);
    const fragmentEnd = fragmentOffset + packet.wireEnd - payloadStart;
    if (packet.moreFragments === 0) this.#total[seat] = fragmentEnd;
    const total = this.#total[seat];
    const there = this.buffers.contiguous(seat);
    const isWhole = total !== UNKNOWN_TOTAL && there >= total;
    // A capture that keeps only the start of packets never has the bytes between.
    const isCut = fragmentOffset === 0 && packet.wireEnd > payloadEnd;
    if (!isWhole && !isCut && there < FRAGMENT_BYTES) return INCOMPLETE;
    if (total !== UNKNOWN_TOTAL) return this.#complete(seat, there, total, packet);
    // A datagram tells its own length; how long a TCP segment becomes is not known yet.
    const isDatagram = packet.protocol === PROTOCOL_UDP;
    return this.#complete(seat, there, isDatagram ? PACKET_BYTES_MAX : fragmentEnd, packet);
  }

  /** What is there of a packet that never became whole; COMPLETE when that is something. */
  takePartial(seat: number, out: PacketHeaders): number {
    if (this.#state[seat] !== 1) return INCOMPLETE;
    this.lost++;
    const there = this.buffers.contiguous(seat);
    const keys = this.#keys;
    const at = seat * KEY_WORDS;
    out.source3 = keys[at + 1];
    out.destination3 = keys[at + 2];
    out.protocol = keys[at + 3] & 0xff;
    out.version = keys[at + 3] >>> 8;
    out.source0 = keys[at + 4];
    out.source1 = keys[at + 5];
    out.source2 = keys[at + 6];
    out.destination0 = keys[at + 7];
    out.destination1 = keys[at + 8];
    out.destination2 = keys[at + 9];
    return this.#complete(seat, there, this.#total[seat], out);
  }

  /** Reads the transport header from the `there` bytes of a packet of `total` bytes of payload. */
  #complete(seat: number, there: number, total: number, out: PacketHeaders): number {
    this.#state[seat] = 2;
    const start = seat * FRAGMENT_BYTES;
    const end = start + there;
    const wireEnd = start + (total > there ? total : there);
    const { memory } = this.buffers;
    return parseTransport(memory, out.protocol, start, end, wireEnd, out) === HEADERS
      ? COMPLETE
      : LATER;
  }

  #find(packet: PacketHeaders): number {
    for (let seat = 0; seat < SEATS; seat++) {
      if (this.#state[seat] !== 0 && this.#isOf(seat, packet)) return seat;
    }
    return -1;
  }

  #isOf(seat: number, packet: PacketHeaders): boolean {
    const keys = this.#keys;
    const at = seat * KEY_WORDS;
    return (
      keys[at] === packet.identification &&
      keys[at + 1] === packet.source3 &&
      keys[at + 2] === packet.destination3 &&
      keys[at + 3] === (packet.protocol | (packet.version << 8)) &&
      keys[at + 4] === packet.source0 &&
      keys[at + 5] === packet.source1 &&
      keys[at + 6] === packet.source2 &&
      keys[at + 7] === packet.destination0 &&
      keys[at + 8] === packet.destination1 &&
      keys[at + 9] === packet.destination2
    );
  }

  #begin(packet: PacketHeaders): number {
    const seat = this.#hand;
    this.#hand = (seat + 1) % SEATS;
    if (this.#state[seat] === 1) this.lost++;
    this.#state[seat] = 1;
    this.#total[seat] = UNKNOWN_TOTAL;
    this.buffers.empty(seat);
    const keys = this.#keys;
    const at = seat * KEY_WORDS;
    keys[at] = packet.identification;
    keys[at + 1] = packet.source3;
    keys[at + 2] = packet.destination3;
    keys[at + 3] = packet.protocol | (packet.version << 8);
    keys[at + 4] = packet.source0;
    keys[at + 5] = packet.source1;
    keys[at + 6] = packet.source2;
    keys[at + 7] = packet.destination0;
    keys[at + 8] = packet.destination1;
    keys[at + 9] = packet.destination2;
    return seat;
  }
}
