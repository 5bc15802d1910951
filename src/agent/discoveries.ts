/**
 * DISCOVERY in a running agent (paper §3.6): newcomers, which the manager has certified, and modes,
 * as peers tell them over the peer channel. docs/manager.md "Discovery". The manager says the same
 * and more; it has a moment to do so, and where it is away what peers say comes into force.
 */
import { toHex } from "../bytes.ts";
import type { AgentMode } from "../chain/discovery.ts";
import type { SignedCertificate } from "../chain/identity-certificate.ts";
import { amendAgentFolder, type FoundPeer } from "../channel/folder-amendment.ts";
import type { EventLog } from "../observe/event-log.ts";
import { formatAddress } from "../wire/ip-text.ts";
import { ownKeysOf, peerWithKey } from "./provisioning-fields.ts";
import type { AgentUpdates } from "./updates.ts";

/** News come in crowds. */
const AWAY_MS = 300;
/** Its state comes by itself. */
const NEAR_MS = 3_000;
/** After news that could not be put in force: an address that another still has, say. */
const AGAIN_MS = 10_000;
const HEARD_MAX = 4096;

export interface DiscoveryParts {
  /** Folder of the agent. */
  readonly dir: string;
  readonly updates: AgentUpdates;
  readonly events: EventLog;
  readonly isManagerNear: () => boolean;
  readonly isCutOff: (staticPublic: Uint8Array) => boolean;
}

type Heard = { readonly signed: SignedCertificate; readonly mode: AgentMode | undefined };

export class Discoveries {
  /** By key of sessions. */
  readonly #heard = new Map<string, Heard>();
  #timer: Timer | undefined;
  #isOver = false;

  constructor(readonly parts: DiscoveryParts) {}

  /** @param signed valid here, by the ledger or the manager's signature */
  hear(signed: SignedCertificate, mode: AgentMode | undefined): void {
    const { sessionPub } = signed.certificate;
    if (this.#heard.size >= HEARD_MAX && !this.#heard.has(sessionPub)) return;
    const before = this.#heard.get(sessionPub)?.mode;
    this.#heard.set(sessionPub, { signed, mode: mode ?? before });
    this.#plan(this.parts.isManagerNear() ? NEAR_MS : AWAY_MS);
  }

  close(): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
  }

  #plan(afterMs: number): void {
    if (this.#isOver || this.#timer !== undefined) return;
    this.#timer = setTimeout(() => void this.#bringIntoForce(), afterMs);
  }

  async #bringIntoForce(): Promise<void> {
    const heard = [...this.#heard];
    const found = heard.flatMap(([key, one]) => this.#newsOf(key, one) ?? []);
    try {
      if (found.length > 0) {
        await this.parts.updates.adopt(() => amendAgentFolder(this.parts.dir, found));
        const peers = found.map(({ certificate }) => certificate.nodeId);
        this.parts.events.write({ event: "neighbours-discovered", peers });
      }
      for (const [key, one] of heard) if (this.#heard.get(key) === one) this.#heard.delete(key);
      this.#timer = undefined;
      if (this.#heard.size > 0) this.#plan(AWAY_MS);
    } catch {
      this.#timer = undefined; // the refusal is an event of the updates
      this.#plan(AGAIN_MS);
    }
  }

  /** What is not in force yet; undefined: nothing. */
  #newsOf(key: string, { signed, mode }: Heard): FoundPeer | undefined {
    const { certificate } = signed;
    const { node, peers, tenant } = this.parts.updates.running.provisioning;
    const peer = peerWithKey(peers, key);
    if (peer !== undefined) {
      return mode === undefined || mode === peer.mode ? undefined : { certificate, mode };
    }
    const isAgent = certificate.roles.includes("agent") && certificate.tenant === tenant.name;
    const isSelf = ownKeysOf(node).some(({ publicKey }) => toHex(publicKey) === key);
    if (!isAgent || isSelf || this.parts.isCutOff(Uint8Array.fromHex(key))) return undefined;
    // Another key of a known peer is the manager's to say, with the one before it.
    const isKnownPlace = peers.some(({ addresses }) =>
      addresses.some((address) => certificate.addresses.includes(formatAddress(address))),
    );
    return isKnownPlace ? undefined : { certificate, mode: mode ?? "quick" };
  }
}
