/**
 * Carries out what the worker punts (dataplane/control-records.ts): handshakes and REJECTs go to
 * the session driver, decisions to the event log. Bounded a turn, so that time limits are kept
 * under load.
 */
import { COMMAND, EVENT, NEED, PUNT, REFUSE } from "../dataplane/control-records.ts";
import { DROP } from "../dataplane/drop-reasons.ts";
import { protocolWord } from "../store/network-values.ts";
import type { Micros, PeerIndex, Role, TagIndex, WallMillis } from "../units.ts";
import { addressBytes, formatAddress } from "../wire/ip-text.ts";
import { REJECT_REASON, type SealedReject } from "../wire/reject-message.ts";
import { FlowTally } from "./flow-tally.ts";
import { addressOfBytes } from "./own-addresses.ts";
import { PathMtu } from "./path-mtu.ts";
import { type PlaneNames, planeEvent, refusalNumbers } from "./plane-events.ts";
import { type FrameEnds, frameEnds } from "./routes.ts";
import { RuleHitCounts } from "./rule-hits.ts";
import type { SessionDriver } from "./session-driver.ts";
import { ViolationCounts } from "./violation-counts.ts";
import type { PlaneLink } from "./worker-link.ts";

const PUNTS_PER_TURN = 256;
/** Handshakes waiting in one turn beyond this mean load: cookies are asked for (docs/wire.md). */
const LOAD_HANDSHAKES = 32;
/** REJECTs sent to one peer a second. */
const REJECTS_PER_SECOND = 10;

export class PuntReader {
  readonly #pathMtu: PathMtu;
  readonly #rejectsSent = new Map<number, { second: number; count: number }>();
  #handshakesInTurn = 0;
  /** The names that an update brings, until the worker says that it has taken it. */
  #expected: { readonly generation: number; readonly names: PlaneNames } | undefined;

  /** What peers have done that is held against them. */
  readonly violations = new ViolationCounts();
  /** What was decided, for the manager's people. */
  readonly flows = new FlowTally();
  readonly ruleHits = new RuleHitCounts();

  constructor(
    readonly worker: PlaneLink,
    readonly driver: SessionDriver,
    public names: PlaneNames,
    outsideMtu: number,
    readonly onResumed: () => void,
  ) {
    this.#pathMtu = new PathMtu(worker, driver, outsideMtu);
  }

  /** Reads up to PUNTS_PER_TURN records. True when there may be more. */
  turn(now: Micros, wall: WallMillis): boolean {
    this.#handshakesInTurn = 0;
    const ring = this.worker.punts;
    for (let count = 0; count < PUNTS_PER_TURN; count++) {
      const at = ring.peek();
      if (at < 0) return false;
      this.#one(ring.type, at, ring.length, now, wall);
      ring.release();
    }
    return true;
  }

  /** From the punt on that says so, numbers mean what `names` say. */
  expect(generation: number, names: PlaneNames): void {
    this.#expected = { generation, names };
  }

  /** The peer's place is another's now. */
  forgetPeer(peer: PeerIndex): void {
    this.#pathMtu.forget(peer);
    this.#rejectsSent.delete(peer);
  }

  /** Path MTUs age out (docs/wire.md "Fragments and ICMP"). */
  age(now: Micros): void {
    this.#pathMtu.age(now);
  }

