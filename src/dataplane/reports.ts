/**
 * Telling the main thread what was decided: fixed records on the punt ring (control-records.ts).
 * An attacker chooses how often packets are refused, so reports go through token buckets, and each
 * says how many were held back since the last one of its cause. Hot path.
 */
import { EVENT, EVENT_BYTES_MAX, NEED, PUNT } from "./control-records.ts";
import type { ParsedPacket } from "./parsed-packet.ts";
import { DIRECTION_OUT } from "./policy-seam.ts";
import type { RecordRing } from "./record-ring.ts";
import { TokenBuckets } from "./token-bucket.ts";

/**
 * Who brought the decision about. Each has its limit, so that nobody hides what another did: least
 * of all whoever forges packets the refusals that a session proves, which are evidence.
 */
const CAUSE = { anybody: 0, provenPeer: 1, ownVm: 2 } as const;
const CAUSES = 3;
/** Of each cause. All bursts together fit into the punt ring (worker-setup.ts PUNT_RING_BYTES). */
const REPORTS_PER_SECOND = 2_000;
const REPORTS_BURST = 4_000;
const LINK_BYTES_MAX = 22;

export class Punts {
  readonly #buckets = new TokenBuckets(CAUSES, REPORTS_PER_SECOND, REPORTS_BURST);
  /** By cause: reports held back by its bucket or a full ring since the last one that went. */
  readonly #suppressed = new Float64Array(CAUSES);

  constructor(
    readonly ring: RecordRing,
    readonly memory: DataView,
  ) {}

  /** Reports held back since the last one that went, of all causes. */
  get suppressed(): number {
    const held = this.#suppressed;
    return held[CAUSE.anybody] + held[CAUSE.provenPeer] + held[CAUSE.ownVm];
  }

  confirmed(slot: number): void {
    const at = this.ring.begin(PUNT.confirmed, 4);
    if (at < 0) return;
    this.ring.memory.setUint32(at, slot, true);
    this.ring.commit();
  }

  /** The VM was resumed or cloned, and the worker has forgotten every session. */
  resumed(): void {
    if (this.ring.begin(PUNT.resumed, 0) >= 0) this.ring.commit();
  }

  /** A snapshot is in use. False: ring full. */
  loaded(generation: number): boolean {
    return this.#number(PUNT.loaded, generation);
  }

  /** Answers a `sync` command. False: ring full. */
  sync(number: number): boolean {
    return this.#number(PUNT.sync, number);
  }

  #number(kind: number, number: number): boolean {
    const at = this.ring.begin(kind, 4);
    if (at < 0) return false;
    this.ring.memory.setUint32(at, number, true);
    this.ring.commit();
    return true;
  }

  /**
   * A whole frame; `headerOffset` says where in it the part that matters begins. False: ring full.
   */
  frame(kind: number, headerOffset: number, start: number, length: number): boolean {
    const at = this.ring.begin(kind, 4 + length);
    if (at < 0) return false;
    const out = this.ring.memory;
    out.setUint32(at, headerOffset, true);
    for (let i = 0; i < length; i++) out.setUint8(at + 4 + i, this.memory.getUint8(start + i));
    this.ring.commit();
    return true;
  }

  /** A session is wanted: by whom, and the link header and addresses of the packet that waits. */
  need(peer: number, tag: number, role: number, packet: ParsedPacket, start: number): boolean {
    const at = this.ring.begin(PUNT.need, NEED.sizeBytes);
    if (at < 0) return false;
    const out = this.ring.memory;
    out.setUint32(at + NEED.peer, peer, true);
    out.setUint32(at + NEED.tag, tag, true);
    out.setUint32(at + NEED.role, role, true);
    out.setUint32(at + NEED.ipVersion, packet.ipVersion, true);
    this.#addresses(at + NEED.source, at + NEED.destination, packet);
    let linkBytes = packet.ipStart - start;
    if (linkBytes > LINK_BYTES_MAX) linkBytes = 0;
    out.setUint32(at + NEED.linkBytes, linkBytes, true);
    for (let i = 0; i < linkBytes; i++) {
      out.setUint8(at + NEED.link + i, this.memory.getUint8(start + i));
    }
    this.ring.commit();
    return true;
  }

  /**
   * One decision; see EVENT for the fields. Numbers below 0 mean none: a packet from outside has a
   * tag only where the proof of a session covered it.
   */
  event(
    kind: number,
    direction: number,
    outcome: number,
    reason: number,
    stage: number,
    packet: ParsedPacket,
    peer: number,
    tag: number,
    rule: number,
    signature: number,
    refusal: number,
    nowUs: number,
  ): void {
    const fromOutside = tag < 0 ? CAUSE.anybody : CAUSE.provenPeer;
    const cause = direction === DIRECTION_OUT ? CAUSE.ownVm : fromOutside;
    const at = this.#buckets.take(cause, nowUs) ? this.ring.begin(kind, EVENT.sizeBytes) : -1;
    if (at < 0) {
      this.#suppressed[cause]++;
      return;
    }
    const out = this.ring.memory;
    out.setUint32(at + EVENT.reason, reason, true);
    out.setUint32(at + EVENT.direction, direction, true);
    out.setUint32(at + EVENT.outcome, outcome, true);
    out.setUint32(at + EVENT.stage, stage, true);
    out.setUint32(at + EVENT.ipVersion, packet.ipVersion, true);
    out.setUint32(at + EVENT.protocol, packet.transportProtocol, true);
    out.setUint32(at + EVENT.sourcePort, packet.sourcePort, true);
    out.setUint32(at + EVENT.destinationPort, packet.destinationPort, true);
    this.#addresses(at + EVENT.source, at + EVENT.destination, packet);
    out.setUint32(at + EVENT.peer, peer, true);
    out.setUint32(at + EVENT.tag, tag, true);
    out.setUint32(at + EVENT.rule, rule, true);
    out.setUint32(at + EVENT.signature, signature, true);
    out.setUint32(at + EVENT.suppressed, this.#suppressed[cause], true);
    out.setUint32(at + EVENT.refusal, refusal, true);
    this.#firstBytes(at, packet);
    this.#suppressed[cause] = 0;
    this.ring.commit();
  }

  #addresses(source: number, destination: number, packet: ParsedPacket): void {
    const out = this.ring.memory;
    out.setUint32(source, packet.source0, true);
    out.setUint32(source + 4, packet.source1, true);
    out.setUint32(source + 8, packet.source2, true);
    out.setUint32(source + 12, packet.source3, true);
    out.setUint32(destination, packet.destination0, true);
    out.setUint32(destination + 4, packet.destination1, true);
    out.setUint32(destination + 8, packet.destination2, true);
    out.setUint32(destination + 12, packet.destination3, true);
  }

  #firstBytes(at: number, packet: ParsedPacket): void {
    const out = this.ring.memory;
    const bytes =
      packet.payloadEnd > packet.payloadStart ? packet.payloadEnd - packet.payloadStart : 0;
    const count = bytes < EVENT_BYTES_MAX ? bytes : EVENT_BYTES_MAX;
    out.setUint32(at + EVENT.textBytes, bytes, true);
    out.setUint32(at + EVENT.byteCount, count, true);
    for (let i = 0; i < count; i++) {
      out.setUint8(at + EVENT.bytes + i, this.memory.getUint8(packet.payloadStart + i));
    }
  }
}
