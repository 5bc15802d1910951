/**
 * Ingress of what is not DATA: neighbours, bare packets of peers (refused as `untagged`), traffic
 * from outside the tenant, handshakes and REJECTs. design/agent.md "Ingress" 1 and 2, "Guard below
 * IP"; docs/wire.md "HANDSHAKE": mac1 is checked here, before anything is handed to the main
 * thread, and it is the only cryptography a stranger can cause. Hot path.
 */

import { OUTCOME, PUNT } from "./control-records.ts";
import { DROP } from "./drop-reasons.ts";
import {
  F_SEEN,
  F_STATE,
  FLOW_FIN_REMOTE,
  FLOW_FROM_REMOTE,
  FLOW_OUTSIDE,
  FLOW_RESET,
  FLOW_WORDS,
} from "./flow-table.ts";
import { FRAGMENT_HELD, FRAGMENT_PASS } from "./fragment-table.ts";
import { FRAGMENTS_MAX, fragmentCount, writeFragment } from "./fragmenter.ts";
import { MANAGEMENT_NONE, MANAGEMENT_PASS } from "./management-flows.ts";
import { NeighbourMessage } from "./neighbour-message.ts";
import { parseQuoted } from "./parse-quoted.ts";
import {
  PARSED,
  ParsedPacket,
  PROTOCOL_TCP,
  TCP_ACK,
  TCP_FIN,
  TCP_RST,
  TCP_SYN,
} from "./parsed-packet.ts";
import type { Plane } from "./plane.ts";
import {
  ACTION_ALLOW,
  DIRECTION_IN,
  PEER_NONE,
  STAGE_ENFORCE,
  TAG_UNKNOWN,
} from "./policy-seam.ts";
import { NO_SLOT } from "./refusals.ts";
import { writeTooBig } from "./reply-packets.ts";
import { addressOf, fixedU8, fixedU32 } from "./shim.ts";

const FLAG_HANDSHAKE = 4;
const FLAG_REJECT = 6;
const INITIATION = 1;
const RESPONSE = 2;
const COOKIE_REPLY = 3;
const RSA_INITIATION = 4;
const RSA_RESPONSE = 5;
const INITIATION_BYTES = 237;
const RESPONSE_BYTES = 189;
const RSA_WRAPPED_BYTES = 256;
const COOKIE_REPLY_BYTES = 64;
const MACS_BYTES = 32;
const REJECT_BYTES_MIN = 32;
const REJECT_BYTES_MAX = 72;
/** Charged for fragments of senders that are no peers. */
const OUTSIDE_OWNER = 0;

export class IngressOuter {
  readonly #message = new NeighbourMessage();
  readonly #quoted = new ParsedPacket();
  readonly #mac = fixedU8(32);
  readonly #macMemory = new DataView(this.#mac.buffer);
  readonly #macPointer = addressOf(this.#mac);

  readonly #spareHandle = fixedU32(FRAGMENTS_MAX);
  readonly #spareOffset = fixedU32(FRAGMENTS_MAX);
  readonly #spareLength = fixedU32(FRAGMENTS_MAX);

  constructor(readonly plane: Plane) {}

  /** A packet that is not on this agent's carrier. */
  decide(handle: number, start: number, length: number, packet: ParsedPacket): void {
    const plane = this.plane;
    const vlan = plane.guard.checkVlan(packet);
    if (vlan !== PARSED) return plane.refusals.dropIn(handle, packet, vlan, NO_SLOT);
    const end = start + length;
    const guard = plane.guard.checkIncoming(plane.memory, packet, end, this.#message);
    if (guard !== PARSED) return plane.refusals.dropIn(handle, packet, guard, NO_SLOT);
    if (packet.ipVersion === 0) {
      plane.inside.add(handle, start, length);
      return;
    }
    if (packet.icmpQuotes !== 0) {
      this.#networkIcmp(handle, start, length, packet);
      return;
    }
    if (plane.exceptionOf(DIRECTION_IN, packet) >= 0) {
      plane.inside.add(handle, start, length);
      return;
    }
    if (packet.transportProtocol === PROTOCOL_TCP && packet.isFragment === 0) {
      const management = plane.management.incoming(packet, plane.nowUs);
      if (management === MANAGEMENT_PASS) return this.#deliver(handle, start, length, packet);
      if (management !== MANAGEMENT_NONE) return plane.dropIn(handle, DROP.managementRate);
    }
    if (plane.peerOf(packet, true) >= 0) {
      this.#untagged(handle, start, length, packet);
      return;
    }
    if (packet.transportStart === 0) this.#laterFragment(handle, start, length, packet);
    else this.#fromOutside(handle, start, length, packet);
  }

  /** A peer's packet without the field: what this program exists to refuse. */
  #untagged(handle: number, start: number, length: number, packet: ParsedPacket): void {
    const plane = this.plane;
    if (plane.defaultStage === STAGE_ENFORCE) {
      plane.refusals.dropIn(handle, packet, DROP.untagged, NO_SLOT);
      return;
    }
    plane.report(DIRECTION_IN, OUTCOME.wouldDrop, DROP.untagged, packet, NO_SLOT, -1, -1, 0);
    this.#deliver(handle, start, length, packet);
  }