  #one(type: number, at: number, length: number, now: Micros, wall: WallMillis): void {
    const memory = this.worker.punts.memory;
    switch (type) {
      case PUNT.event:
        this.#event(at, wall);
        break;
      case PUNT.rejected:
        this.#event(at, wall);
        this.#tellPeer(at, now);
        break;
      case PUNT.need:
        this.#need(at, now, wall);
        break;
      case PUNT.confirmed: {
        const slot = memory.getUint32(at, true);
        this.driver.step({ type: "confirmed", slot: slot as never }, now, wall);
        break;
      }
      case PUNT.loaded:
        this.#loaded(memory.getUint32(at, true));
        break;
      case PUNT.sync:
        this.worker.synced(memory.getUint32(at, true));
        break;
      case PUNT.resumed:
        this.driver.step({ type: "forget-all" }, now, wall);
        this.onResumed();
        break;
      default:
        this.#frame(type, at, length, now, wall);
    }
  }

  /** Punts that carry a whole frame and the offset of the message in it. */
  #frame(type: number, at: number, length: number, now: Micros, wall: WallMillis): void {
    const offset = this.worker.punts.memory.getUint32(at, true);
    const frame = this.worker.punts.bytes.slice(at + 4, at + length);
    const ends = frameEnds(frame);
    if (ends === undefined || offset < ends.link.length || offset >= frame.length) return;
    const message = messageIn(frame, ends, offset);
    if (type === PUNT.handshake) {
      this.#handshakesInTurn++;
      const load = this.#handshakesInTurn > LOAD_HANDSHAKES;
      this.driver.handshake(message, ends, load, now, wall);
    } else if (type === PUNT.reject) {
      const genuine = this.driver.reject(message, ends, now, wall);
      if (genuine !== undefined) this.#rejectedByPeer(genuine.session.peer, genuine.reject);
    } else if (type === PUNT.unknownIndex && message.length >= 32) {
      const view = new DataView(message.buffer, message.byteOffset);
      this.driver.hint(ends, view.getUint32(4, false), message.slice(16, 32));
    } else if (type === PUNT.packetTooBig) {
      this.#pathMtu.take(frame, ends, offset, now);
    }
  }

  /**
   * A genuine REJECT: the flow's application is answered by the worker, which knows its segments.
   */
  #rejectedByPeer(peer: PeerIndex, reject: SealedReject): void {
    const { peers } = this.names.provisioning;
    const bytes = new Uint8Array(REFUSE.sizeBytes);
    const view = new DataView(bytes.buffer);
    view.setUint32(REFUSE.peer, peer, true);
    view.setUint32(REFUSE.ipVersion, reject.source.length === 4 ? 4 : 6, true);
    view.setUint32(REFUSE.protocol, reject.protocol, true);
    view.setUint32(REFUSE.sourcePort, reject.sourcePort, true);
    view.setUint32(REFUSE.destinationPort, reject.destinationPort, true);
    writeWords(view, REFUSE.source, reject.source);
    writeWords(view, REFUSE.destination, reject.destination);
    this.worker.sendBytes(COMMAND.refuseFlow, bytes);
    this.driver.parts.events.write({
      event: "rejected-by-peer",
      peer: peers[peer]?.id ?? String(peer),
      reason: reject.reason,
      protocol: protocolWord(reject.protocol),
      source: formatBytes(reject.source),
      sourcePort: reject.sourcePort,
      destination: formatBytes(reject.destination),
      destinationPort: reject.destinationPort,
    });
  }

  #loaded(generation: number): void {
    if (this.#expected?.generation !== generation) return;
    this.names = { ...this.#expected.names, generation };
    this.#expected = undefined;
  }

  #event(at: number, wall: WallMillis): void {
    const { memory } = this.worker.punts;
    const event = planeEvent(memory, at, this.names);
    this.violations.note(memory, at, this.names.provisioning);
    this.flows.note(event);
    this.ruleHits.note(event, wall);
    this.driver.parts.events.write(event);
  }

  #need(at: number, now: Micros, wall: WallMillis): void {
    const { memory, bytes } = this.worker.punts;
    const word = (offset: number) => memory.getUint32(at + offset, true);
    const version = word(NEED.ipVersion) === 6 ? 6 : 4;
    const address = (offset: number) =>
      addressBytes({
        version,
        words: [word(offset), word(offset + 4), word(offset + 8), word(offset + 12)],
      });
    const peer = word(NEED.peer) as PeerIndex;
    if (peer >= this.names.provisioning.peers.length) return;
    const linkBytes = word(NEED.linkBytes);
    // The place may have become another peer's since the worker asked.
    const isItsOwn = this.driver.parts.routes.isOf(peer, address(NEED.destination));
    if (linkBytes >= 14 && isItsOwn) {
      this.driver.parts.routes.learn(peer, {
        link: bytes.slice(at + NEED.link, at + NEED.link + linkBytes),
        source: address(NEED.source),
        destination: address(NEED.destination),
      });
    }
    const tag = word(NEED.tag) as TagIndex;
    const role = word(NEED.role) as Role;
    this.driver.step({ type: "need", peer, tag, role }, now, wall);
  }

  /** The refused peer is told, at most REJECTS_PER_SECOND times a second. */
  #tellPeer(at: number, now: Micros): void {
    const memory = this.worker.punts.memory;
    const numbers = refusalNumbers(memory, at);
    if (memory.getUint32(at + EVENT.refusal, true) !== 1) return;
    if (numbers.peer >= this.names.provisioning.peers.length) return;
    const second = Math.floor(now / 1e6);
    const sent = this.#rejectsSent.get(numbers.peer);
    const count = sent?.second === second ? sent.count : 0;
    if (count >= REJECTS_PER_SECOND) return;
    this.#rejectsSent.set(numbers.peer, { second, count: count + 1 });
    const version = numbers.ipVersion === 6 ? 6 : 4;
    this.driver.sendReject(numbers.peer as PeerIndex, numbers.tag as TagIndex, {
      reason: rejectReasonOf(numbers.reason),
      protocol: numbers.protocol,
      sourcePort: numbers.sourcePort,
      destinationPort: numbers.destinationPort,
      source: addressBytes({ version, words: numbers.source }),
      destination: addressBytes({ version, words: numbers.destination }),
    });
  }
}

function rejectReasonOf(dropReason: number): number {
  if (dropReason === DROP.flowBinding) return REJECT_REASON.flowBinding;
  if (dropReason === DROP.tenantPayload) return REJECT_REASON.applicationRefused;
  return REJECT_REASON.policyDenied;
}

function writeWords(view: DataView, at: number, address: Uint8Array): void {
  addressOfBytes(address).words.forEach((word, i) => {
    view.setUint32(at + 4 * i, word, true);
  });
}

function formatBytes(address: Uint8Array): string {
  return formatAddress(addressOfBytes(address));
}

/** The ABS message of a frame, without Ethernet padding. */
function messageIn(frame: Uint8Array, ends: FrameEnds, offset: number): Uint8Array {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const ip = ends.link.length;
  const end =
    ends.source.length === 4
      ? ip + view.getUint16(ip + 2, false)
      : ip + 40 + view.getUint16(ip + 4, false);
  return frame.slice(offset, Math.min(end, frame.length));
}
