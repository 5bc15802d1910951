/**
 * Egress of what has no whole transport header of its own, or does not fit: fragments, ICMP errors
 * inside the tenant, oversize packets. docs/wire.md "Carriers", "Fragments and ICMP". Hot path.
 */

import { DROP } from "./drop-reasons.ts";
import type { EgressVerdict } from "./egress-verdict.ts";
import {
  F_BINDING,
  F_LINK,
  F_PEER,
  F_STATE,
  FLOW_ALLOWED,
  FLOW_BURST,
  FLOW_OUTSIDE,
  FLOW_REFUSED,
  FLOW_WORDS,
} from "./flow-table.ts";
import { FRAGMENT_HELD, FRAGMENT_PASS } from "./fragment-table.ts";
import { FRAGMENTS_MAX, fragmentCount, writeFragment } from "./fragmenter.ts";
import { parseQuoted } from "./parse-quoted.ts";
import { PARSED, ParsedPacket } from "./parsed-packet.ts";
import type { Plane } from "./plane.ts";
import { writeTooBig } from "./reply-packets.ts";
import { fixedU32 } from "./shim.ts";

export class EgressRare {
  readonly #quoted = new ParsedPacket();
  readonly #spareHandle = fixedU32(FRAGMENTS_MAX);
  readonly #spareOffset = fixedU32(FRAGMENTS_MAX);
  readonly #spareLength = fixedU32(FRAGMENTS_MAX);
  readonly #releasedHandle = fixedU32(FLOW_BURST);
  readonly #releasedOffset = fixedU32(FLOW_BURST);
  readonly #releasedLength = fixedU32(FLOW_BURST);
  readonly #releasedReason = fixedU32(FLOW_BURST);

  constructor(
    readonly plane: Plane,
    readonly verdict: EgressVerdict,
  ) {}

  decide(
    handle: number,
    start: number,
    length: number,
    packet: ParsedPacket,
    hash: number,
    peerWord: number,
  ): void {
    if (packet.isFragment === 0) this.#quotes(handle, start, length, packet, hash, peerWord);
    else if (packet.transportStart === 0) this.#later(handle, start, length, packet, peerWord);
    else this.#first(handle, start, length, packet, hash, peerWord);
  }

