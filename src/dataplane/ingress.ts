/**
 * Ingress, the common path: a burst from the outside port is parsed; DATA packets are checked in
 * the order of docs/wire.md "DATA", opened in one call, restored, and delivered when their flow is
 * allowed. design/agent.md "Ingress" 1, 2 and 4. The rest is ingress-verdict.ts (flows) and
 * ingress-outer.ts (what is not DATA).
 * Hot path. Offsets are bytes of the pool; the flow's remote side is the packet's source here.
 */

import { ABS_HEADER_BYTES, CARRIER_UDP, closeRoomIpv4, closeRoomIpv6 } from "./crafting.ts";
import { DROP } from "./drop-reasons.ts";
import { TCP_CHANGES } from "./egress.ts";
import {
  F_PEER,
  F_SEEN,
  F_STATE,
  F_TAG_RULE,
  FLOW_ALLOWED,
  FLOW_FROM_REMOTE,
  FLOW_WORDS,
} from "./flow-table.ts";
import { FRAME_RECEIVED } from "./frame-tap.ts";
import { IngressJobs } from "./ingress-jobs.ts";
import { IngressOuter } from "./ingress-outer.ts";

import { IngressVerdict } from "./ingress-verdict.ts";
import { parsePacket } from "./parse-packet.ts";
import { PARSED, ParsedPacket, PROTOCOL_NONE, PROTOCOL_UDP } from "./parsed-packet.ts";
import { IngressPlain } from "./plain-ingress.ts";
import type { Plane } from "./plane.ts";
import { NO_SLOT } from "./refusals.ts";
import { WINDOW_OK } from "./replay-window.ts";
import { BURST_MAX } from "./send-queue.ts";
import { SESSION_UNCONFIRMED } from "./session-table.ts";
import { addressOf, fixedU32 } from "./shim.ts";

const ABS_VERSION = 1;
const FLAG_DATA = 5;
const LANE_MAX = 15;
const COMMON_HEADER_BYTES = 8;
const TWO_TO_32 = 4294967296;

export class Ingress {
  readonly handle = fixedU32(BURST_MAX);
  readonly offset = fixedU32(BURST_MAX);
  readonly length = fixedU32(BURST_MAX);
  readonly #handlePointer = addressOf(this.handle);
  readonly #offsetPointer = addressOf(this.offset);
  readonly #lengthPointer = addressOf(this.length);
  readonly #packets: ParsedPacket[] = [];

  readonly #jobs = new IngressJobs();
  readonly #plain: IngressPlain;

  readonly outer: IngressOuter;
  readonly verdict: IngressVerdict;

  constructor(readonly plane: Plane) {
    for (let i = 0; i < BURST_MAX; i++) this.#packets.push(new ParsedPacket());
    this.#plain = new IngressPlain(plane, this.#jobs);
    this.outer = new IngressOuter(plane);
    this.verdict = new IngressVerdict(plane);
  }

  /** Receives one burst from the outside port and handles it. Returns packets received. */
  poll(): number {
    const plane = this.plane;
    const count = plane.shim.abs_rx_burst(
      plane.outside.port,
      plane.outside.queue,
      this.#handlePointer,
      this.#offsetPointer,
      this.#lengthPointer,
      BURST_MAX,
    );
    if (count <= 0) return count;
    const { tap } = plane.outside;
    if (tap !== undefined) {
      tap.copy(FRAME_RECEIVED, this.offset, this.length, count, plane.shim.abs_now_us());
    }
    this.process(count);
    return count;
  }

  /** Handles the first `count` packets of handle, offset and length, and delivers what may pass. */
  process(count: number): void {
    const memory = this.plane.memory;
    const plain = this.#plain;
    this.#jobs.count = 0;
    for (let i = plain.admit(this.offset, this.length, 0, count); i < count; ) {
      this.#examine(i, memory);
      i = plain.admit(this.offset, this.length, i + 1, count);
    }
    if (this.#jobs.count > 0) this.#open();
    this.plane.inside.flush();
    this.plane.outside.flush();
  }

  /** Any packet. */
  #examine(i: number, memory: DataView): void {
    const packet = this.#packets[i];
    const start = this.offset[i];
    const code = parsePacket(memory, start, start + this.length[i], packet);
    if (code !== PARSED) {
      this.plane.refusals.dropIn(this.handle[i], packet, code, NO_SLOT);
      return;
    }
    const header = this.#absHeader(packet);
    if (header === 0) this.outer.decide(this.handle[i], start, this.length[i], packet);
    else this.#admit(i, packet, header);
  }