  #fromOutside(handle: number, start: number, length: number, packet: ParsedPacket): void {
    const plane = this.plane;
    const hash = plane.hashIn(packet);
    const known = plane.findIncoming(packet, hash);
    const isNew = (packet.tcpFlags & (TCP_SYN | TCP_ACK)) === TCP_SYN;
    let passes = known >= 0 && !isNew && this.#isOutside(known, packet);
    if (!passes) {
      const decision = plane.decision;
      plane.decide(DIRECTION_IN, PEER_NONE, packet, TAG_UNKNOWN, decision);
      passes = decision.action === ACTION_ALLOW;
      if (!passes && !this.#observes(packet)) {
        plane.dropIn(handle, DROP.outsideDenied);
        if (packet.isFragment !== 0) this.#firstFragment(packet, 0);
        return;
      }
      if (known >= 0) plane.forgetFlow(known);
      const flow = plane.insertIncoming(packet, hash, 0, decision.rule);
      if (flow < 0) return plane.refusals.dropIn(handle, packet, DROP.flowTableFull, NO_SLOT);
      plane.flows.words[flow * FLOW_WORDS + F_STATE] = FLOW_OUTSIDE | FLOW_FROM_REMOTE;
    }
    if (packet.isFragment !== 0 && this.#firstFragment(packet, 1) !== PARSED) {
      return plane.dropIn(handle, DROP.fragmentOverlap);
    }
    this.#deliver(handle, start, length, packet);
  }

  /**
   * Hands a packet without the field to the VM, whose interface takes less than the network does:
   * as a router would, what is larger is split, or its sender is told.
   */
  #deliver(handle: number, start: number, length: number, packet: ParsedPacket): void {
    const plane = this.plane;
    const mtu = plane.insideMtu;
    const count = fragmentCount(packet, mtu);
    if (count === 1) plane.inside.add(handle, start, length);
    else if (count === 0) this.#tellTooBig(handle, packet, mtu);
    else if (!plane.takeBuffers(this.#spareHandle, this.#spareOffset, count - 1)) {
      plane.dropIn(handle, DROP.egressNoBuffer);
    } else {
      for (let i = count - 1; i > 0; i--) {
        const target = this.#spareOffset[i - 1];
        this.#spareLength[i - 1] = writeFragment(plane.memory, packet, i, mtu, target);
      }
      const firstLength = writeFragment(plane.memory, packet, 0, mtu, packet.linkStart);
      plane.inside.add(handle, packet.linkStart, firstLength);
      for (let i = 0; i < count - 1; i++) {
        plane.inside.add(this.#spareHandle[i], this.#spareOffset[i], this.#spareLength[i]);
      }
    }
  }

  #tellTooBig(handle: number, packet: ParsedPacket, mtu: number): void {
    const plane = this.plane;
    // One bucket for all that are no peers.
    const mayTell = plane.tooBigBuckets.take(plane.innerMtu.length, plane.nowUs);
    if (mayTell && plane.takeBuffer(this.#spareHandle, this.#spareOffset)) {
      const target = this.#spareOffset[0];
      const bytes = writeTooBig(plane.memory, packet, mtu, target);
      if (bytes > 0) plane.outside.add(this.#spareHandle[0], target, bytes);
      else plane.freeOne(this.#spareHandle[0]);
    }
    plane.dropIn(handle, DROP.ingressTooBig);
  }

  /** Reports a denied packet; true when its stage lets it pass all the same. */
  #observes(packet: ParsedPacket): boolean {
    const plane = this.plane;
    const decision = plane.decision;
    const isMulticast = plane.isMulticast(packet);
    const reason = isMulticast ? DROP.multicastDenied : DROP.outsideDenied;
    const enforce = decision.stage === STAGE_ENFORCE;
    const outcome = enforce ? OUTCOME.dropped : OUTCOME.wouldDrop;
    plane.report(DIRECTION_IN, outcome, reason, packet, NO_SLOT, decision.rule, -1, 0);
    return !enforce;
  }

  #isOutside(flow: number, packet: ParsedPacket): boolean {
    const words = this.plane.flows.words;
    const at = flow * FLOW_WORDS;
    if ((words[at + F_STATE] & 0xff) !== FLOW_OUTSIDE) return false;
    words[at + F_SEEN] = this.plane.nowSeconds;
    if ((packet.tcpFlags & TCP_FIN) !== 0) words[at + F_STATE] |= FLOW_FIN_REMOTE;
    if ((packet.tcpFlags & TCP_RST) !== 0) words[at + F_STATE] |= FLOW_RESET;
    return true;
  }

  #firstFragment(packet: ParsedPacket, verdict: number): number {
    const plane = this.plane;
    const answer = plane.fragmentsIn.first(packet, OUTSIDE_OWNER, 0, verdict, plane.nowUs);
    plane.releaseFragmentsIn(verdict === 1 ? PARSED : DROP.outsideDenied);
    return answer;
  }

  #laterFragment(handle: number, start: number, length: number, packet: ParsedPacket): void {
    const plane = this.plane;
    const fragments = plane.fragmentsIn;
    const answer = fragments.later(packet, OUTSIDE_OWNER, 0, handle, start, length, 0, plane.nowUs);
    if (fragments.releasedCount > 0) plane.releaseFragmentsIn(DROP.fragmentTimeout);
    if (answer === FRAGMENT_HELD) return;
    if (answer !== FRAGMENT_PASS) plane.refusals.dropIn(handle, packet, answer, NO_SLOT);
    else if (fragments.verdict === 0) plane.dropIn(handle, DROP.outsideDenied);
    else this.#deliver(handle, start, length, packet);
  }

  /**
   * ICMP errors from the network: delivered only for flows that are not inter-VM; those that quote
   * an ABS packet may lower a path MTU (the main thread checks the quote) and go no further.
   */
  #networkIcmp(handle: number, start: number, length: number, packet: ParsedPacket): void {
    const plane = this.plane;
    const quoted = this.#quoted;
    const code = parseQuoted(plane.memory, packet.payloadStart, packet.payloadEnd, quoted);
    if (code !== PARSED) return plane.refusals.dropIn(handle, packet, code, NO_SLOT);
    quoted.vlanId = packet.vlanId;
    if (plane.peerOf(quoted, false) >= 0) {
      const isTooBig =
        packet.ipVersion === 4
          ? packet.icmpType === 3 && packet.icmpCode === 4
          : packet.icmpType === 2;
      if (isTooBig && plane.tooBigBuckets.take(plane.peerOf(quoted, false), plane.nowUs)) {
        plane.punts.frame(PUNT.packetTooBig, packet.payloadStart - start, start, length);
      }
      plane.dropIn(handle, DROP.networkIcmp);
      return;
    }
    const flow =
      quoted.transportStart === 0 ? -1 : plane.findOutgoing(quoted, plane.hashOut(quoted));
    const state = flow < 0 ? 0 : plane.flows.words[flow * FLOW_WORDS + F_STATE] & 0xff;
    if (state !== FLOW_OUTSIDE) {
      return plane.refusals.dropIn(handle, packet, DROP.networkIcmp, NO_SLOT);
    }
    plane.inside.add(handle, start, length);
  }

  /** An ABS packet that is not DATA; `header` is the offset of its common header. */
  message(
    handle: number,
    start: number,
    length: number,
    packet: ParsedPacket,
    header: number,
  ): void {
    const plane = this.plane;
    const flag = plane.memory.getUint8(header) & 0x0f;
    const peer = plane.peerOf(packet, true);
    if (peer < 0) {
      return plane.refusals.dropIn(handle, packet, DROP.addressMismatch, NO_SLOT);
    }
    if (flag === FLAG_HANDSHAKE) this.#handshake(handle, start, length, packet, header, peer);
    else if (flag === FLAG_REJECT) this.#reject(handle, start, length, packet, header, peer);
    else plane.refusals.dropIn(handle, packet, DROP.absFlag, NO_SLOT);
  }

  #handshake(
    handle: number,
    start: number,
    length: number,
    packet: ParsedPacket,
    header: number,
    peer: number,
  ): void {
    const plane = this.plane;
    const kind = plane.memory.getUint8(header + 1);
    const bytes = packet.payloadEnd - header;
    let wanted = 0;
    if (kind === INITIATION) wanted = INITIATION_BYTES;
    else if (kind === RESPONSE) wanted = RESPONSE_BYTES;
    else if (kind === COOKIE_REPLY) wanted = COOKIE_REPLY_BYTES;
    else if (kind === RSA_INITIATION) wanted = INITIATION_BYTES + RSA_WRAPPED_BYTES;
    else if (kind === RSA_RESPONSE) wanted = RESPONSE_BYTES + RSA_WRAPPED_BYTES;
    if (wanted === 0) return plane.refusals.dropIn(handle, packet, DROP.absNextHeader, NO_SLOT);
    if (bytes !== wanted) {
      return plane.refusals.dropIn(handle, packet, DROP.handshakeTruncated, NO_SLOT);
    }
    // Before the limit: who does not know our public key cannot use up what the peer may send.
    if (kind !== COOKIE_REPLY && !this.#hasMac1(header, wanted)) {
      return plane.refusals.dropIn(handle, packet, DROP.mac1, NO_SLOT);
    }
    const buckets = kind === COOKIE_REPLY ? plane.cookieBuckets : plane.handshakeBuckets;
    if (!buckets.take(peer, plane.nowUs)) return plane.dropIn(handle, DROP.handshakeRate);
    plane.absorb(handle, PUNT.handshake, header - start, start, length);
  }

  #hasMac1(header: number, messageBytes: number): boolean {
    const plane = this.plane;
    if (this.#hasMac1Of(plane.mac1KeyPointer, header, messageBytes)) return true;
    if (!plane.hasOtherMac1Key) return false;
    return this.#hasMac1Of(plane.otherMac1KeyPointer, header, messageBytes);
  }

  #hasMac1Of(keyPointer: number, header: number, messageBytes: number): boolean {
    const plane = this.plane;
    const covered = messageBytes - MACS_BYTES;
    plane.shim.abs_hmac_sha256(keyPointer, 32, header, covered, this.#macPointer);
    plane.mac1Checks++;
    const memory = plane.memory;
    const mac = this.#macMemory;
    const at = header + covered;
    const difference =
      (memory.getUint32(at, true) ^ mac.getUint32(0, true)) |
      (memory.getUint32(at + 4, true) ^ mac.getUint32(4, true)) |
      (memory.getUint32(at + 8, true) ^ mac.getUint32(8, true)) |
      (memory.getUint32(at + 12, true) ^ mac.getUint32(12, true));
    return difference === 0;
  }

  #reject(
    handle: number,
    start: number,
    length: number,
    packet: ParsedPacket,
    header: number,
    peer: number,
  ): void {
    const plane = this.plane;
    const bytes = packet.payloadEnd - header;
    if (bytes < REJECT_BYTES_MIN || bytes > REJECT_BYTES_MAX) {
      return plane.refusals.dropIn(handle, packet, DROP.rejectMalformed, NO_SLOT);
    }
    if (!plane.rejectBuckets.take(peer, plane.nowUs)) return plane.dropIn(handle, DROP.rejectRate);
    plane.absorb(handle, PUNT.reject, header - start, start, length);
  }

  /**
   * DATA for an index that nobody here gave out: the peer is told, rarely, and drops nothing for
   * it.
   */
  unknownIndex(
    handle: number,
    start: number,
    length: number,
    packet: ParsedPacket,
    header: number,
  ): void {
    const plane = this.plane;
    const peer = plane.peerOf(packet, true);
    if (peer >= 0 && plane.unknownBuckets.take(peer, plane.nowUs)) {
      plane.punts.frame(PUNT.unknownIndex, header - start, start, length);
    }
    plane.refusals.dropIn(handle, packet, DROP.unknownIndex, NO_SLOT);
  }
}
