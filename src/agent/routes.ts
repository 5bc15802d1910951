/**
 * How the agent itself reaches each peer: link header and pair of addresses, learnt from packets of
 * this VM that wait for a session, or from a peer's handshake once it has been authenticated. Never
 * from anything a stranger could have sent. Kept over restarts, so that a starting agent can
 * handshake before its VM has sent a packet (docs/wire.md "HANDSHAKE").
 */
import { equalBytes } from "../bytes.ts";
import type { PeerIndex } from "../units.ts";
import { addressBytes } from "../wire/ip-text.ts";
import { answerLink, type Route } from "./outer-frame.ts";
import type { Provisioning } from "./provisioning.ts";

const ETHERTYPE_IPV4 = 0x0800;
const ETHERTYPE_IPV6 = 0x86dd;

/** A frame's link header and addresses, as received. */
export interface FrameEnds {
  readonly link: Uint8Array;
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
}

/** Link header and addresses of a frame, or undefined when it is no IP packet. */
export function frameEnds(frame: Uint8Array): FrameEnds | undefined {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  let at = 12;
  while (at + 2 <= frame.length && [0x8100, 0x88a8, 0x9100].includes(view.getUint16(at))) at += 4;
  if (at + 2 > frame.length) return undefined;
  const etherType = view.getUint16(at);
  const ip = at + 2;
  if (etherType === ETHERTYPE_IPV4 && frame.length >= ip + 20) {
    return ends(frame, ip, ip + 12, 4);
  }
  if (etherType === ETHERTYPE_IPV6 && frame.length >= ip + 40) {
    return ends(frame, ip, ip + 8, 16);
  }
  return undefined;
}

function ends(frame: Uint8Array, ip: number, at: number, sizeBytes: number): FrameEnds {
  return {
    link: frame.slice(0, ip),
    source: frame.slice(at, at + sizeBytes),
    destination: frame.slice(at + sizeBytes, at + 2 * sizeBytes),
  };
}

export class Routes {
  readonly #routes = new Map<PeerIndex, Route>();

  constructor(private provisioning: Provisioning) {}

  /** Takes an update: a way to an address that is no longer the peer's is forgotten. */
  change(provisioning: Provisioning): void {
    this.provisioning = provisioning;
    for (const [peer, route] of this.#routes) {
      if (this.isOf(peer, route.destination)) this.learn(peer, route);
      else this.#routes.delete(peer);
    }
  }

  /** Whether the peer has this address. */
  isOf(peer: PeerIndex, address: Uint8Array): boolean {
    const addresses = this.provisioning.peers[peer]?.addresses ?? [];
    return addresses.some((known) => equalBytes(addressBytes(known), address));
  }

  of(peer: PeerIndex): Route | undefined {
    return this.#routes.get(peer);
  }

  /** The peer that has this address. */
  peerAt(address: Uint8Array): PeerIndex | undefined {
    const index = this.provisioning.peers.findIndex(({ addresses }) =>
      addresses.some((known) => equalBytes(addressBytes(known), address)),
    );
    return index < 0 ? undefined : (index as PeerIndex);
  }

  /** Takes the ends of a packet that this VM sent to the peer. */
  learn(peer: PeerIndex, sent: FrameEnds): void {
    this.#routes.set(peer, this.#route(peer, sent));
  }

  /** The way back to the sender of a frame; not remembered. */
  answerTo(peer: PeerIndex, received: FrameEnds): Route {
    return this.#route(peer, {
      link: answerLink(received.link),
      source: received.destination,
      destination: received.source,
    });
  }

  entries(): IterableIterator<[PeerIndex, Route]> {
    return this.#routes.entries();
  }

  #route(peer: PeerIndex, ends: FrameEnds): Route {
    const { carriers, peers } = this.provisioning;
    return {
      ...ends,
      carrier: peers[peer]?.carrier ?? "ip",
      protocol: carriers.ipProtocol,
      port: carriers.udpPort,
    };
  }
}
