/**
 * The data plane of one worker: what egress and ingress do alike with its ports and tables
 * (plane-state.ts). Both work on one Plane; the worker owns it. design/README.md "Threads of an
 * agent process". Hot path: everything but the constructor may run for every packet, and allocates
 * nothing.
 */
import { OUTCOME, PUNT } from "./control-records.ts";
import { DROP } from "./drop-reasons.ts";
import { Egress } from "./egress.ts";
import * as keys from "./flow-keys.ts";
import {
  F_BINDING,
  F_PEER,
  F_STATE,
  F_TAG_RULE,
  FLOW_ALLOWED,
  FLOW_ESTABLISHING,
  FLOW_FROM_REMOTE,
  FLOW_REFUSED,
  FLOW_SERVER_FIRST,
  FLOW_WORDS,
  flowRule,
} from "./flow-table.ts";
import { Identification } from "./identification.ts";
import { NeighbourMessage } from "./neighbour-message.ts";
import { PARSED, type ParsedPacket } from "./parsed-packet.ts";
import { type PlaneConfig, type PlaneSetup, PlaneState } from "./plane-state.ts";
import {
  ACTION_ALLOW,
  type Decision,
  DIRECTION_IN,
  DIRECTION_OUT,
  RESERVED_RULE_BASE,
} from "./policy-seam.ts";
import { Refusals } from "./refusals.ts";
import { WINDOW_REPLAYED } from "./replay-window.ts";
import { Sealer } from "./sealer.ts";
import { SESSION_LIVE } from "./session-table.ts";
import { addressOf, fixedU32 } from "./shim.ts";
import { clampMss, SYN_DATA, SynOptions } from "./tcp-options.ts";

/** TCP and IP headers that the MSS does not count. */
const TCP4_HEADER_BYTES = 40;
const TCP6_HEADER_BYTES = 60;
/** Flows looked at by one keepTimes(). */
const EXPIRE_STEPS = 512;

export class Plane extends PlaneState {
  readonly identification: Identification;
  readonly refusals: Refusals;
  readonly sealer: Sealer;
  /** Held packets go through it again. */
  readonly egress: Egress;

  readonly #syn = new SynOptions();
  readonly #neighbour = new NeighbourMessage();
  readonly #one = fixedU32(1);
  readonly #onePointer = addressOf(this.#one);

  constructor(setup: PlaneSetup, config: PlaneConfig) {
    super(setup, config);
    this.identification = new Identification(this, setup.firstSeatOwner);
    this.refusals = new Refusals(this);
    this.sealer = new Sealer(this, setup.lane);
    this.egress = new Egress(this);
  }

  // Flows by packet (flow-keys.ts).

  hashOut(packet: ParsedPacket): number {
    return keys.hashOutgoing(this.flows, packet);
  }

  hashIn(packet: ParsedPacket): number {
    return keys.hashIncoming(this.flows, packet);
  }

  findOutgoing(packet: ParsedPacket, hash: number): number {
    return keys.findOutgoing(this.flows, packet, hash);
  }

  findIncoming(packet: ParsedPacket, hash: number): number {
    return keys.findIncoming(this.flows, packet, hash);
  }

  /** A new flow of this VM in state `establishing`, or -1. @param peerWord 0: not to a peer */
  insertOutgoing(packet: ParsedPacket, hash: number, peerWord: number, rule: number): number {
    const flow = keys.insertOutgoing(this.flows, packet, hash, this.nowSeconds);
    this.#settleEviction();
    if (flow < 0) return -1;
    const at = flow * FLOW_WORDS;
    this.flows.words[at + F_PEER] = peerWord;
    this.flows.words[at + F_TAG_RULE] = flowRule(rule);
    return flow;
  }

  /** A new flow of the remote side, or -1; refused until the caller has decided otherwise. */
  insertIncoming(packet: ParsedPacket, hash: number, peerWord: number, rule: number): number {
    const flow = keys.insertIncoming(this.flows, packet, hash, this.nowSeconds);
    this.#settleEviction();
    if (flow < 0) return -1;
    const at = flow * FLOW_WORDS;
    this.flows.words[at + F_PEER] = peerWord;
    this.flows.words[at + F_TAG_RULE] = flowRule(rule);
    this.flows.words[at + F_STATE] = FLOW_REFUSED | FLOW_FROM_REMOTE;
    return flow;
  }

  /** A flow that a peer just began waits for its payload, and counts as half open until then. */
  openHalf(flow: number, peer: number, flags: number): void {
    this.halfOpen.enter(peer);
    this.flows.words[flow * FLOW_WORDS + F_STATE] = FLOW_ESTABLISHING | FLOW_FROM_REMOTE | flags;
  }

