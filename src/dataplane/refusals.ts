/**
 * What happens to a packet that may not pass: it is counted, freed, reported once a flow, and,
 * where the rule says `reject`, answered. design/agent.md "Egress" 4, "Ingress" 4; docs/wire.md
 * "REJECT". Reports are limited by a token bucket, and a report says how many before it were held
 * back. Hot path: an attacker chooses how often this runs.
 */

import { OUTCOME } from "./control-records.ts";
import { DROP } from "./drop-reasons.ts";
import { F_STATE, FLOW_REFUSED, FLOW_WORDS } from "./flow-table.ts";
import { type ParsedPacket, PROTOCOL_TCP } from "./parsed-packet.ts";
import type { Plane } from "./plane.ts";
import {
  DIRECTION_IN,
  DIRECTION_OUT,
  REFUSE_DROP,
  REFUSE_REJECT,
  STAGE_ENFORCE,
} from "./policy-seam.ts";
import { writeProhibited, writeReset } from "./reply-packets.ts";
import { fixedU32 } from "./shim.ts";

/** Beside REFUSE_DROP and REFUSE_REJECT in a refused flow's state: the peer said so (REJECT). */
export const REFUSED_BY_PEER = 2;
/** No session: the packet was not authenticated. */
export const NO_SLOT = -1;

export class Refusals {
  readonly #spareHandle = fixedU32(1);
  readonly #spareOffset = fixedU32(1);

  constructor(readonly plane: Plane) {}

  /** Drops one packet of the VM and reports it. */
  dropOut(handle: number, packet: ParsedPacket, reason: number): void {
    this.plane.report(DIRECTION_OUT, OUTCOME.dropped, reason, packet, NO_SLOT, -1, -1, 0);
    this.plane.dropOut(handle, reason);
  }

  /** Drops one packet from outside and reports it; `slot` is its session or NO_SLOT. */
  dropIn(handle: number, packet: ParsedPacket, reason: number, slot: number): void {
    this.plane.report(DIRECTION_IN, OUTCOME.dropped, reason, packet, slot, -1, -1, 0);
    this.plane.dropIn(handle, reason);
  }

  /** Drops and reports a packet of the VM, or only reports it in the stages observe and warn. */
  enforceOut(handle: number, packet: ParsedPacket, reason: number): boolean {
    const plane = this.plane;
    const isEnforced = plane.defaultStage === STAGE_ENFORCE;
    const outcome = isEnforced ? OUTCOME.dropped : OUTCOME.wouldDrop;
    plane.report(DIRECTION_OUT, outcome, reason, packet, NO_SLOT, -1, -1, 0);
    if (isEnforced) plane.dropOut(handle, reason);
    return isEnforced;
  }

  /** As enforceOut, for a packet that came under the session in `slot`. */
  enforceIn(handle: number, packet: ParsedPacket, reason: number, slot: number): boolean {
    const plane = this.plane;
    const isEnforced = plane.defaultStage === STAGE_ENFORCE;
    const outcome = isEnforced ? OUTCOME.dropped : OUTCOME.wouldDrop;
    plane.report(DIRECTION_IN, outcome, reason, packet, slot, -1, -1, 0);
    if (isEnforced) plane.dropIn(handle, reason);
    return isEnforced;
  }

  /** Whether the peer refused this flow and its application was not told yet. */
  isByPeer(flow: number): boolean {
    const stateWord = this.plane.flows.words[flow * FLOW_WORDS + F_STATE];
    return (stateWord & 0xff) === FLOW_REFUSED && stateWord >>> 16 === REFUSED_BY_PEER;
  }

  /** Marks a flow that the peer refused: its application is answered at its next packet. */
  refusedByPeer(flow: number): void {
    const plane = this.plane;
    plane.identification.leave(flow);
    plane.closeHalfOpen(flow);
    plane.flows.words[flow * FLOW_WORDS + F_STATE] = (REFUSED_BY_PEER << 16) | FLOW_REFUSED;
  }

  /** A further packet of a refused flow: counted, answered again, reported no more. */
  again(handle: number, packet: ParsedPacket, flow: number): void {
    const plane = this.plane;
    const stateWord = plane.flows.words[flow * FLOW_WORDS + F_STATE];
    if (stateWord >>> 16 !== REFUSE_DROP) this.#answerInside(packet);
    plane.dropOut(handle, DROP.refusedFlow);
  }

  /**
   * Refuses a flow of the VM by the decision in plane.decision. False when its stage only observes:
   * the packet is still the caller's.
   */
  refuseOut(handle: number, packet: ParsedPacket, reason: number, flow: number): boolean {
    const plane = this.plane;
    const decision = plane.decision;
    const enforce = decision.stage === STAGE_ENFORCE;
    const outcome = enforce ? OUTCOME.dropped : OUTCOME.wouldDrop;
    const signature = plane.identification.signature;
    plane.report(DIRECTION_OUT, outcome, reason, packet, NO_SLOT, decision.rule, signature, 0);
    if (!enforce) return false;
    plane.identification.leave(flow);
    plane.closeHalfOpen(flow);
    plane.flows.words[flow * FLOW_WORDS + F_STATE] = (decision.refuse << 16) | FLOW_REFUSED;
    if (decision.refuse === REFUSE_REJECT) this.#answerInside(packet);
    plane.dropOut(handle, reason);
    return true;
  }

  /**
   * As refuseOut, for a flow from a peer; with `reject` the peer is told through the main thread.
   */
  refuseIn(
    handle: number,
    packet: ParsedPacket,
    reason: number,
    flow: number,
    slot: number,
  ): boolean {
    const plane = this.plane;
    const decision = plane.decision;
    const enforce = decision.stage === STAGE_ENFORCE;
    const outcome = enforce ? OUTCOME.dropped : OUTCOME.wouldDrop;
    const reject = enforce && decision.refuse === REFUSE_REJECT ? 1 : 0;
    plane.report(DIRECTION_IN, outcome, reason, packet, slot, decision.rule, -1, reject);
    if (!enforce) return false;
    plane.closeHalfOpen(flow);
    plane.flows.words[flow * FLOW_WORDS + F_STATE] = (decision.refuse << 16) | FLOW_REFUSED;
    plane.dropIn(handle, reason);
    return true;
  }

  /**
   * Says that a flow was recognised and allowed, so that an administrator sees what was decided.
   */
  allowedOut(packet: ParsedPacket, tag: number, rule: number, signature: number): void {
    this.plane.reportAllowed(DIRECTION_OUT, packet, NO_SLOT, tag, rule, signature);
  }

  allowedIn(packet: ParsedPacket, tag: number, rule: number, slot: number): void {
    this.plane.reportAllowed(DIRECTION_IN, packet, slot, tag, rule, -1);
  }

  /** A reset or an ICMP error towards the VM's own application. */
  #answerInside(packet: ParsedPacket): void {
    const plane = this.plane;
    if (!plane.takeBuffer(this.#spareHandle, this.#spareOffset)) return;
    const target = this.#spareOffset[0];
    const length =
      packet.transportProtocol === PROTOCOL_TCP
        ? writeReset(plane.memory, packet, target)
        : writeProhibited(plane.memory, packet, target);
    if (length > 0) plane.inside.add(this.#spareHandle[0], target, length);
    else plane.freeOne(this.#spareHandle[0]);
  }
}
