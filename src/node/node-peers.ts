/**
 * A node's side of the peer channel: who may speak here, by ledger, master's word and revocations;
 * what is for the ledger and what is gossip. docs/peer-channel.md. ledger-process.ts has the rest
 * of a node.
 */
import { type ChainState, isChangePending } from "../chain/chain-state.ts";
import type { Verifier } from "../chain/crypto-interface.ts";
import type { AgentMode } from "../chain/discovery.ts";
import type { SignedCertificate } from "../chain/identity-certificate.ts";
import { encodeIntroduction } from "../chain/introduction.ts";
import type { NodeId, PublicKey, Term } from "../chain/ledger-units.ts";
import { decodeMessage } from "../chain/message-codec.ts";
import {
  type LedgerMessage,
  type MasterTermMessage,
  MESSAGE_CODES,
} from "../chain/message-types.ts";
import { decodeRecord } from "../chain/record-schema.ts";
import type { SignedRevocation } from "../chain/revocation.ts";
import { bytesOf } from "../chain/sha256.ts";
import type { Output } from "../chain/step-types.ts";
import { kernelRandom } from "../native/kernel-random.ts";
import { PeerChannel, type PeerNotice, type PeerStatus } from "../peer/peer-channel.ts";
import type { PeerPassage } from "../peer/peer-passage.ts";
import type { KeyPair } from "../session/x25519.ts";
import { PEER_FLAG, type PeerFrame } from "../wire/peer-frame.ts";
import { epochNow } from "./ledger-runner.ts";
import { bytesOfMessage, keepBytes } from "./message-bytes.ts";
import type { NodeEvents } from "./node-events.ts";
import { loadCertificate, loadPeers, savePeers } from "./node-folder.ts";
import type { OwnKeys } from "./node-keys.ts";
import { PeerGossip } from "./peer-gossip.ts";
import { PeerIdentities } from "./peer-identities.ts";
import { peerNoise } from "./peer-noise-ik.ts";
import { RevocationList } from "./revocation-list.ts";

/** News come in crowds: one look at all of them is enough. */
const MEET_MS = 50;

/** What the node knows of the ledger now. */
export type LedgerView = {
  readonly chain: ChainState;
  readonly masterPub: PublicKey;
  readonly term: Term;
};

export type NodePeersOptions = {
  readonly dir: string;
  readonly keys: OwnKeys;
  readonly genesis: ChainState;
  /** Of a new term's master: shown to whoever it meets. */
  readonly masterTerm: MasterTermMessage | undefined;
  readonly listen: { readonly host: string; readonly port: number } | undefined;
  readonly passage: PeerPassage | undefined;
  readonly verifier: Verifier;
  readonly events: NodeEvents;
  readonly view: () => LedgerView;
  readonly onMessage: (from: NodeId, message: LedgerMessage) => void;
  /**
   * The master or a block has revoked it: whatever else is shared with it ends too. With the key of
   * its sessions, hexadecimal, where its certificate has been seen.
   */
  readonly onRevoked: (nodeId: NodeId, sessionPub: string | undefined) => void;
  readonly onDiscovered: OnDiscovered;
};

/** A node with its newest certificate, and the mode that it says it has. */
export type OnDiscovered = (signed: SignedCertificate, mode: AgentMode | undefined) => void;

export class NodePeers {
  readonly gossip: PeerGossip;
  readonly #identities: PeerIdentities;
  readonly #channel: PeerChannel;
  readonly #revocations: RevocationList;
  #meeting: ReturnType<typeof setTimeout> | undefined;
  #badFrames = 0;
  /** The newest that peers were met under. */
  #term: Term;
  /** A change of members waits for its height. */
  #wasPending = true;
  /** Of sessions: one is that of the certificate which is shown. */
  #keys: readonly KeyPair[];
  #shown: SignedCertificate;
  /** Renewed certificates of others, until the chain has them. */
  #early: readonly SignedCertificate[] = [];