  /** Binds a flow to (peer, tag) for good; `role` is this VM's. */
  allow(flow: number, peer: number, tag: number, role: number, rule: number): void {
    this.closeHalfOpen(flow);
    const words = this.flows.words;
    const at = flow * FLOW_WORDS;
    // What a server has said before counts on: some of it may still be on its way.
    const spoken =
      (words[at + F_STATE] & 0xff) === FLOW_SERVER_FIRST ? words[at + F_STATE] & 0xffff0000 : 0;
    // The state comes last: a process killed in between leaves a flow that its successor judges
    // again, never one that is allowed under another tag.
    words[at + F_TAG_RULE] = (tag << 16) | flowRule(rule);
    words[at + F_BINDING] = this.bindings.of(peer, tag, tag === 0 ? 0 : role) + 1;
    words[at + F_STATE] = spoken | (words[at + F_STATE] & 0xff00) | FLOW_ALLOWED;
  }

  forgetFlow(flow: number): void {
    this.identification.leave(flow);
    this.closeHalfOpen(flow);
    this.flows.remove(flow);
  }

  isHalfOpenFull(peer: number): boolean {
    return this.halfOpen.isFull(peer);
  }

  /** A flow leaves the states before `allowed`. Called before its state word changes. */
  closeHalfOpen(flow: number): void {
    const words = this.flows.words;
    const at = flow * FLOW_WORDS;
    this.releaseHalfOpen(words[at + F_STATE], words[at + F_PEER]);
  }

  releaseHalfOpen(stateWord: number, peerWord: number): void {
    const state = stateWord & 0xff;
    if ((stateWord & FLOW_FROM_REMOTE) === 0 || (peerWord & 0xffff) === 0) return;
    if (state === FLOW_ESTABLISHING || state === FLOW_SERVER_FIRST) {
      this.halfOpen.leave((peerWord & 0xffff) - 1);
    }
  }

