/**
 * Egress, the uncommon path: first packets, TCP's beginnings and ends, refusals, what is not
 * inter-VM. design/agent.md "Egress" 2 and 4 (Fig. 11) with its flow states. Hot path: a new flow
 * passes here, so it allocates nothing either. Fragments and ICMP errors are egress-rare.ts,
 * matching is identification.ts.
 */

import { DROP } from "./drop-reasons.ts";
import { EgressRare } from "./egress-rare.ts";
import {
  F_BINDING,
  F_PEER,
  F_SEEN,
  F_STATE,
  FLOW_ALLOWED,
  FLOW_ESTABLISHING,
  FLOW_FIN_LOCAL,
  FLOW_FROM_REMOTE,
  FLOW_MAY_SPEAK,
  FLOW_OUTSIDE,
  FLOW_REFUSED,
  FLOW_RESET,
  FLOW_SERVER_FIRST,
  FLOW_WORDS,
} from "./flow-table.ts";
import { IDENTIFIED, IDENTIFY_HELD } from "./identification.ts";
import { MANAGEMENT_NONE } from "./management-flows.ts";
import {
  PARSED,
  type ParsedPacket,
  PROTOCOL_TCP,
  TCP_ACK,
  TCP_FIN,
  TCP_RST,
  TCP_SYN,
} from "./parsed-packet.ts";
import type { Plane } from "./plane.ts";
import { ACTION_ALLOW, DIRECTION_OUT, PEER_NONE, TAG_UNKNOWN } from "./policy-seam.ts";

/**
 * What a responder may say before the initiator is identified (design/agent.md, `server-first`).
 */
export const SERVER_FIRST_BYTES_MAX = 16384;

export class EgressVerdict {
  readonly rare: EgressRare;

  constructor(readonly plane: Plane) {
    this.rare = new EgressRare(plane, this);
  }

  /** Decides on a packet that the common path did not send; `flow` is -1 when there is none. */
  decide(
    handle: number,
    start: number,
    length: number,
    packet: ParsedPacket,
    hash: number,
    flow: number,
  ): void {
    const plane = this.plane;
    const guard = plane.checkOutgoing(packet, start + length);
    if (guard !== PARSED) {
      plane.refusals.dropOut(handle, packet, guard);
      return;
    }
    if (packet.ipVersion === 0) {
      plane.outside.add(handle, start, length);
      return;
    }
    if (packet.icmpQuotes === 0 && plane.exceptionOf(DIRECTION_OUT, packet) >= 0) {
      plane.outside.add(handle, start, length);
      return;
    }
    if (packet.transportProtocol === PROTOCOL_TCP && packet.isFragment === 0) {
      if (plane.management.outgoing(packet) !== MANAGEMENT_NONE) {
        this.#ownConnection(handle, start, length, flow);
        return;
      }
    }
    const peer = plane.peerOf(packet, false);
    if (peer < 0) {
      if (packet.isFragment !== 0) this.rare.decide(handle, start, length, packet, hash, 0);
      else this.outside(handle, start, length, packet, hash, plane.findOutgoing(packet, hash));
      return;
    }
    const pair = plane.pairOf(packet, false);
    if (pair < 0) return plane.refusals.dropOut(handle, packet, DROP.spoofedSource);
    if (packet.ipOptions !== 0) return plane.refusals.dropOut(handle, packet, DROP.egressOptions);
    if (packet.ipProtocol === plane.carrierProtocol) {
      return plane.refusals.dropOut(handle, packet, DROP.egressAbs);
    }
    const peerWord = (pair << 16) | (peer + 1);
    if (packet.ipEnd - packet.ipStart > plane.innerMtu[peer]) {
      this.rare.tooBig(handle, packet, peer);
      return;
    }
    if (packet.isFragment !== 0 || packet.icmpQuotes !== 0) {
      this.rare.decide(handle, start, length, packet, hash, peerWord);
      return;
    }
    this.toPeer(handle, start, length, packet, hash, flow, peerWord);
  }