  /** @throws AbsError for anything wrong with certificate or revocations of the folder */
  constructor(readonly options: NodePeersOptions) {
    const { dir, keys, verifier, view } = options;
    this.#term = view().term;
    this.#keys = keys.sessions;
    this.#shown = loadCertificate(dir);
    this.#revocations = new RevocationList(dir);
    this.#identities = new PeerIdentities(
      keys.nodeId,
      () => ({ ...view(), verifier, now: epochNow() }),
      {
        onTerm: (message) => options.onMessage(message.signer, message),
        isRevoked: (nodeId) => this.#revocations.has(nodeId),
        onNews: (signed) => {
          this.gossip.passOn(signed);
          options.onDiscovered(signed, this.gossip.modeOf(signed.certificate.nodeId));
          this.#meetSoon();
        },
      },
    );
    this.#channel = this.#openChannel();
    this.gossip = this.#openGossip();
  }

  get badFrames(): number {
    return this.#badFrames;
  }

  /** Listens, and calls whom the folder knows; the port. @throws AbsError PEER_PORT_BUSY */
  async join(): Promise<number> {
    const port = await this.#channel.listen();
    for (const signed of loadPeers(this.options.dir)) this.#identities.learn(signed);
    this.gossip.begin();
    return port;
  }

  meet(): void {
    clearTimeout(this.#meeting);
    this.#meeting = undefined;
    this.#channel.meet(this.#identities.callees());
  }

  close(): void {
    clearTimeout(this.#meeting);
    this.#channel.close();
  }

  send(to: readonly NodeId[], message: LedgerMessage): void {
    const body = bytesOfMessage(message);
    const frame = { flag: PEER_FLAG.ledger, type: MESSAGE_CODES[message.kind], body };
    // Who waits for one waits far longer than it takes until there is more to say.
    const isUrgent = message.kind !== "REPL_ACK";
    for (const nodeId of to) {
      if (isUrgent) this.#channel.send(nodeId, frame);
      else this.#channel.sendAlong(nodeId, frame);
    }
  }

  /** Who may speak here can be another set after a block. */
  onBlock({ block, next }: Extract<Output, { kind: "block" }>): void {
    // Records let somebody in, or revoke somebody: two heights later.
    const isPending = isChangePending(next);
    this.#revocations.settle(next);
    for (const bytes of block.body.records) {
      const read = decodeRecord(bytes);
      if ("record" in read && read.record.kind === "NODE_REVOKE") this.#cutOff(read.record.nodeId);
    }
    this.#learnEarly();
    if (block.body.records.length > 0 || isPending || this.#wasPending) this.meet();
    this.#wasPending = isPending;
  }

  /** With whom there is a connection, and with whom there should be. */
  reached(): readonly PeerStatus[] {
    return this.#channel.status();
  }

  /** Frames and bytes since the start. */
  sent(): ReturnType<PeerChannel["sent"]> {
    return this.#channel.sent();
  }

  /** Peers as `abs ledger status` shows them. */
  status(): Record<string, unknown>[] {
    return this.#channel.status().map(({ nodeId, isConnected, lost }) => {
      const mode = this.gossip.modeOf(nodeId as NodeId);
      const shown = { node_id: nodeId, is_connected: isConnected, frames_lost: lost };
      return mode === undefined ? shown : { ...shown, mode };
    });
  }

  /** Nodes that the manager has certified since: they are called, and others told of them. */
  learn(certificates: readonly SignedCertificate[]): void {
    for (const signed of certificates) this.#identities.learn(signed);
  }

  /**
   * The manager has renewed certificates: its own is what this node shows from now on; those of
   * others count as soon as the chain here has them.
   */
  certify(own: SignedCertificate, others: readonly SignedCertificate[]): void {
    const { masterTerm } = this.options;
    this.#shown = own;
    this.#channel.show(encodeIntroduction({ signed: own, masterTerm }));
    this.gossip.show(own);
    this.#early = [...this.#early, ...others];
    this.#learnEarly();
  }

  /** Handshakes begin with that of the certificate, and are answered for all of these. */
  takeKeys(sessions: readonly KeyPair[]): void {
    this.#keys = sessions;
  }

  #learnEarly(): void {
    if (this.#early.length === 0) return;
    const isWaiting = (signed: SignedCertificate): boolean =>
      this.#identities.isNews(signed) && !this.#identities.learn(signed);
    this.#early = this.#early.filter(isWaiting);
  }

  /** Peers whose connection stands. */
  connected(): NodeId[] {
    return this.#channel.connected() as NodeId[];
  }

  /** By the master, of whom it has revoked. */
  revoke(signed: SignedRevocation): void {
    this.gossip.revoke(signed, undefined);
  }

  #openChannel(): PeerChannel {
    const { keys, genesis, masterTerm, passage } = this.options;
    const signed = this.#shown;
    const [host = "0.0.0.0"] = signed.certificate.addresses;
    const listen = this.options.listen ?? { host, port: signed.certificate.peerPort };
    return new PeerChannel({
      ...{ self: keys.nodeId, listen, random: kernelRandom },
      noise: peerNoise(genesis.chainId, () => ({
        all: this.#keys,
        shown: this.#shown.certificate.sessionPub,
      })),
      realm: bytesOf(genesis.chainId),
      certificate: encodeIntroduction({ signed, masterTerm }),
      // Nobody has heard of a new term's master, nor knows where to call it.
      callsAll: masterTerm !== undefined,
      authenticate: (introduction, key) => this.#authenticate(introduction, key),
      onFrame: (from, frame) => this.#receive(from as NodeId, frame),
      onNotice: (code, detail) => this.#onNotice(code, detail),
      ...(passage === undefined ? {} : { passage }),
    });
  }

  #openGossip(): PeerGossip {
    const { genesis, verifier, view, events } = this.options;
    return new PeerGossip({
      ...{ chainId: genesis.chainId, own: this.#shown, identities: this.#identities },
      ...{ revocations: this.#revocations, masterPub: () => view().masterPub, verifier },
      send: (to, frame) => this.#channel.send(to, frame),
      connected: () => this.#channel.connected() as NodeId[],
      onRevoked: ({ revocation }) => {
        const { nodeId, reason } = revocation;
        events.write("peer-revoked", { node_id: nodeId, reason });
        this.meet();
        this.#cutOff(nodeId);
      },
      onMode: (nodeId, mode) => {
        const signed = this.#identities.certificateOf(nodeId);
        if (signed !== undefined) this.options.onDiscovered(signed, mode);
      },
      nowMs: () => performance.now(),
    });
  }

  #cutOff(nodeId: NodeId): void {
    const signed = this.#identities.certificateOf(nodeId);
    this.options.onRevoked(nodeId, signed?.certificate.sessionPub);
  }

  /** An introduction may bring a new term: then the peers are others from here on. */
  #authenticate(introduction: Uint8Array, key: Uint8Array): NodeId | undefined {
    const peer = this.#identities.authenticate(introduction, key);
    this.#meetTerm();
    return peer;
  }

  #meetTerm(): void {
    const { term } = this.options.view();
    if (term === this.#term) return;
    this.#term = term;
    this.meet();
  }

  #meetSoon(): void {
    this.#meeting ??= setTimeout(() => {
      this.meet();
      // After a restart it calls them without being told again.
      savePeers(this.options.dir, this.#identities.valid());
    }, MEET_MS);
  }

  #onNotice(code: PeerNotice, detail: string): void {
    this.options.events.writeLimited(code, detail);
    if (code === "peer-connected") this.gossip.greet(detail as NodeId);
  }

  /** Anything at all may be in the frame; that it came from `from` is proven. */
  #receive(from: NodeId, frame: PeerFrame): void {
    const { flag, type, body } = frame;
    if (flag === PEER_FLAG.discovery || flag === PEER_FLAG.revocation) {
      if (!this.gossip.receive(from, frame)) this.#badFrames++;
      return;
    }
    // Of a later version.
    if (flag !== PEER_FLAG.ledger) return;
    const read = decodeMessage(body);
    if ("fault" in read || MESSAGE_CODES[read.message.kind] !== type) {
      this.#badFrames++;
      return;
    }
    keepBytes(read.message, body);
    this.options.onMessage(from, read.message);
    this.#meetTerm();
  }
}
