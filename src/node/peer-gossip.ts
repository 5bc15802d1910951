/**
 * What peers tell each other beside the ledger's messages: who is there (DISCOVERY) and whom the
 * master has revoked. docs/peer-channel.md "Discovery", "Revocations". News are passed on to all
 * who are connected, once: only the master can make any, so nothing circles. A peer may make this
 * node verify so many signatures a second and no more.
 */
import type { Verifier } from "../chain/crypto-interface.ts";
import {
  type AgentMode,
  DISCOVERED_MAX,
  decodeDiscovery,
  encodeDiscovery,
} from "../chain/discovery.ts";
import type { SignedCertificate } from "../chain/identity-certificate.ts";
import type { ChainId, NodeId, PublicKey } from "../chain/ledger-units.ts";
import { nodeIdOf } from "../chain/message-signing.ts";
import {
  decodeRevocations,
  encodeRevocations,
  isRevocationBy,
  type SignedRevocation,
} from "../chain/revocation.ts";
import { type Rate, RateLimit } from "../peer/rate-limit.ts";
import { PEER_FLAG, type PeerFrame } from "../wire/peer-frame.ts";
import type { PeerIdentities } from "./peer-identities.ts";
import type { RevocationList } from "./revocation-list.ts";

/** Certificates and revocations that one peer may bring; what is more is not heard. */
const ITEMS = { perSecond: 100, burst: 2000 };
/** Bytes of each kind that one peer may have parsed: JSON costs more than what it is made of. */
const BYTES = { perSecond: 64 * 1024, burst: 4 * 1024 * 1024 };
/** Certificates that a newcomer is given: of a larger tenant the manager knows all. */
const NAMED_MAX = 1024;

export type GossipOptions = {
  readonly chainId: ChainId;
  /** What this node says of itself. */
  readonly own: SignedCertificate;
  readonly identities: PeerIdentities;
  readonly revocations: RevocationList;
  /** The newest master's key. */
  readonly masterPub: () => PublicKey;
  readonly verifier: Verifier;
  readonly send: (to: NodeId, frame: PeerFrame) => void;
  readonly connected: () => readonly NodeId[];
  readonly onRevoked: (signed: SignedRevocation) => void;
  /** A peer says another mode of itself than before. */
  readonly onMode?: (nodeId: NodeId, mode: AgentMode) => void;
  readonly nowMs: () => number;
};

export class PeerGossip {
  /** By kind and peer. */
  readonly #limits = new Map<string, RateLimit>();
  readonly #modes = new Map<NodeId, AgentMode>();
  /** Heard of first since the start, and not greeted yet. */
  readonly #newcomers = new Set<NodeId>();
  #mode: AgentMode | undefined;
  #own: SignedCertificate;

  constructor(readonly options: GossipOptions) {
    this.#own = options.own;
  }

  /** Another certificate of this node: all who are connected hear of it. */
  show(own: SignedCertificate): void {
    this.#own = own;
    for (const nodeId of this.options.connected()) this.#introduce(nodeId);
  }

  /** As the peer itself has said. */
  modeOf(nodeId: NodeId): AgentMode | undefined {
    return this.#modes.get(nodeId);
  }

  /** A change of mode goes to all peers. */
  announce(mode: AgentMode): void {
    this.#mode = mode;
    for (const nodeId of this.options.connected()) this.#introduce(nodeId);
  }

  /** Who just connected hears who this is, and whom to shun; a newcomer, who else is there. */
  greet(nodeId: NodeId): void {
    this.#introduce(nodeId);
    if (this.#newcomers.delete(nodeId)) this.#nameOthers(nodeId);
    const revocations = this.options.revocations.all();
    if (revocations.length > 0) this.#send(nodeId, "revocation", encodeRevocations(revocations));
  }

  /** A node that was not known, or has a newer certificate: the others hear of it too. */
  passOn(signed: SignedCertificate): void {
    const { nodeId: subject } = signed.certificate;
    this.#newcomers.add(subject);
    const body = encodeDiscovery({ certificates: [signed] });
    for (const nodeId of this.options.connected()) {
      if (nodeId !== subject) this.#send(nodeId, "discovery", body);
    }
  }

  /** False for a body that is none of its kind, and for one too many. */
  receive(from: NodeId, { flag, body }: PeerFrame): boolean {
    if (!this.#mayTake(`${flag} ${from}`, BYTES, body.length)) return false;
    return flag === PEER_FLAG.discovery
      ? this.#onDiscovery(from, body)
      : this.#onRevocations(from, body);
  }

  /** The master's own word, or one that was proven to be: on the disk, then on to everybody. */
  revoke(signed: SignedRevocation, from: NodeId | undefined): void {
    const { revocations, onRevoked } = this.options;
    if (!revocations.add(signed)) return;
    const body = encodeRevocations([signed]);
    for (const nodeId of this.options.connected()) {
      if (nodeId !== from) this.#send(nodeId, "revocation", body);
    }
    onRevoked(signed);
  }

  /** Who is known from a file is no newcomer. */
  begin(): void {
    this.#newcomers.clear();
  }

  #nameOthers(to: NodeId): void {
    const others = this.options.identities.valid().filter(({ certificate }) => {
      return certificate.nodeId !== to;
    });
    const named = others.slice(0, NAMED_MAX);
    for (let start = 0; start < named.length; start += DISCOVERED_MAX) {
      const certificates = named.slice(start, start + DISCOVERED_MAX);
      this.#send(to, "discovery", encodeDiscovery({ certificates }));
    }
  }

  #introduce(nodeId: NodeId): void {
    const mode = this.#mode === undefined ? {} : { mode: this.#mode };
    const body = encodeDiscovery({ certificates: [this.#own], ...mode });
    this.#send(nodeId, "discovery", body);
  }

  #send(to: NodeId, kind: "discovery" | "revocation", body: Uint8Array): void {
    this.options.send(to, { flag: PEER_FLAG[kind], type: 0, body });
  }

  #onDiscovery(from: NodeId, body: Uint8Array): boolean {
    const read = decodeDiscovery(body);
    if ("complaint" in read) return false;
    const { identities } = this.options;
    for (const signed of read.certificates) {
      if (identities.isNews(signed) && this.#mayAsk(from)) identities.learn(signed);
    }
    if (read.mode !== undefined && read.mode !== this.#modes.get(from)) {
      this.#modes.set(from, read.mode);
      this.options.onMode?.(from, read.mode);
    }
    return true;
  }

  #onRevocations(from: NodeId, body: Uint8Array): boolean {
    const read = decodeRevocations(body);
    if ("complaint" in read) return false;
    const { chainId, revocations, masterPub, verifier } = this.options;
    for (const signed of read.revocations) {
      const { revocation } = signed;
      if (revocation.chainId !== chainId || revocations.has(revocation.nodeId)) continue;
      // A master is deposed by a MASTER_TERM, not by its own key in somebody's hands.
      if (revocation.nodeId === nodeIdOf(masterPub()) || !this.#mayAsk(from)) continue;
      if (isRevocationBy(signed, masterPub(), verifier)) this.revoke(signed, from);
    }
    return true;
  }

  #mayAsk(from: NodeId): boolean {
    return this.#mayTake(`items ${from}`, ITEMS, 1);
  }

  #mayTake(name: string, rate: Rate, count: number): boolean {
    const nowMs = this.options.nowMs();
    const limit = this.#limits.get(name) ?? new RateLimit(rate, nowMs);
    this.#limits.set(name, limit);
    if (limit.take(0, nowMs) > 0) return false;
    limit.take(count, nowMs);
    return true;
  }
}