  /** Offset of the ABS header when the packet is on this agent's carrier, else 0. */
  #absHeader(packet: ParsedPacket): number {
    if (this.plane.ownCarrier !== CARRIER_UDP) {
      return packet.ipProtocol === this.plane.carrierProtocol ? packet.ipPayloadStart : 0;
    }
    if (packet.ipProtocol !== PROTOCOL_UDP || packet.transportStart === 0) return 0;
    return packet.destinationPort === this.plane.udpPort ? packet.payloadStart : 0;
  }

  /** Length, version, flag, lane, session, addresses and window; then a job for the proof. */
  #admit(i: number, packet: ParsedPacket, header: number): void {
    const plane = this.plane;
    const memory = plane.memory;
    const handle = this.handle[i];
    if ((packet.isFragment | packet.ipOptions) !== 0) {
      const reason = packet.isFragment !== 0 ? DROP.absFragment : DROP.absOptions;
      return plane.refusals.dropIn(handle, packet, reason, NO_SLOT);
    }
    if (packet.payloadEnd - header < COMMON_HEADER_BYTES) {
      return plane.refusals.dropIn(handle, packet, DROP.absTruncated, NO_SLOT);
    }
    const word0 = memory.getUint32(header, false);
    if (word0 >>> 28 !== ABS_VERSION)
      return plane.refusals.dropIn(handle, packet, DROP.absVersion, NO_SLOT);
    if (((word0 >>> 24) & 0x0f) !== FLAG_DATA) {
      return this.outer.message(handle, this.offset[i], this.length[i], packet, header);
    }
    if (packet.payloadEnd - header < ABS_HEADER_BYTES) {
      return plane.refusals.dropIn(handle, packet, DROP.absTruncated, NO_SLOT);
    }
    const laneAndHigh = memory.getUint32(header + 8, false);
    const lane = laneAndHigh >>> 24;
    if (lane > LANE_MAX) return plane.refusals.dropIn(handle, packet, DROP.lane, NO_SLOT);
    const sessions = plane.sessions;
    const slot = sessions.find(memory.getUint32(header + 4, false));
    if (slot < 0) {
      return this.outer.unknownIndex(handle, this.offset[i], this.length[i], packet, header);
    }
    const pair = plane.pairOf(packet, true);
    if (pair < 0 || plane.pairs.peer[pair] !== sessions.peer[slot]) {
      return plane.refusals.dropIn(handle, packet, DROP.addressMismatch, NO_SLOT);
    }
    const counter = (laneAndHigh & 0xffffff) * TWO_TO_32 + memory.getUint32(header + 12, false);
    if (sessions.quickIn[slot] !== 0) {
      if (!sessions.isQuickProof(memory, header + 16, slot)) {
        return plane.refusals.dropIn(handle, packet, DROP.proof, NO_SLOT);
      }
    } else {
      const window = plane.windows.check(slot, lane, counter);
      if (window !== WINDOW_OK)
        return plane.refusals.dropIn(handle, packet, plane.windowDrop(window), NO_SLOT);
    }
    this.#addJob(i, packet, header, slot, pair, lane, counter);
  }

  #addJob(
    i: number,
    packet: ParsedPacket,
    header: number,
    slot: number,
    pair: number,
    lane: number,
    counter: number,
  ): void {
    const sessions = this.plane.sessions;
    const hashes = this.plane.pairs.hashIn;
    const job = this.#jobs.count++;
    const added = header + ABS_HEADER_BYTES - packet.ipPayloadStart;
    const textLength = packet.payloadEnd - header - ABS_HEADER_BYTES;
    this.#jobs.packet[job] = i;
    this.#jobs.slot[job] = slot;
    this.#jobs.pair[job] = pair;
    this.#jobs.lane[job] = lane;
    this.#jobs.counter[job] = counter;
    this.#jobs.plain[job] = 0;
    this.#jobs.key[job] = sessions.keyIn[slot];
    this.#jobs.header[job] = header;
    this.#jobs.text[job] = textLength;
    this.#jobs.confidential[job] = sessions.confidentialIn[slot];
    const pseudo = this.#jobs.pseudo;
    const at = 16 * job;
    pseudo.setUint32(at, hashes[3 * pair], false);
    pseudo.setUint32(at + 4, hashes[3 * pair + 1], false);
    pseudo.setUint32(at + 8, hashes[3 * pair + 2], false);
    const originalLength =
      packet.ipVersion === 4 ? packet.ipEnd - packet.ipStart - added : textLength;
    const identification = packet.ipVersion === 4 ? packet.identification : 0;
    pseudo.setUint32(at + 12, (originalLength << 16) | identification, false);
  }

  /** Proofs of all jobs, then restoring, then the verdicts of their flows. */
  #open(): void {
    const plane = this.plane;
    const jobs = this.#jobs;
    plane.shim.abs_open_burst(
      jobs.keyPointer,
      jobs.headerPointer,
      jobs.textPointer,
      jobs.confidentialPointer,
      jobs.pseudoPointer,
      jobs.validPointer,
      jobs.count,
    );
    const plain = this.#plain;
    plain.restored = 0;
    for (let job = plain.restore(this.offset, this.length, 0); job < jobs.count; ) {
      if (this.#restore(job)) {
        jobs.plain[job] = 0;
        jobs.keep(job, plain.restored++);
      }
      job = plain.restore(this.offset, this.length, job + 1);
    }
    plane.flows.prefetch(jobs.hash, plain.restored);
    for (let job = this.#deliverPlain(0); job < plain.restored; ) {
      this.#deliver(job);
      job = this.#deliverPlain(job + 1);
    }
  }

  #deliverPlain(first: number): number {
    return this.#plain.deliver(this.handle, this.offset, this.length, first);
  }

  /** Marks the counter and undoes the crafting. False when the packet ended here. */
  #restore(job: number): boolean {
    const plane = this.plane;
    const sessions = plane.sessions;
    const slot = this.#jobs.slot[job];
    const i = this.#jobs.packet[job];
    const handle = this.handle[i];
    if (this.#jobs.plain[job] !== 0) this.#parseAgain(i);
    if (sessions.quickIn[slot] === 0) {
      if (this.#jobs.valid[job] === 0) {
        plane.refusals.dropIn(handle, this.#packets[i], DROP.proof, NO_SLOT);
        return false;
      }
      const window = plane.windows.mark(slot, this.#jobs.lane[job], this.#jobs.counter[job]);
      if (window !== WINDOW_OK) {
        plane.refusals.dropIn(handle, this.#packets[i], plane.windowDrop(window), NO_SLOT);
        return false;
      }
    }
    sessions.lastHeardUs[slot] = plane.nowUs;
    if (sessions.state[slot] === SESSION_UNCONFIRMED) {
      plane.confirm(slot);
    }
    return this.#closeRoom(job, i, handle);
  }

  /** What came the short way so far has not been parsed whole. */
  #parseAgain(i: number): void {
    const start = this.offset[i];
    parsePacket(this.plane.memory, start, start + this.length[i], this.#packets[i]);
  }

  #closeRoom(job: number, i: number, handle: number): boolean {
    const plane = this.plane;
    const memory = plane.memory;
    const packet = this.#packets[i];
    const header = this.#jobs.header[job];
    const word0 = memory.getUint32(header, false);
    const protocol = (word0 >>> 16) & 0xff;
    const added = header + ABS_HEADER_BYTES - packet.ipPayloadStart;
    if (protocol === PROTOCOL_NONE && this.#jobs.text[job] === 0) {
      plane.shim.abs_free_burst(this.#handlePointer + 4 * i, 1); // keep-alive or confirmation
      plane.keepAlives++;
      return false;
    }
    plane.sessions.lastReceivedUs[this.#jobs.slot[job]] = plane.nowUs;
    const start = this.offset[i];
    const end = packet.payloadEnd;
    this.offset[i] =
      packet.ipVersion === 4
        ? closeRoomIpv4(memory, start, packet.ipStart, added, protocol, word0 & 0xffff)
        : closeRoomIpv6(memory, start, packet.ipStart, added, protocol);
    this.length[i] = end - this.offset[i];
    const code = parsePacket(memory, this.offset[i], end, packet);
    if (code !== PARSED) {
      plane.refusals.dropIn(handle, packet, code, this.#jobs.slot[job]);
      return false;
    }
    this.#jobs.hash[job] = plane.hashIn(packet);
    return true;
  }

  #deliver(job: number): void {
    const plane = this.plane;
    const sessions = plane.sessions;
    const i = this.#jobs.packet[job];
    const packet = this.#packets[i];
    const slot = this.#jobs.slot[job];
    const hash = this.#jobs.hash[job];
    const start = this.offset[i];
    if (this.#jobs.plain[job] !== 0) this.#parseAgain(i);
    const peerWord = (this.#jobs.pair[job] << 16) | (sessions.peer[slot] + 1);
    if (packet.isFragment === 0 && packet.icmpQuotes === 0) {
      const flow = plane.findIncoming(packet, hash);
      if (flow >= 0) {
        const words = plane.flows.words;
        const at = flow * FLOW_WORDS;
        const state = words[at + F_STATE];
        const fromRemote = (state & FLOW_FROM_REMOTE) === 0 ? 0 : 1;
        if (
          (state & 0xff) === FLOW_ALLOWED &&
          words[at + F_TAG_RULE] >>> 16 === sessions.tag[slot] &&
          (words[at + F_PEER] & 0xffff) === (peerWord & 0xffff) &&
          (sessions.tag[slot] === 0 || sessions.role[slot] === fromRemote) &&
          (packet.tcpFlags & TCP_CHANGES) === 0 &&
          packet.vlanCount < 2
        ) {
          words[at + F_SEEN] = plane.nowSeconds;
          plane.inside.add(this.handle[i], start, this.length[i]);
          return;
        }
      }
      this.verdict.decide(
        this.handle[i],
        start,
        this.length[i],
        packet,
        hash,
        flow,
        slot,
        peerWord,
      );
      return;
    }
    this.verdict.decide(this.handle[i], start, this.length[i], packet, hash, -1, slot, peerWord);
  }
}
