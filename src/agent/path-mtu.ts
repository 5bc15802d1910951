/**
 * Path MTU from the network's own word, as far as it can be believed. docs/wire.md "Fragments and
 * ICMP": only packet-too-big, only when it quotes the index of a session that sent in the last 2 s,
 * never below the floors, forgotten after 10 minutes. The worker answers the next oversize packet.
 */
import { COMMAND } from "../dataplane/control-records.ts";
import type { Micros, PeerIndex } from "../units.ts";
import type { FrameEnds } from "./routes.ts";
import type { SessionDriver } from "./session-driver.ts";
import type { PlaneLink } from "./worker-link.ts";

const SENT_WITHIN_US = 2_000_000;
const LIFETIME_US = 600_000_000;
const FLOOR_IPV4 = 576;
const FLOOR_IPV6 = 1280;
const ABS_HEADER_BYTES = 32;
const UDP_HEADER_BYTES = 8;

export class PathMtu {
  readonly #lowered = new Map<PeerIndex, { mtu: number; until: number }>();

  constructor(
    readonly worker: PlaneLink,
    readonly driver: SessionDriver,
    /** Largest IP packet of the outside interface. */
    readonly outsideMtu: number,
  ) {}

  /** @param quote offset of the quoted IP header in the frame */
  take(frame: Uint8Array, ends: FrameEnds, quote: number, now: Micros): void {
    const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
    const isV4 = ends.source.length === 4;
    const mtu = isV4 ? view.getUint16(quote - 2, false) : view.getUint32(quote - 4, false);
    const addressAt = quote + (isV4 ? 16 : 24);
    const quotedTo = frame.slice(addressAt, addressAt + ends.source.length);
    const { routes, provisioning } = this.driver.parts;
    const peer = routes.peerAt(quotedTo);
    if (peer === undefined) return;
    const isUdp = provisioning.peers[peer]?.carrier === "udp";
    const header = quote + (isV4 ? 20 : 40) + (isUdp ? UDP_HEADER_BYTES : 0);
    if (header + 8 > frame.length) return;
    const index = view.getUint32(header + 4, false);
    if (!this.#sentLately(peer, index, now)) return;
    const outer = Math.max(mtu, isV4 ? FLOOR_IPV4 : FLOOR_IPV6);
    if (outer >= (this.#lowered.get(peer)?.mtu ?? this.outsideMtu)) return;
    this.#lowered.set(peer, { mtu: outer, until: now + LIFETIME_US });
    this.#tell(peer, outer, isUdp);
  }

  /** Another peer has its place now. */
  forget(peer: PeerIndex): void {
    this.#lowered.delete(peer);
    const isUdp = this.driver.parts.provisioning.peers[peer]?.carrier === "udp";
    this.#tell(peer, this.outsideMtu, isUdp);
  }

  /** Forgets what is older than 10 minutes. */
  age(now: Micros): void {
    for (const [peer, { until }] of this.#lowered) {
      if (until > now) continue;
      this.#lowered.delete(peer);
      const isUdp = this.driver.parts.provisioning.peers[peer]?.carrier === "udp";
      this.#tell(peer, this.outsideMtu, isUdp);
    }
  }

  #tell(peer: PeerIndex, outer: number, isUdp: boolean): void {
    const inner = outer - ABS_HEADER_BYTES - (isUdp ? UDP_HEADER_BYTES : 0);
    this.worker.send(COMMAND.pathMtu, peer, inner);
  }

  #sentLately(peer: PeerIndex, index: number, now: Micros): boolean {
    for (const session of this.driver.installed.values()) {
      if (session.peer !== peer || session.remoteIndex !== index) continue;
      return now - (this.worker.sessions.lastSentUs[session.slot] ?? 0) <= SENT_WITHIN_US;
    }
    return false;
  }
}
