/**
 * Ingress, the uncommon path: first packets of flows, what arrives under the tenant session, and
 * policy on the authenticated identity. design/agent.md "Ingress" 3 and 4 (Fig. 12).
 * What comes here has passed docs/wire.md's checks: peer, tag and role are proven, the packet is
 * restored. A first packet passes here, so it allocates nothing. Hot path.
 */
import { DROP } from "./drop-reasons.ts";
import { SERVER_FIRST_BYTES_MAX } from "./egress-verdict.ts";
import {
  F_PEER,
  F_SEEN,
  F_STATE,
  F_TAG_RULE,
  FLOW_ALLOWED,
  FLOW_ESTABLISHING,
  FLOW_FIN_REMOTE,
  FLOW_FROM_REMOTE,
  FLOW_IDENTIFYING,
  FLOW_MAY_SPEAK,
  FLOW_OUTSIDE,
  FLOW_REFUSED,
  FLOW_RESET,
  FLOW_SERVER_FIRST,
  FLOW_WORDS,
} from "./flow-table.ts";
import { IngressRare } from "./ingress-rare.ts";
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
import { ACTION_ALLOW, DIRECTION_IN, TAG_UNKNOWN } from "./policy-seam.ts";

export class IngressVerdict {
  readonly #rare: IngressRare;
  // The packet at hand, so that the steps below need not pass it along.
  #handle = 0;
  #start = 0;
  #length = 0;
  #hash = 0;
  #slot = 0;
  #peerWord = 0;
  #isDeferred = false;
  #wasDelivered = false;

  constructor(readonly plane: Plane) {
    this.#rare = new IngressRare(plane, this);
  }

  /**
   * Decides on a restored packet that the common path did not deliver.
   * @param flow its flow, or -1
   * @param slot session it came under
   * @param peerWord address pair << 16 | peer index + 1
   */
  decide(
    handle: number,
    start: number,
    length: number,
    packet: ParsedPacket,
    hash: number,
    flow: number,
    slot: number,
    peerWord: number,
  ): void {
    const plane = this.plane;
    const guard = plane.guard.checkVlan(packet);
    if (guard !== PARSED) return plane.refusals.dropIn(handle, packet, guard, slot);
    if (packet.isFragment !== 0 || packet.icmpQuotes !== 0) {
      this.#rare.decide(handle, start, length, packet, slot, peerWord);
      return;
    }
    this.#start = start;
    this.#length = length;
    this.#judge(handle, packet, hash, flow, slot, peerWord);
  }

  /**
   * Judges a first fragment as if it were whole, without delivering it. False: it ended here,
   * dropped and counted; true: it is still the caller's.
   */
  wouldDeliver(
    handle: number,
    packet: ParsedPacket,
    hash: number,
    flow: number,
    slot: number,
    peerWord: number,
  ): boolean {
    this.#isDeferred = true;
    this.#wasDelivered = false;
    this.#judge(handle, packet, hash, flow, slot, peerWord);
    this.#isDeferred = false;
    return this.#wasDelivered;
  }

