/**
 * Ingress of restored packets without a transport header of their own: fragments and ICMP errors.
 * docs/wire.md "Fragments and ICMP". Peer, tag and role are proven. Hot path.
 */
import { DROP } from "./drop-reasons.ts";
import {
  F_PEER,
  F_STATE,
  F_TAG_RULE,
  FLOW_ALLOWED,
  FLOW_REFUSED,
  FLOW_WORDS,
} from "./flow-table.ts";
import { FRAGMENT_HELD, FRAGMENT_PASS } from "./fragment-table.ts";
import type { IngressVerdict } from "./ingress-verdict.ts";
import { parseQuoted } from "./parse-quoted.ts";
import { PARSED, ParsedPacket } from "./parsed-packet.ts";
import type { Plane } from "./plane.ts";

export class IngressRare {
  readonly #quoted = new ParsedPacket();

  constructor(
    readonly plane: Plane,
    readonly verdict: IngressVerdict,
  ) {}

  decide(
    handle: number,
    start: number,
    length: number,
    packet: ParsedPacket,
    slot: number,
    peerWord: number,
  ): void {
    if (packet.isFragment === 0) this.#quotes(handle, start, length, packet, slot, peerWord);
    else if (packet.transportStart === 0) this.#later(handle, start, length, packet, slot);
    else this.#first(handle, start, length, packet, slot, peerWord);
  }

  /** What all fragments of a packet must share: peer and tag. */
  #sessionWord(slot: number): number {
    const sessions = this.plane.sessions;
    return ((sessions.peer[slot] << 16) | sessions.tag[slot]) >>> 0;
  }

  #first(
    handle: number,
    start: number,
    length: number,
    packet: ParsedPacket,
    slot: number,
    peerWord: number,
  ): void {
    const plane = this.plane;
    const hash = plane.hashIn(packet);
    const flow = plane.findIncoming(packet, hash);
    const owner = peerWord & 0xffff;
    const session = this.#sessionWord(slot);
    const fragments = plane.fragmentsIn;
    if (!this.verdict.wouldDeliver(handle, packet, hash, flow, slot, peerWord)) {
      fragments.first(packet, owner, session, 0, plane.nowUs);
      plane.releaseFragmentsIn(DROP.refusedFlow);
      return;
    }
    const answer = fragments.first(packet, owner, session, 1, plane.nowUs);
    if (answer !== FRAGMENT_PASS) plane.refusals.dropIn(handle, packet, answer, slot);
    else plane.inside.add(handle, start, length);
    plane.releaseFragmentsIn(PARSED);
  }

  #later(handle: number, start: number, length: number, packet: ParsedPacket, slot: number): void {
    const plane = this.plane;
    const owner = plane.sessions.peer[slot] + 1;
    const fragments = plane.fragmentsIn;
    const session = this.#sessionWord(slot);
    const answer = fragments.later(packet, owner, session, handle, start, length, 0, plane.nowUs);
    if (fragments.releasedCount > 0) plane.releaseFragmentsIn(DROP.fragmentTimeout);
    if (answer === FRAGMENT_HELD) return;
    if (answer !== FRAGMENT_PASS) plane.refusals.dropIn(handle, packet, answer, slot);
    else if (fragments.verdict === 0) plane.dropIn(handle, DROP.refusedFlow);
    else plane.inside.add(handle, start, length);
  }

  /**
   * An ICMP error is delivered for a flow of that peer, under the flow's session or the tenant's.
   */
  #quotes(
    handle: number,
    start: number,
    length: number,
    packet: ParsedPacket,
    slot: number,
    peerWord: number,
  ): void {
    const plane = this.plane;
    const quoted = this.#quoted;
    const code = parseQuoted(plane.memory, packet.payloadStart, packet.payloadEnd, quoted);
    if (code !== PARSED) return plane.refusals.dropIn(handle, packet, code, slot);
    quoted.vlanId = packet.vlanId;
    // The quoted packet is this VM's own: this VM is its source.
    const flow =
      quoted.transportStart === 0 ? -1 : plane.findOutgoing(quoted, plane.hashOut(quoted));
    if (flow < 0) return plane.refusals.dropIn(handle, packet, DROP.flowBinding, slot);
    const words = plane.flows.words;
    const at = flow * FLOW_WORDS;
    const state = words[at + F_STATE] & 0xff;
    const tag = plane.sessions.tag[slot];
    const isBound = state !== FLOW_ALLOWED || words[at + F_TAG_RULE] >>> 16 === tag || tag === 0;
    const isPeer = (words[at + F_PEER] & 0xffff) === (peerWord & 0xffff);
    if (!isPeer || !isBound || state === FLOW_REFUSED) {
      return plane.refusals.dropIn(handle, packet, DROP.flowBinding, slot);
    }
    plane.inside.add(handle, start, length);
  }
}