  /** Answers a packet that must not be split, or splits it before sealing. */
  tooBig(handle: number, packet: ParsedPacket, peer: number): void {
    const plane = this.plane;
    const mtu = plane.innerMtu[peer];
    const count = fragmentCount(packet, mtu);
    if (count === 0) {
      if (plane.takeBuffer(this.#spareHandle, this.#spareOffset)) {
        const target = this.#spareOffset[0];
        const bytes = writeTooBig(plane.memory, packet, mtu, target);
        if (bytes > 0) plane.inside.add(this.#spareHandle[0], target, bytes);
        else plane.freeOne(this.#spareHandle[0]);
      }
      plane.dropOut(handle, DROP.egressTooBig);
      return;
    }
    this.#split(handle, packet, mtu, count);
  }

  /** The later fragments go to buffers of their own, the first stays where the packet was. */
  #split(handle: number, packet: ParsedPacket, mtu: number, count: number): void {
    const plane = this.plane;
    if (!plane.takeBuffers(this.#spareHandle, this.#spareOffset, count - 1)) {
      plane.dropOut(handle, DROP.egressNoBuffer);
      return;
    }
    const start = packet.linkStart;
    for (let i = count - 1; i > 0; i--) {
      const target = this.#spareOffset[i - 1];
      this.#spareLength[i - 1] = writeFragment(plane.memory, packet, i, mtu, target);
    }
    const firstLength = writeFragment(plane.memory, packet, 0, mtu, start);
    plane.egress.again(handle, start, firstLength);
    for (let i = 1; i < count; i++) {
      plane.egress.again(
        this.#spareHandle[i - 1],
        this.#spareOffset[i - 1],
        this.#spareLength[i - 1],
      );
    }
  }

  /** A first fragment names the flow: judged like a whole packet, and its verdict is kept. */
  #first(
    handle: number,
    start: number,
    length: number,
    packet: ParsedPacket,
    hash: number,
    peerWord: number,
  ): void {
    const plane = this.plane;
    const flow = plane.findOutgoing(packet, hash);
    if (peerWord === 0) this.verdict.outside(handle, start, length, packet, hash, flow);
    else this.verdict.toPeer(handle, start, length, packet, hash, flow, peerWord);
    const judged = plane.findOutgoing(packet, hash);
    const state = judged < 0 ? FLOW_REFUSED : plane.flows.words[judged * FLOW_WORDS + F_STATE];
    const isOpen = (state & 0xff) === FLOW_ALLOWED || (state & 0xff) === FLOW_OUTSIDE;
    const word = isOpen ? judged + 1 : 0;
    // An overlap condemns what follows, here and at the receiver: this part alone is of no use.
    plane.fragmentsOut.first(packet, peerWord & 0xffff, 0, word, plane.nowUs);
    this.releaseHeld(word);
  }

  /**
   * Later fragments that came before their first follow it now.
   * @param word flow + 1, or 0 to drop them
   */
  releaseHeld(word: number): void {
    const fragments = this.plane.fragmentsOut;
    const count = fragments.releasedCount;
    for (let i = 0; i < count; i++) {
      this.#releasedHandle[i] = fragments.releasedHandle[i];
      this.#releasedOffset[i] = fragments.releasedOffset[i];
      this.#releasedLength[i] = fragments.releasedLength[i];
      this.#releasedReason[i] = fragments.releasedReason[i];
    }
    for (let i = 0; i < count; i++) {
      const reason = this.#releasedReason[i];
      if (reason !== 0) this.plane.dropOut(this.#releasedHandle[i], reason);
      else if (word === 0) this.plane.dropOut(this.#releasedHandle[i], DROP.refusedFlow);
      else {
        this.plane.egress.follow(
          this.#releasedHandle[i],
          this.#releasedOffset[i],
          this.#releasedLength[i],
          word - 1,
        );
      }
    }
  }

  #later(
    handle: number,
    start: number,
    length: number,
    packet: ParsedPacket,
    peerWord: number,
  ): void {
    const plane = this.plane;
    const owner = peerWord & 0xffff;
    const fragments = plane.fragmentsOut;
    const answer = fragments.later(packet, owner, 0, handle, start, length, 0, plane.nowUs);
    if (fragments.releasedCount > 0) this.releaseHeld(0);
    if (answer === FRAGMENT_HELD) return;
    if (answer !== FRAGMENT_PASS) return plane.refusals.dropOut(handle, packet, answer);
    if (fragments.verdict === 0) return plane.dropOut(handle, DROP.refusedFlow);
    this.followFlow(handle, start, length, packet, fragments.verdict - 1);
  }

  /** Sends a later fragment under its flow's session. */
  followFlow(
    handle: number,
    start: number,
    length: number,
    packet: ParsedPacket,
    flow: number,
  ): void {
    const words = this.plane.flows.words;
    const at = flow * FLOW_WORDS;
    const state = words[at + F_STATE] & 0xff;
    if (state === FLOW_OUTSIDE) {
      this.plane.outside.add(handle, start, length);
      return;
    }
    if (state !== FLOW_ALLOWED) return this.plane.dropOut(handle, DROP.refusedFlow);
    const binding = words[at + F_BINDING] - 1;
    const hash = words[at + F_LINK] | 0;
    this.verdict.sendUnder(handle, start, length, packet, hash, binding, words[at + F_PEER]);
  }

  /** An ICMP error travels under the session of the flow it quotes. */
  #quotes(
    handle: number,
    start: number,
    length: number,
    packet: ParsedPacket,
    hash: number,
    peerWord: number,
  ): void {
    const plane = this.plane;
    const quoted = this.#quoted;
    const code = parseQuoted(plane.memory, packet.payloadStart, packet.payloadEnd, quoted);
    if (code !== PARSED) return plane.refusals.dropOut(handle, packet, code);
    quoted.vlanId = packet.vlanId;
    // The quoted packet came from the peer: this VM is its destination.
    const flow =
      quoted.transportStart === 0 ? -1 : plane.findIncoming(quoted, plane.hashIn(quoted));
    if (flow < 0) return plane.refusals.dropOut(handle, packet, DROP.noSignature);
    const words = plane.flows.words;
    const at = flow * FLOW_WORDS;
    if ((words[at + F_PEER] & 0xffff) !== (peerWord & 0xffff)) {
      return plane.refusals.dropOut(handle, packet, DROP.flowBinding);
    }
    const state = words[at + F_STATE] & 0xff;
    if (state === FLOW_REFUSED) return plane.refusals.dropOut(handle, packet, DROP.refusedFlow);
    const binding =
      state === FLOW_ALLOWED
        ? words[at + F_BINDING] - 1
        : plane.bindings.of((peerWord & 0xffff) - 1, 0, 0);
    this.verdict.sendUnder(handle, start, length, packet, hash, binding, peerWord);
  }
}
