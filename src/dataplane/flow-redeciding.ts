/**
 * After a new snapshot every flow is decided again, a bounded number between two bursts, so that
 * a table of a million flows costs no packet. design/agent.md "Egress" 4 and "Modes and stages":
 * a flow keeps its tag for good; what the new policy denies is refused; what was let pass without a
 * tag and now needs one goes on only as `midstream` says, or begins again. Until its turn a flow
 * keeps the verdict of before; the snapshot is enforced when the last one has had its turn
 * (worker-commands.ts answers `sync` then). Hot path: it allocates nothing.
 */
import { OUTCOME } from "./control-records.ts";
import { DROP } from "./drop-reasons.ts";
import {
  F_LOCAL0,
  F_LOCAL1,
  F_LOCAL2,
  F_LOCAL3,
  F_PEER,
  F_PORTS,
  F_PROTOCOL,
  F_REMOTE0,
  F_REMOTE1,
  F_REMOTE2,
  F_REMOTE3,
  F_STATE,
  F_TAG_RULE,
  FLOW_ALLOWED,
  FLOW_FREE,
  FLOW_FROM_REMOTE,
  FLOW_GONE,
  FLOW_IDENTIFYING,
  FLOW_IPV6,
  FLOW_MAY_SPEAK,
  FLOW_OUTSIDE,
  FLOW_REFUSED,
  FLOW_WORDS,
  flowRule,
} from "./flow-table.ts";
import { ParsedPacket, PROTOCOL_TCP } from "./parsed-packet.ts";
import type { Plane } from "./plane.ts";
import {
  ACTION_ALLOW,
  DIRECTION_IN,
  DIRECTION_OUT,
  PEER_NONE,
  STAGE_ENFORCE,
  TAG_UNKNOWN,
} from "./policy-seam.ts";

/** Flows of one some(): about 30 microseconds. */
const FLOWS_A_TURN = 256;
const KEPT = 0;

export class FlowRedeciding {
  isRunning = false;
  #next = 0;
  /** The flow at hand, as the packet that began it; it has no payload. */
  readonly #packet = new ParsedPacket();

  constructor(readonly plane: Plane) {}

  begin(): void {
    this.isRunning = true;
    this.#next = 0;
  }

  /** Decides on the next flows; isRunning is false when none is left. */
  some(): void {
    const { flows } = this.plane;
    for (let i = 0; i < FLOWS_A_TURN; i++) {
      if (this.#next >= flows.used) {
        this.isRunning = false;
        return;
      }
      this.#one(this.#next++);
    }
  }

