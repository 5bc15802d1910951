/**
 * Egress, the common path: a burst from the inside port is parsed, its flows are looked up, and
 * what belongs to an allowed flow is crafted, sealed and sent. design/agent.md "Egress" 1, 3 and 5.
 * Everything else (misses, handshakes of TCP, refusals, fragments, neighbours) is
 * egress-verdict.ts.
 * Hot path. Offsets are bytes of the pool; the flow's local side is the packet's source here.
 */

import { DROP } from "./drop-reasons.ts";
import { EgressVerdict } from "./egress-verdict.ts";
import {
  F_BINDING,
  F_PEER,
  F_SEEN,
  F_STATE,
  FLOW_ALLOWED,
  FLOW_OUTSIDE,
  FLOW_WORDS,
} from "./flow-table.ts";
import { parsePacket } from "./parse-packet.ts";
import { PARSED, ParsedPacket, TCP_FIN, TCP_RST, TCP_SYN } from "./parsed-packet.ts";
import { sendPlain } from "./plain-egress.ts";
import { classifyPlain, wordsOf } from "./plain-ipv4.ts";
import type { Plane } from "./plane.ts";
import { BURST_MAX } from "./send-queue.ts";
import { addressOf, fixedU32 } from "./shim.ts";

/** Segments that change a flow's state take the slow path. */
export const TCP_CHANGES = TCP_SYN | TCP_FIN | TCP_RST;

export class Egress {
  readonly handle = fixedU32(BURST_MAX);
  readonly offset = fixedU32(BURST_MAX);
  readonly length = fixedU32(BURST_MAX);
  readonly #handlePointer = addressOf(this.handle);
  readonly #offsetPointer = addressOf(this.offset);
  readonly #lengthPointer = addressOf(this.length);
  readonly #packets: ParsedPacket[] = [];
  readonly #codes = new Int32Array(BURST_MAX);
  readonly #protocols = new Int32Array(BURST_MAX);
  readonly #hashes = new Int32Array(BURST_MAX);
  readonly #words: Int32Array;
  readonly #again = new ParsedPacket();
  readonly verdict: EgressVerdict;

  constructor(readonly plane: Plane) {
    for (let i = 0; i < BURST_MAX; i++) this.#packets.push(new ParsedPacket());
    this.#words = wordsOf(plane.memory);
    this.verdict = new EgressVerdict(plane);
  }

  /** Receives one burst from the inside port and handles it. Returns packets received. */
  poll(): number {
    const plane = this.plane;
    const count = plane.shim.abs_rx_burst(
      plane.inside.port,
      plane.inside.queue,
      this.#handlePointer,
      this.#offsetPointer,
      this.#lengthPointer,
      BURST_MAX,
    );
    if (count > 0) this.process(count);
    return count;
  }

  /** Handles the first `count` packets of handle, offset and length, and sends what may go. */
  process(count: number): void {
    const plane = this.plane;
    const plain = classifyPlain(
      plane.memory,
      this.#words,
      plane.flows.hash,
      this.offset,
      this.length,
      count,
      this.#protocols,
      this.#hashes,
    );
    if (plain < count) this.#parseOthers(count);
    plane.flows.prefetch(this.#hashes, count);
    for (let i = this.#sendPlain(0, count); i < count; i = this.#sendPlain(i + 1, count)) {
      this.slow(i);
    }
    plane.outside.flush();
    plane.inside.flush();
  }

  #sendPlain(first: number, count: number): number {
    return sendPlain(this, this.#words, this.#protocols, first, count);
  }

  #parseOthers(count: number): void {
    for (let i = 0; i < count; i++) {
      if (this.#protocols[i] === 0) this.#parse(i);
    }
  }

  #parse(i: number): void {
    const packet = this.#packets[i];
    const start = this.offset[i];
    const code = parsePacket(this.plane.memory, start, start + this.length[i], packet);
    this.#codes[i] = code;
    this.#hashes[i] = code === PARSED ? this.plane.hashOut(packet) : 0;
  }