  #judge(
    handle: number,
    packet: ParsedPacket,
    hash: number,
    flow: number,
    slot: number,
    peerWord: number,
  ): void {
    const plane = this.plane;
    this.#handle = handle;
    this.#hash = hash;
    this.#slot = slot;
    this.#peerWord = peerWord;
    const isTcp = packet.transportProtocol === PROTOCOL_TCP;
    if (isTcp && (packet.tcpFlags & TCP_SYN) !== 0) {
      const reason = plane.clampSyn(packet, 0xffff);
      if (reason !== PARSED) return plane.refusals.dropIn(handle, packet, reason, slot);
    }
    const known = this.#checkKnown(packet, flow, isTcp);
    if (known === DROPPED) return;
    if (plane.sessions.tag[slot] === 0) this.#underTenant(packet, known, isTcp);
    else this.#underApplication(packet, known, isTcp);
  }

  /** The flow as it is to be judged: -1 when the packet begins one, DROPPED when it ended here. */
  #checkKnown(packet: ParsedPacket, flow: number, isTcp: boolean): number {
    if (flow < 0) return -1;
    const plane = this.plane;
    const words = plane.flows.words;
    const at = flow * FLOW_WORDS;
    const stateWord = words[at + F_STATE];
    const isNew = isTcp && (packet.tcpFlags & (TCP_SYN | TCP_ACK)) === TCP_SYN;
    const isOpening =
      (stateWord & 0xff) === FLOW_ESTABLISHING && (stateWord & FLOW_FROM_REMOTE) !== 0;
    if (isNew && !isOpening) {
      plane.forgetFlow(flow);
      return -1;
    }
    if ((words[at + F_PEER] & 0xffff) !== (this.#peerWord & 0xffff)) {
      plane.refusals.dropIn(this.#handle, packet, DROP.flowBinding, this.#slot);
      return DROPPED;
    }
    if ((stateWord & 0xff) === FLOW_REFUSED) {
      plane.dropIn(this.#handle, DROP.refusedFlow);
      return DROPPED;
    }
    words[at + F_SEEN] = plane.nowSeconds;
    if ((packet.tcpFlags & TCP_FIN) !== 0) words[at + F_STATE] |= FLOW_FIN_REMOTE;
    if ((packet.tcpFlags & TCP_RST) !== 0) words[at + F_STATE] |= FLOW_RESET;
    return flow;
  }

  /** Under the zero tag only the tenant is proven. */
  #underTenant(packet: ParsedPacket, flow: number, isTcp: boolean): void {
    if (isTcp && packet.payloadEnd === packet.payloadStart) {
      if (flow >= 0) this.#deliver();
      else this.#beginUnderTenant(packet);
      return;
    }
    if (flow < 0) {
      this.#payloadUnderTenant(packet);
      return;
    }
    const words = this.plane.flows.words;
    const at = flow * FLOW_WORDS;
    const stateWord = words[at + F_STATE];
    if ((stateWord & 0xff) === FLOW_ALLOWED && words[at + F_TAG_RULE] >>> 16 === 0) {
      this.#deliver();
    } else if (isTcp && hearsServer(stateWord)) {
      this.#serverSpeaks(packet, flow);
    } else {
      const peer = (this.#peerWord & 0xffff) - 1;
      this.plane.decide(DIRECTION_IN, peer, packet, 0, this.plane.decision);
      this.#refuse(packet, flow, DROP.tenantPayload);
    }
  }

  /** A payload-free first segment: delivered only if some rule opens the port to that peer. */
  #beginUnderTenant(packet: ParsedPacket): void {
    const plane = this.plane;
    const peer = (this.#peerWord & 0xffff) - 1;
    const decision = plane.decision;
    const isSyn = (packet.tcpFlags & (TCP_SYN | TCP_ACK)) === TCP_SYN;
    plane.decide(DIRECTION_IN, peer, packet, plane.ownQuick === 1 ? 0 : TAG_UNKNOWN, decision);
    if (!isSyn && this.#isTooLate(packet)) return;
    if (isSyn && plane.isHalfOpenFull(peer)) {
      plane.refusals.dropIn(this.#handle, packet, DROP.halfOpenLimit, this.#slot);
      return;
    }
    const flow = plane.insertIncoming(packet, this.#hash, this.#peerWord, decision.rule);
    if (flow < 0) {
      plane.refusals.dropIn(this.#handle, packet, DROP.flowTableFull, this.#slot);
      return;
    }
    if (isSyn && decision.action !== ACTION_ALLOW) {
      this.#refuse(packet, flow, DROP.policyDenied);
      return;
    }
    if (plane.ownQuick === 1 || !isSyn) plane.allow(flow, peer, 0, 0, decision.rule);
    else plane.openHalf(flow, peer, decision.serverFirst !== 0 ? FLOW_MAY_SPEAK : 0);
    this.#deliver();
  }

  /** A TCP flow older than the agent, by the rule in plane.decision; true: it ended here. */
  #isTooLate(packet: ParsedPacket): boolean {
    const plane = this.plane;
    if (plane.passesMidstream()) return false;
    return plane.refusals.enforceIn(this.#handle, packet, DROP.midstream, this.#slot);
  }

  /** The first packet of a flow is payload under the tenant: quick mode, or a flow of before. */
  #payloadUnderTenant(packet: ParsedPacket): void {
    const plane = this.plane;
    const peer = (this.#peerWord & 0xffff) - 1;
    const decision = plane.decision;
    plane.decide(DIRECTION_IN, peer, packet, 0, decision);
    const flow = plane.insertIncoming(packet, this.#hash, this.#peerWord, decision.rule);
    if (flow < 0) {
      plane.refusals.dropIn(this.#handle, packet, DROP.flowTableFull, this.#slot);
      return;
    }
    const isMidstream = packet.transportProtocol === PROTOCOL_TCP && plane.passesMidstream();
    if (isMidstream || (plane.ownQuick === 1 && decision.action === ACTION_ALLOW)) {
      plane.allow(flow, peer, 0, 0, decision.rule);
      this.#deliver();
      return;
    }
    this.#refuse(packet, flow, plane.ownQuick === 1 ? DROP.policyDenied : DROP.tenantPayload);
  }

  /** `server-first` replies to a flow this VM initiated. */
  #serverSpeaks(packet: ParsedPacket, flow: number): void {
    const plane = this.plane;
    const words = plane.flows.words;
    const at = flow * FLOW_WORDS;
    const stateWord = words[at + F_STATE];
    const state = stateWord & 0xff;
    const bytes = packet.payloadEnd - packet.payloadStart;
    const spoken =
      state === FLOW_IDENTIFYING
        ? plane.identification.addSpoken(flow, bytes)
        : (stateWord >>> 16) + bytes;
    if (spoken > SERVER_FIRST_BYTES_MAX) {
      const slot = this.#slot;
      if (plane.refusals.enforceIn(this.#handle, packet, DROP.serverFirstLimit, slot)) return;
    } else if (state === FLOW_ALLOWED) {
      // Both spoke at once, as in SSH: these words left before ours arrived.
      words[at + F_STATE] = (spoken << 16) | (stateWord & 0xffff);
    } else if (state !== FLOW_IDENTIFYING) {
      words[at + F_STATE] = (spoken << 16) | (stateWord & 0xff00) | FLOW_SERVER_FIRST;
    }
    this.#deliver();
  }

  /** Under an application's session: tag and role are proven. */
  #underApplication(packet: ParsedPacket, flow: number, isTcp: boolean): void {
    const plane = this.plane;
    const tag = plane.sessions.tag[this.#slot];
    const isReply = plane.sessions.role[this.#slot] === 0;
    if (flow < 0) {
      if (isReply) {
        plane.refusals.dropIn(this.#handle, packet, DROP.roleMismatch, this.#slot);
        return;
      }
      this.#beginUnderApplication(packet, isTcp);
      return;
    }
    const words = plane.flows.words;
    const at = flow * FLOW_WORDS;
    const stateWord = words[at + F_STATE];
    const fromRemote = (stateWord & FLOW_FROM_REMOTE) !== 0;
    if (fromRemote === isReply) {
      plane.refusals.dropIn(this.#handle, packet, DROP.roleMismatch, this.#slot);
      return;
    }
    const ownTag = words[at + F_TAG_RULE] >>> 16;
    if ((stateWord & 0xff) === FLOW_ALLOWED && ownTag === tag) {
      this.#deliver();
    } else if (isReply || ((stateWord & 0xff) === FLOW_ALLOWED && ownTag !== 0)) {
      plane.refusals.dropIn(this.#handle, packet, DROP.flowBinding, this.#slot);
    } else {
      this.#admit(packet, flow, tag);
    }
  }

  #beginUnderApplication(packet: ParsedPacket, isTcp: boolean): void {
    const plane = this.plane;
    const peer = (this.#peerWord & 0xffff) - 1;
    const tag = plane.sessions.tag[this.#slot];
    plane.decide(DIRECTION_IN, peer, packet, tag, plane.decision);
    if (isTcp && this.#isTooLate(packet)) return;
    const flow = plane.insertIncoming(packet, this.#hash, this.#peerWord, plane.decision.rule);
    if (flow < 0) {
      plane.refusals.dropIn(this.#handle, packet, DROP.flowTableFull, this.#slot);
      return;
    }
    this.#admit(packet, flow, tag);
  }

  /** May this application of this peer reach this port? The flow is bound to (peer, tag) then. */
  #admit(packet: ParsedPacket, flow: number, tag: number): void {
    const plane = this.plane;
    const peer = (this.#peerWord & 0xffff) - 1;
    const decision = plane.decision;
    plane.decide(DIRECTION_IN, peer, packet, tag, decision);
    if (decision.action !== ACTION_ALLOW) {
      this.#refuse(packet, flow, DROP.policyDenied);
      return;
    }
    plane.allow(flow, peer, tag, 1, decision.rule);
    plane.refusals.allowedIn(packet, tag, decision.rule, this.#slot);
    this.#deliver();
  }

  /** Refuses the flow; in stages observe and warn it is delivered all the same, and said so. */
  #refuse(packet: ParsedPacket, flow: number, reason: number): void {
    const plane = this.plane;
    if (plane.refusals.refuseIn(this.#handle, packet, reason, flow, this.#slot)) return;
    const tag = plane.sessions.tag[this.#slot];
    const peer = (this.#peerWord & 0xffff) - 1;
    plane.allow(flow, peer, tag, tag === 0 ? 0 : 1, plane.decision.rule);
    this.#deliver();
  }

  #deliver(): void {
    this.#wasDelivered = true;
    if (this.#isDeferred) return;
    this.plane.inside.add(this.#handle, this.#start, this.#length);
  }
}

/** Whether a flow of this VM may be told something before its initiator has been identified. */
function hearsServer(stateWord: number): boolean {
  const state = stateWord & 0xff;
  return (stateWord & FLOW_FROM_REMOTE) === 0 && state !== FLOW_REFUSED && state !== FLOW_OUTSIDE;
}

const DROPPED = -2;