  #one(flow: number): void {
    const plane = this.plane;
    const words = plane.flows.words;
    const at = flow * FLOW_WORDS;
    const state = words[at + F_STATE] & 0xff;
    if (state === FLOW_FREE || (words[at + F_PROTOCOL] & FLOW_GONE) !== 0) return;
    const peer = (words[at + F_PEER] & 0xffff) - 1;
    if (peer >= 0 && plane.pairs.peer[words[at + F_PEER] >>> 16] !== peer) {
      plane.forgetFlow(flow); // the peer is gone, or has another address
      return;
    }
    const isTcp = (words[at + F_PROTOCOL] & 0xff) === PROTOCOL_TCP;
    if (state === FLOW_REFUSED) {
      // TCP begins again by a SYN; a later segment must not pass for one older than the agent.
      if (!isTcp && !plane.refusals.isByPeer(flow)) plane.forgetFlow(flow);
      return;
    }
    const isIn = (words[at + F_STATE] & FLOW_FROM_REMOTE) !== 0;
    this.#read(at, isIn);
    let reason = KEPT;
    if (peer < 0) reason = this.#outside(state, isIn);
    else if (state !== FLOW_ALLOWED) reason = this.#unbound(flow, state, peer, isIn);
    else if (words[at + F_TAG_RULE] >>> 16 === 0) reason = this.#untagged(flow, peer, isIn, isTcp);
    else reason = this.#tagged(words[at + F_TAG_RULE] >>> 16, peer, isIn);
    if (reason !== KEPT) this.#refuse(flow, reason, isIn);
    else if ((words[at + F_PROTOCOL] & FLOW_GONE) === 0) {
      words[at + F_TAG_RULE] =
        (words[at + F_TAG_RULE] & 0xffff0000) | flowRule(plane.decision.rule);
    }
  }

  /** Not inter-VM. */
  #outside(state: number, isIn: boolean): number {
    const plane = this.plane;
    this.#decide(isIn, PEER_NONE, TAG_UNKNOWN);
    if (state !== FLOW_OUTSIDE || plane.decision.action === ACTION_ALLOW) return KEPT;
    return plane.isMulticast(this.#packet) ? DROP.multicastDenied : DROP.outsideDenied;
  }

  /** Before the application is known. */
  #unbound(flow: number, state: number, peer: number, isIn: boolean): number {
    const plane = this.plane;
    const isQuick = isIn ? plane.ownQuick : plane.peerQuick[peer];
    this.#decide(isIn, peer, isIn && isQuick !== 0 ? 0 : TAG_UNKNOWN);
    const { action, rule, serverFirst } = plane.decision;
    if (action !== ACTION_ALLOW) return DROP.policyDenied;
    if (isQuick !== 0) {
      const owner = state === FLOW_IDENTIFYING ? plane.identification.rise(flow) : -1;
      plane.allow(flow, peer, 0, 0, rule);
      if (owner >= 0) plane.releaseOwner(owner);
    } else if (isIn) {
      const words = plane.flows.words;
      const at = flow * FLOW_WORDS + F_STATE;
      words[at] = (words[at] & ~FLOW_MAY_SPEAK) | (serverFirst !== 0 ? FLOW_MAY_SPEAK : 0);
    }
    return KEPT;
  }

  /** Allowed under the tenant: quick mode, older than the agent, or a stage that observes. */
  #untagged(flow: number, peer: number, isIn: boolean, isTcp: boolean): number {
    const plane = this.plane;
    this.#decide(isIn, peer, isIn ? 0 : TAG_UNKNOWN);
    const isAllowed = plane.decision.action === ACTION_ALLOW;
    const isQuick = (isIn ? plane.ownQuick : plane.peerQuick[peer]) !== 0;
    if (isAllowed && isQuick) return KEPT;
    if (isTcp && plane.passesMidstream()) return KEPT;
    if (!isTcp && !isQuick) {
      plane.forgetFlow(flow); // its next packet shows its application
      return KEPT;
    }
    if (!isAllowed && (isQuick || !isIn)) return DROP.policyDenied;
    return isIn ? DROP.tenantPayload : DROP.midstream;
  }

  /** Allowed under an application; whoever claims it must still be entitled to. */
  #tagged(tag: number, peer: number, isIn: boolean): number {
    const plane = this.plane;
    this.#decide(isIn, peer, tag);
    const isEntitled = isIn ? plane.mayClaim(peer, tag) : plane.ownTags[tag] !== 0;
    if (!isEntitled) return DROP.notEntitled;
    return plane.decision.action === ACTION_ALLOW ? KEPT : DROP.policyDenied;
  }

  /** As a packet of the flow would be refused, but that there is none to drop. */
  #refuse(flow: number, reason: number, isIn: boolean): void {
    const plane = this.plane;
    const { stage, rule, refuse } = plane.decision;
    const isEnforced = stage === STAGE_ENFORCE;
    const outcome = isEnforced ? OUTCOME.dropped : OUTCOME.wouldDrop;
    const direction = isIn ? DIRECTION_IN : DIRECTION_OUT;
    plane.report(direction, outcome, reason, this.#packet, -1, rule, -1, 0);
    if (!isEnforced) return;
    plane.identification.leave(flow);
    plane.closeHalfOpen(flow);
    plane.flows.words[flow * FLOW_WORDS + F_STATE] = (refuse << 16) | FLOW_REFUSED;
  }

  #decide(isIn: boolean, peer: number, tag: number): void {
    const plane = this.plane;
    plane.decide(isIn ? DIRECTION_IN : DIRECTION_OUT, peer, this.#packet, tag, plane.decision);
  }

  /** The flow's first packet, as far as its record knows. */
  #read(at: number, isIn: boolean): void {
    const words = this.plane.flows.words;
    const packet = this.#packet;
    packet.ipVersion = (words[at + F_PROTOCOL] & FLOW_IPV6) === 0 ? 4 : 6;
    packet.transportProtocol = words[at + F_PROTOCOL] & 0xff;
    const localPort = words[at + F_PORTS] >>> 16;
    const remotePort = words[at + F_PORTS] & 0xffff;
    packet.sourcePort = isIn ? remotePort : localPort;
    packet.destinationPort = isIn ? localPort : remotePort;
    packet.source0 = words[at + (isIn ? F_REMOTE0 : F_LOCAL0)];
    packet.source1 = words[at + (isIn ? F_REMOTE1 : F_LOCAL1)];
    packet.source2 = words[at + (isIn ? F_REMOTE2 : F_LOCAL2)];
    packet.source3Word = words[at + (isIn ? F_REMOTE3 : F_LOCAL3)] | 0;
    packet.destination0 = words[at + (isIn ? F_LOCAL0 : F_REMOTE0)];
    packet.destination1 = words[at + (isIn ? F_LOCAL1 : F_REMOTE1)];
    packet.destination2 = words[at + (isIn ? F_LOCAL2 : F_REMOTE2)];
    packet.destination3Word = words[at + (isIn ? F_LOCAL3 : F_REMOTE3)] | 0;
  }
}