  /** Packet `i` of the burst, which is not plain or not on its way yet. */
  slow(i: number): void {
    if (this.#protocols[i] !== 0) this.#parse(i);
    this.#forward(
      this.handle[i],
      this.offset[i],
      this.length[i],
      this.#packets[i],
      this.#codes[i],
      this.#hashes[i],
    );
  }

  /** Handles one packet again that was held; its owner has taken it out of the hold queue. */
  again(handle: number, start: number, length: number): void {
    const packet = this.#again;
    const code = parsePacket(this.plane.memory, start, start + length, packet);
    this.#forward(
      handle,
      start,
      length,
      packet,
      code,
      code === PARSED ? this.plane.hashOut(packet) : 0,
    );
  }

  /**
   * Sends a packet that waited for a session of `binding`: it was judged when it came.
   * @param hash its flow's
   */
  sendHeld(handle: number, start: number, length: number, binding: number, hash: number): void {
    const plane = this.plane;
    const packet = this.#again;
    const code = parsePacket(plane.memory, start, start + length, packet);
    if (code !== PARSED) return plane.refusals.dropOut(handle, packet, code);
    const peer = plane.bindings.peerOf(binding);
    const pair = plane.pairOf(packet, false);
    if (pair < 0 || plane.pairs.peer[pair] !== peer) {
      return plane.refusals.dropOut(handle, packet, DROP.noSession);
    }
    if (packet.ipEnd - packet.ipStart > plane.innerMtu[peer]) {
      this.verdict.rare.tooBig(handle, packet, peer);
      return;
    }
    const peerWord = (pair << 16) | (peer + 1);
    this.verdict.sendUnder(handle, start, length, packet, hash, binding, peerWord);
  }

  /** Drops a packet that was held, and says which flow it belonged to. */
  giveUp(handle: number, start: number, length: number, reason: number): void {
    const packet = this.#again;
    const code = parsePacket(this.plane.memory, start, start + length, packet);
    this.plane.refusals.dropOut(handle, packet, code === PARSED ? reason : code);
  }

  /** Sends a later fragment that waited for its first one, under that one's flow. */
  follow(handle: number, start: number, length: number, flow: number): void {
    const packet = this.#again;
    const code = parsePacket(this.plane.memory, start, start + length, packet);
    if (code !== PARSED) this.plane.dropOut(handle, code);
    else this.verdict.rare.followFlow(handle, start, length, packet, flow);
  }

  #forward(
    handle: number,
    start: number,
    length: number,
    packet: ParsedPacket,
    code: number,
    hash: number,
  ): void {
    const plane = this.plane;
    if (code !== PARSED) {
      plane.refusals.dropOut(handle, packet, code);
      return;
    }
    if (
      packet.ipVersion === 0 ||
      (packet.isFragment | packet.icmpQuotes | packet.ipOptions) !== 0
    ) {
      this.verdict.decide(handle, start, length, packet, hash, -1);
      return;
    }
    const flow = plane.findOutgoing(packet, hash);
    if (
      flow >= 0 &&
      (packet.tcpFlags & TCP_CHANGES) === 0 &&
      packet.vlanCount < 2 &&
      plane.guard.checkSourceMac(plane.memory, packet) === PARSED
    ) {
      const words = plane.flows.words;
      const at = flow * FLOW_WORDS;
      const state = words[at + F_STATE] & 0xff;
      if (state === FLOW_ALLOWED) {
        const slot = plane.bindings.sendSession[words[at + F_BINDING] - 1];
        const peerWord = words[at + F_PEER];
        if (slot >= 0 && packet.ipEnd - packet.ipStart <= plane.innerMtu[(peerWord & 0xffff) - 1]) {
          words[at + F_SEEN] = plane.nowSeconds;
          plane.sealer.send(handle, start, packet, slot, peerWord, hash);
          return;
        }
      } else if (state === FLOW_OUTSIDE) {
        words[at + F_SEEN] = plane.nowSeconds;
        plane.outside.add(handle, start, length);
        return;
      }
    }
    this.verdict.decide(handle, start, length, packet, hash, flow);
  }
}