  /** Of the agent itself: unchanged, and no flow of an application any more. */
  #ownConnection(handle: number, start: number, length: number, flow: number): void {
    if (flow >= 0) this.plane.forgetFlow(flow);
    this.plane.outside.add(handle, start, length);
  }

  /** A packet with a whole transport header to a peer. */
  toPeer(
    handle: number,
    start: number,
    length: number,
    packet: ParsedPacket,
    hash: number,
    flow: number,
    peerWord: number,
  ): void {
    const isTcp = packet.transportProtocol === PROTOCOL_TCP;
    if (isTcp && (packet.tcpFlags & TCP_SYN) !== 0 && !this.#checkSyn(handle, packet, peerWord)) {
      return;
    }
    if (flow < 0) {
      this.#first(handle, start, length, packet, hash, peerWord);
      return;
    }
    const words = this.plane.flows.words;
    const at = flow * FLOW_WORDS;
    const isNew = isTcp && (packet.tcpFlags & (TCP_SYN | TCP_ACK)) === TCP_SYN;
    if (isNew && this.plane.refusals.isByPeer(flow)) {
      // The application does not know yet; its next SYN begins again.
      this.plane.refusals.again(handle, packet, flow);
      this.plane.forgetFlow(flow);
      return;
    }
    const isOther = (words[at + F_PEER] & 0xffff) !== (peerWord & 0xffff);
    if (isOther || (isNew && !this.#isOpening(words[at + F_STATE]))) {
      // A new SYN on a known 5-tuple begins again.
      this.plane.forgetFlow(flow);
      this.#first(handle, start, length, packet, hash, peerWord);
      return;
    }
    // A refused flow ages all the same: what is tried again later is judged again.
    if ((words[at + F_STATE] & 0xff) !== FLOW_REFUSED) words[at + F_SEEN] = this.plane.nowSeconds;
    if ((packet.tcpFlags & TCP_FIN) !== 0) words[at + F_STATE] |= FLOW_FIN_LOCAL;
    if ((packet.tcpFlags & TCP_RST) !== 0) words[at + F_STATE] |= FLOW_RESET;
    this.#known(handle, start, length, packet, hash, flow, peerWord);
  }

  /** Whether a SYN is only the retransmission of the one that opened this flow. */
  #isOpening(stateWord: number): boolean {
    return (stateWord & 0xff) === FLOW_ESTABLISHING && (stateWord & FLOW_FROM_REMOTE) === 0;
  }

  /** Clamps the MSS; false when the SYN ended here because it carries data (Fast Open). */
  #checkSyn(handle: number, packet: ParsedPacket, peerWord: number): boolean {
    const plane = this.plane;
    const mss = plane.mssFor((peerWord & 0xffff) - 1, packet.ipVersion);
    const reason = plane.clampSyn(packet, mss);
    if (reason === PARSED) return true;
    plane.refusals.dropOut(handle, packet, reason);
    return false;
  }

  #known(
    handle: number,
    start: number,
    length: number,
    packet: ParsedPacket,
    hash: number,
    flow: number,
    peerWord: number,
  ): void {
    const plane = this.plane;
    const words = plane.flows.words;
    const at = flow * FLOW_WORDS;
    const stateWord = words[at + F_STATE];
    const state = stateWord & 0xff;
    if (state === FLOW_REFUSED) {
      plane.refusals.again(handle, packet, flow);
      return;
    }
    if (state === FLOW_ALLOWED) {
      this.sendUnder(handle, start, length, packet, hash, words[at + F_BINDING] - 1, peerWord);
      return;
    }
    if (packet.payloadEnd === packet.payloadStart && packet.transportProtocol === PROTOCOL_TCP) {
      this.#sendTenant(handle, start, length, packet, hash, peerWord);
      return;
    }
    if ((stateWord & FLOW_FROM_REMOTE) !== 0) {
      this.#serverSpeaks(handle, start, length, packet, hash, flow, peerWord);
      return;
    }
    this.#identify(handle, start, length, packet, hash, flow, peerWord);
  }

  /** The first packet of a flow to a peer: policy, mode, candidates. */
  #first(
    handle: number,
    start: number,
    length: number,
    packet: ParsedPacket,
    hash: number,
    peerWord: number,
  ): void {
    const plane = this.plane;
    const peer = (peerWord & 0xffff) - 1;
    const decision = plane.decision;
    plane.identification.signature = -1;
    plane.identification.waiting = -1;
    plane.decide(DIRECTION_OUT, peer, packet, TAG_UNKNOWN, decision);
    const flow = plane.insertOutgoing(packet, hash, peerWord, decision.rule);
    if (flow < 0) return plane.refusals.dropOut(handle, packet, DROP.flowTableFull);
    const isTcp = packet.transportProtocol === PROTOCOL_TCP;
    const isMidstream = isTcp && (packet.tcpFlags & TCP_SYN) === 0;
    const isOld = isMidstream && plane.passesMidstream();
    if (!isOld && decision.action !== ACTION_ALLOW) {
      this.#refuse(handle, start, length, packet, hash, flow, peerWord, DROP.policyDenied);
      return;
    }
    if (isOld || plane.peerQuick[peer] !== 0) {
      plane.allow(flow, peer, 0, 0, decision.rule);
      this.#known(handle, start, length, packet, hash, flow, peerWord);
      return;
    }
    if (isMidstream) {
      this.#refuse(handle, start, length, packet, hash, flow, peerWord, DROP.midstream);
      return;
    }
    if (!plane.identification.hasCandidate(packet)) {
      this.#refuse(handle, start, length, packet, hash, flow, peerWord, DROP.noSignature);
      return;
    }
    this.#known(handle, start, length, packet, hash, flow, peerWord);
  }

  /** A responder's payload before the initiator was identified. */
  #serverSpeaks(
    handle: number,
    start: number,
    length: number,
    packet: ParsedPacket,
    hash: number,
    flow: number,
    peerWord: number,
  ): void {
    const plane = this.plane;
    const words = plane.flows.words;
    const at = flow * FLOW_WORDS;
    const spoken = (words[at + F_STATE] >>> 16) + packet.payloadEnd - packet.payloadStart;
    const maySpeak = (words[at + F_STATE] & FLOW_MAY_SPEAK) !== 0;
    if (!maySpeak || spoken > SERVER_FIRST_BYTES_MAX) {
      const reason = maySpeak ? DROP.serverFirstLimit : DROP.tenantPayload;
      if (plane.refusals.enforceOut(handle, packet, reason)) return;
      this.#sendTenant(handle, start, length, packet, hash, peerWord);
      return;
    }
    words[at + F_STATE] = (spoken << 16) | (words[at + F_STATE] & 0xff00) | FLOW_SERVER_FIRST;
    this.#sendTenant(handle, start, length, packet, hash, peerWord);
  }

  /** The initiator's first payload: which application is it? */
  #identify(
    handle: number,
    start: number,
    length: number,
    packet: ParsedPacket,
    hash: number,
    flow: number,
    peerWord: number,
  ): void {
    const plane = this.plane;
    const result = plane.identification.offer(handle, start, length, packet, flow);
    if (result === IDENTIFY_HELD) return;
    if (result === IDENTIFIED) {
      this.#identified(handle, start, length, packet, hash, flow, peerWord);
      return;
    }
    if (result === DROP.holdQueueFull || result === DROP.identifyLimit) {
      return plane.refusals.dropOut(handle, packet, result); // it will be sent again
    }
    plane.decide(DIRECTION_OUT, (peerWord & 0xffff) - 1, packet, TAG_UNKNOWN, plane.decision);
    this.#refuse(handle, start, length, packet, hash, flow, peerWord, result);
  }

  #identified(
    handle: number,
    start: number,
    length: number,
    packet: ParsedPacket,
    hash: number,
    flow: number,
    peerWord: number,
  ): void {
    const plane = this.plane;
    const peer = (peerWord & 0xffff) - 1;
    const tag = plane.identification.tag;
    const decision = plane.decision;
    plane.decide(DIRECTION_OUT, peer, packet, tag, decision);
    if (plane.ownTags[tag] === 0) {
      this.#refuse(handle, start, length, packet, hash, flow, peerWord, DROP.notEntitled);
    } else if (decision.action !== ACTION_ALLOW) {
      this.#refuse(handle, start, length, packet, hash, flow, peerWord, DROP.policyDenied);
    } else {
      plane.allow(flow, peer, tag, 0, decision.rule);
      plane.refusals.allowedOut(packet, tag, decision.rule, plane.identification.signature);
      this.#sendWithWaiting(handle, start, length, packet, hash, flow, peerWord);
    }
  }

  /** The packet at hand and those that waited for its bytes, in the order they came. */
  #sendWithWaiting(
    handle: number,
    start: number,
    length: number,
    packet: ParsedPacket,
    hash: number,
    flow: number,
    peerWord: number,
  ): void {
    const plane = this.plane;
    const waiting = plane.identification.waiting;
    const isOldest = plane.identification.isOldest;
    plane.identification.waiting = -1;
    if (waiting >= 0 && isOldest === 0) plane.releaseOwner(waiting);
    this.#known(handle, start, length, packet, hash, flow, peerWord);
    if (waiting >= 0 && isOldest === 1) plane.releaseOwner(waiting);
  }

  /** Refuses the flow, or only says so and lets it pass under the tenant (stages observe, warn). */
  #refuse(
    handle: number,
    start: number,
    length: number,
    packet: ParsedPacket,
    hash: number,
    flow: number,
    peerWord: number,
    reason: number,
  ): void {
    const plane = this.plane;
    if (plane.refusals.refuseOut(handle, packet, reason, flow)) {
      if (plane.identification.waiting >= 0) {
        plane.dropOwner(plane.identification.waiting, reason);
        plane.identification.waiting = -1;
      }
      return;
    }
    plane.allow(flow, (peerWord & 0xffff) - 1, 0, 0, plane.decision.rule);
    this.#sendWithWaiting(handle, start, length, packet, hash, flow, peerWord);
  }

  #sendTenant(
    handle: number,
    start: number,
    length: number,
    packet: ParsedPacket,
    hash: number,
    peerWord: number,
  ): void {
    const binding = this.plane.bindings.of((peerWord & 0xffff) - 1, 0, 0);
    this.sendUnder(handle, start, length, packet, hash, binding, peerWord);
  }

  /** Sends under the binding's session, or holds the packet until there is one. */
  sendUnder(
    handle: number,
    start: number,
    length: number,
    packet: ParsedPacket,
    hash: number,
    binding: number,
    peerWord: number,
  ): void {
    const plane = this.plane;
    if (binding < 0) return plane.refusals.dropOut(handle, packet, DROP.noSession);
    const slot = plane.bindings.sendSession[binding];
    if (slot >= 0) {
      plane.sealer.send(handle, start, packet, slot, peerWord, hash);
      return;
    }
    const held = plane.holds.put(
      binding,
      (peerWord & 0xffff) - 1,
      handle,
      start,
      length,
      hash,
      plane.nowUs,
    );
    if (held !== 0) return plane.refusals.dropOut(handle, packet, DROP.holdQueueFull);
    plane.need(binding, (peerWord & 0xffff) - 1, packet, start);
  }

  /** Not to an agent of the tenant: PMdb decides, and the packet passes unchanged. */
  outside(
    handle: number,
    start: number,
    length: number,
    packet: ParsedPacket,
    hash: number,
    flow: number,
  ): void {
    const plane = this.plane;
    const isNew = (packet.tcpFlags & (TCP_SYN | TCP_ACK)) === TCP_SYN;
    if (flow >= 0 && (isNew || plane.flows.words[flow * FLOW_WORDS + F_PEER] !== 0)) {
      plane.forgetFlow(flow);
    } else if (flow >= 0) {
      const words = plane.flows.words;
      const at = flow * FLOW_WORDS;
      if ((words[at + F_STATE] & 0xff) === FLOW_REFUSED) {
        plane.refusals.again(handle, packet, flow);
        return;
      }
      words[at + F_SEEN] = plane.nowSeconds;
      if ((packet.tcpFlags & TCP_FIN) !== 0) words[at + F_STATE] |= FLOW_FIN_LOCAL;
      if ((packet.tcpFlags & TCP_RST) !== 0) words[at + F_STATE] |= FLOW_RESET;
      plane.outside.add(handle, start, length);
      return;
    }
    const decision = plane.decision;
    plane.identification.signature = -1;
    plane.decide(DIRECTION_OUT, PEER_NONE, packet, TAG_UNKNOWN, decision);
    const fresh = plane.insertOutgoing(packet, hash, 0, decision.rule);
    if (fresh < 0) return plane.refusals.dropOut(handle, packet, DROP.flowTableFull);
    if (decision.action !== ACTION_ALLOW) {
      const reason = plane.isMulticast(packet) ? DROP.multicastDenied : DROP.outsideDenied;
      if (plane.refusals.refuseOut(handle, packet, reason, fresh)) return;
    }
    plane.flows.words[fresh * FLOW_WORDS + F_STATE] = FLOW_OUTSIDE;
    plane.outside.add(handle, start, length);
  }
}