  #settleEviction(): void {
    this.releaseHalfOpen(this.flows.evictedState, this.flows.evictedPeer);
  }

  /** Flow `i` of the last expireSome() is gone; its words keep their values but for the state. */
  flowExpired(i: number): void {
    const peerWord = this.flows.words[this.flows.removed[i] * FLOW_WORDS + F_PEER];
    this.releaseHalfOpen(this.flows.removedState[i], peerWord);
  }

  // Peers and addresses.

  /** Peer whose address the remote side of the packet has, or -1. */
  peerOf(packet: ParsedPacket, incoming: boolean): number {
    const table = this.peerAddresses;
    if (packet.ipVersion === 4) {
      return table.find4(incoming ? packet.source3 : packet.destination3);
    }
    if (incoming) {
      return table.find6(packet.source0, packet.source1, packet.source2, packet.source3);
    }
    return table.find6(
      packet.destination0,
      packet.destination1,
      packet.destination2,
      packet.destination3,
    );
  }

  /** Pair of own and peer address of the packet, or -1 when one of them is neither. */
  pairOf(packet: ParsedPacket, incoming: boolean): number {
    const pairs = this.pairs;
    if (packet.ipVersion === 4) {
      return incoming
        ? pairs.find4(packet.destination3, packet.source3)
        : pairs.find4(packet.source3, packet.destination3);
    }
    if (incoming) {
      return pairs.find6(
        packet.destination3,
        packet.source3,
        packet.destination0,
        packet.destination1,
        packet.destination2,
        packet.source0,
        packet.source1,
        packet.source2,
      );
    }
    return pairs.find6(
      packet.source3,
      packet.destination3,
      packet.source0,
      packet.source1,
      packet.source2,
      packet.destination0,
      packet.destination1,
      packet.destination2,
    );
  }

  isMulticast(packet: ParsedPacket): boolean {
    if (packet.ipVersion === 6) return packet.destination0 >>> 24 === 0xff;
    return packet.destination3 >>> 28 === 14 || packet.destination3 === 0xffffffff;
  }

  /** VLAN, MAC, address, and what ARP and ND messages claim, on the way out. */
  checkOutgoing(packet: ParsedPacket, end: number): number {
    const vlan = this.guard.checkVlan(packet);
    if (vlan !== PARSED) return vlan;
    return this.guard.checkOutgoing(this.memory, packet, end, this.#neighbour);
  }

  // Policy.

  /** First matching rule for the flow that the packet begins; writes `out`. */
  decide(direction: number, peer: number, packet: ParsedPacket, tag: number, out: Decision): void {
    const incoming = direction === DIRECTION_IN;
    this.policy.decide(
      direction,
      peer,
      incoming ? packet.source0 : packet.destination0,
      incoming ? packet.source1 : packet.destination1,
      incoming ? packet.source2 : packet.destination2,
      incoming ? packet.source3 : packet.destination3,
      packet.ipVersion,
      tag,
      packet.transportProtocol,
      packet.destinationPort,
      out,
    );
  }

  /**
   * Whether a TCP segment that is no SYN passes because its flow may be older than the agent, by
   * what decide() wrote. Who began it is not to be seen, so a default that denies does not count.
   */
  passesMidstream(): boolean {
    const decision = this.decision;
    if (decision.midstreamUntil <= this.wallSeconds) return false;
    return decision.action === ACTION_ALLOW || decision.rule >= RESERVED_RULE_BASE;
  }

  /** Whether the peer may claim the application. */
  mayClaim(peer: number, tag: number): boolean {
    const word = this.peerTags[peer * this.peerTagWords + (tag >>> 5)];
    return ((word >>> (tag & 31)) & 1) !== 0;
  }

  exceptionOf(direction: number, packet: ParsedPacket): number {
    return this.policy.exception(
      direction,
      packet.ipVersion,
      packet.transportProtocol,
      packet.sourcePort,
      packet.destinationPort,
      packet.icmpType,
      packet.icmpCode,
    );
  }

  /** Largest TCP payload that fits an inner packet to the peer. */
  mssFor(peer: number, ipVersion: number): number {
    return this.innerMtu[peer] - (ipVersion === 4 ? TCP4_HEADER_BYTES : TCP6_HEADER_BYTES);
  }

  /** Clamps the MSS of a SYN; one with data (Fast Open) is refused. PARSED or a reason. */
  clampSyn(packet: ParsedPacket, mssMax: number): number {
    const reason = clampMss(this.memory, packet, mssMax, this.#syn);
    if (reason !== PARSED) return reason;
    return (this.#syn.findings & SYN_DATA) === 0 ? PARSED : DROP.fastOpen;
  }

  // Sessions and what waits for them.

  /** Asks the main thread for a session, once for all packets that wait. */
  need(binding: number, peer: number, packet: ParsedPacket, start: number): void {
    if (this.bindings.waiting[binding] !== 0) return;
    const tag = this.bindings.tagOf(binding);
    const role = this.bindings.roleOf(binding);
    if (this.punts.need(peer, tag, role, packet, start)) this.bindings.waiting[binding] = 1;
  }

  /**
   * The first valid DATA of a session: docs/wire.md "Confirmation". What answers it must go under
   * its keys at once, not when the main thread has heard of it: a peer that restarted no longer has
   * those of the session before. What waits already leaves in order by the main thread's `use`.
   */
  confirm(slot: number): void {
    const { sessions, bindings } = this;
    const peer = sessions.peer[slot];
    sessions.state[slot] = SESSION_LIVE;
    this.punts.confirmed(slot);
    const order = sessions.peersOrder[slot];
    const binding = bindings.find(peer, sessions.tag[slot], sessions.role[slot]);
    if (order === 0 || binding < 0) return;
    if (sessions.endsBefore[slot] > 0) {
      bindings.unbindBefore(sessions, peer, sessions.endsBefore[slot]);
    }
    if (bindings.waiting[binding] !== 0) return;
    const before = bindings.sendSession[binding];
    // The peer may have gone on to a newer session already, whose first DATA came earlier.
    if (before >= 0 && sessions.peersOrder[before] > order) return;
    bindings.sendSession[binding] = slot;
  }

  /** Sends what waits for `owner` again, in order; what finds no session waits on. */
  releaseOwner(owner: number): void {
    const count = this.holds.countOf(owner);
    for (let i = 0; i < count && this.releaseOne(owner); i++);
  }

  /** Sends the oldest packet of `owner` again. False when there is none. */
  releaseOne(owner: number): boolean {
    const holds = this.holds;
    if (!holds.takeOne(owner)) return false;
    if (owner < this.firstSeatOwner && !this.judgesHeldAgain) {
      this.egress.sendHeld(holds.handle, holds.offset, holds.length, owner, holds.context | 0);
    } else this.egress.again(holds.handle, holds.offset, holds.length);
    return true;
  }

  dropOwner(owner: number, reason: number): void {
    while (this.holds.takeOne(owner)) this.#giveUpHeld(reason);
  }

  /** Drops what has waited too long. */
  expireHeld(): void {
    while (this.holds.expireOne(this.nowUs)) this.#giveUpHeld(DROP.holdTimeout);
  }

  /** Time limits of flows and of what waits: a bounded piece of work, every 10 ms or so. */
  keepTimes(): void {
    this.identification.expire();
    this.expireHeld();
    if (this.holds.count === 0) this.judgesHeldAgain = false;
    this.expireFragments();
    const gone = this.flows.expireSome(this.nowSeconds, EXPIRE_STEPS);
    for (let i = 0; i < gone; i++) this.flowExpired(i);
    this.outside.flush();
    this.inside.flush();
  }

  /** Drops fragments whose first one never came. */
  expireFragments(): void {
    this.fragmentsIn.expire(this.nowUs);
    while (this.fragmentsIn.releasedCount > 0) {
      this.releaseFragmentsIn(DROP.fragmentTimeout);
      this.fragmentsIn.expire(this.nowUs);
    }
    this.fragmentsOut.expire(this.nowUs);
    while (this.fragmentsOut.releasedCount > 0) {
      this.egress.verdict.rare.releaseHeld(0);
      this.fragmentsOut.expire(this.nowUs);
    }
  }

  #giveUpHeld(reason: number): void {
    this.egress.giveUp(this.holds.handle, this.holds.offset, this.holds.length, reason);
  }

  /** Held fragments that `fragmentsIn` gave back follow their first one. */
  releaseFragmentsIn(reason: number): void {
    const fragments = this.fragmentsIn;
    for (let i = 0; i < fragments.releasedCount; i++) {
      const held = fragments.releasedReason[i];
      const why = held !== 0 ? held : reason;
      if (why !== PARSED) this.dropIn(fragments.releasedHandle[i], why);
      else {
        this.inside.add(
          fragments.releasedHandle[i],
          fragments.releasedOffset[i],
          fragments.releasedLength[i],
        );
      }
    }
  }

  // Buffers, drops and reports.

  takeBuffer(handle: Uint32Array, offset: Uint32Array): boolean {
    return this.takeBuffers(handle, offset, 1);
  }

  /** Fills the first `count` elements with fresh buffers: all or none. */
  takeBuffers(handle: Uint32Array, offset: Uint32Array, count: number): boolean {
    if (count === 0) return true;
    return this.shim.abs_alloc_burst(addressOf(handle), addressOf(offset), count) === count;
  }

  freeOne(handle: number): void {
    this.#one[0] = handle;
    this.shim.abs_free_burst(this.#onePointer, 1);
  }

  dropOut(handle: number, reason: number): void {
    this.counters.dropsOut[reason]++;
    this.freeOne(handle);
  }

  dropIn(handle: number, reason: number): void {
    this.counters.dropsIn[reason]++;
    this.freeOne(handle);
  }

  windowDrop(window: number): number {
    return window === WINDOW_REPLAYED ? DROP.counterReplayed : DROP.counterOld;
  }

  /** Hands a frame to the main thread and frees it; a full ring is a drop. */
  absorb(handle: number, kind: number, headerOffset: number, start: number, length: number): void {
    if (this.punts.frame(kind, headerOffset, start, length)) this.freeOne(handle);
    else this.dropIn(handle, DROP.puntRingFull);
  }

  /** Reports a refusal. @param rule, @param signature -1 for none @param reject 1: tell the peer */
  report(
    direction: number,
    outcome: number,
    reason: number,
    packet: ParsedPacket,
    slot: number,
    rule: number,
    signature: number,
    reject: number,
  ): void {
    const peer = slot >= 0 ? this.sessions.peer[slot] : this.#reportPeer(direction, packet);
    const tag = slot >= 0 ? this.sessions.tag[slot] : -1;
    const stage = rule < 0 ? this.defaultStage : this.decision.stage;
    const kind = reject === 1 ? PUNT.rejected : PUNT.event;
    this.punts.event(
      kind,
      direction,
      outcome,
      reason,
      stage,
      packet,
      peer,
      tag,
      rule,
      signature,
      reject,
      this.nowUs,
    );
  }

  /** Reports that a flow was identified, or admitted, and is allowed. */
  reportAllowed(
    direction: number,
    packet: ParsedPacket,
    slot: number,
    tag: number,
    rule: number,
    signature: number,
  ): void {
    const peer = slot >= 0 ? this.sessions.peer[slot] : this.#reportPeer(direction, packet);
    this.punts.event(
      PUNT.event,
      direction,
      OUTCOME.allowed,
      0,
      this.decision.stage,
      packet,
      peer,
      tag,
      rule,
      signature,
      0,
      this.nowUs,
    );
  }

  #reportPeer(direction: number, packet: ParsedPacket): number {
    if (packet.ipVersion === 0) return -1;
    return this.peerOf(packet, direction !== DIRECTION_OUT);
  }
}
