/**
 * The peer channel: agents and validators of one tenant over TCP, port 6254. docs/peer-channel.md;
 * design/manager.md "Channels". Of two nodes the one with the lower id calls, again and again with
 * growing pauses, and the other where no call comes; a new connection of a peer takes the place of
 * the old one when it is confirmed, so that a recording of a handshake cannot cut anybody off. Per
 * peer there is a bounded queue and a limit of bytes and frames; strangers get few seats and little
 * time.
 */
import { createServer, type Server, type Socket } from "node:net";
import { equalBytes } from "../bytes.ts";
import { AbsError, messageOf } from "../errors.ts";
import { PEER_FLAG, type PeerFrame } from "../wire/peer-frame.ts";
import { PeerConnection } from "./peer-connection.ts";
import { type Callee, PeerDialler } from "./peer-dialler.ts";
import type { LinkOptions } from "./peer-link.ts";
import type { PeerPassage } from "./peer-passage.ts";
import { SendQueue } from "./send-queue.ts";

export const PEER_PORT = 6254;
const QUEUE = { framesMax: 4096, bytesMax: 8 * 1024 * 1024 };
/** Frames that leave together, in one write. */
const WRITE_BYTES = 60 * 1024;
/** How long a frame that is not urgent waits for another to the same peer. */
const ALONG_MS = 20;
/** Connections whose handshake is not over; the oldest leaves for a new one. */
const STRANGERS_MAX = 64;
const PATIENCE_MS = 3000;
const ALIVE_MS = 2000;
const SILENCE_MS = 10_000;
/** The higher id calls too when it has not been called for so long: it may not be known there. */
const SECOND_CALLER_MS = 4000;
const FRESH_MS = 3000;
/** ALIVE comes every 2 s, unless the ledger has more to say. */
const HEARD_MS = 2500;

export type PeerChannelOptions = Pick<
  LinkOptions,
  "noise" | "realm" | "certificate" | "authenticate"
> & {
  readonly self: string;
  readonly listen: { readonly host: string; readonly port: number };
  /** Nobody can know this node yet: it calls everybody, whoever has the lower id. */
  readonly callsAll?: boolean;
  /** Fresh bytes of the kernel: a copy of this machine must not draw the same ephemeral keys. */
  readonly random: (sizeBytes: number) => Uint8Array;
  /** The peer at the other end is proven; `frame.body` is anything. */
  readonly onFrame: (from: string, frame: PeerFrame) => void;
  /** Something that the operator may want to know: a connection, its end, a refusal. */
  readonly onNotice: (code: PeerNotice, detail: string) => void;
  /** Absent: the network is there for everybody. */
  readonly passage?: PeerPassage;
};
export type PeerNotice = "peer-connected" | "peer-lost" | "peer-refused" | "peer-twice";

export type PeerStatus = {
  readonly nodeId: string;
  readonly isConnected: boolean;
  /** Since it was last heard; undefined: it is not connected. */
  readonly silentMs: number | undefined;
  /** Frames that left the queue unsent. */
  readonly lost: number;
};

type Peer = {
  readonly queue: SendQueue;
  connection: PeerConnection | undefined;
  dialler: PeerDialler | undefined;
};

function isSamePlace(before: Callee, after: Callee): boolean {
  const { host, port, key } = after;
  return before.host === host && before.port === port && equalBytes(before.key, key);
}

export class PeerChannel {
  readonly #peers = new Map<string, Peer>();
  readonly #strangers = new Set<PeerConnection>();
  #certificate: Uint8Array;
  readonly #ticking: ReturnType<typeof setInterval>;
  /** Where peers are. */
  #hosts: ReadonlySet<string> = new Set();
  #server: Server | undefined;
  /** For whom there are frames that wait for others. */
  readonly #waiting = new Set<Peer>();
  #wait: ReturnType<typeof setTimeout> | undefined;
  #isClosed = false;
  #sentFrames = 0;
  #sentBytes = 0;

  constructor(readonly options: PeerChannelOptions) {
    this.#certificate = options.certificate;
    this.#ticking = setInterval(() => this.#tick(), ALIVE_MS);
  }

  /** Handshakes from now on show another certificate; connections that stand go on. */
  show(certificate: Uint8Array): void {
    this.#certificate = certificate;
  }

  /** @throws AbsError PEER_PORT_BUSY */
  async listen(): Promise<number> {
    const { host, port } = this.options.listen;
    const server = createServer({ noDelay: true }, (socket) => this.#accept(socket));
    await new Promise<void>((resolve, reject) => {
      server.once("error", (cause) => {
        const what = `The peer channel cannot listen at ${host} port ${port}: ${messageOf(cause)}.`;
        reject(new AbsError("PEER_PORT_BUSY", what, "Free it, or choose another --listen.", cause));
      });
      server.listen(port, host, resolve);
    });
    this.#server = server;
    const address = server.address();
    const bound = typeof address === "object" && address !== null ? address.port : port;
    this.options.passage?.listen(bound);
    return bound;
  }

  /** Whom to speak with. Those who are not among them any more are cut off. */
  meet(callees: readonly Callee[]): void {
    const wanted = new Set(callees.map(({ nodeId }) => nodeId));
    this.#hosts = new Set(callees.map(({ host }) => host));
    this.options.passage?.meet(callees.map(({ host }) => host));
    for (const [nodeId, peer] of this.#peers) {
      if (wanted.has(nodeId)) continue;
      peer.dialler?.close();
      peer.connection?.end();
      this.#peers.delete(nodeId);
    }
    for (const callee of callees) {
      const peer = this.#peerOf(callee.nodeId);
      const before = peer.dialler?.callee;
      if (before !== undefined && isSamePlace(before, callee)) continue;
      peer.dialler?.close();
      const onConnected = (socket: Socket, key: Uint8Array) =>
        this.#connect(socket, { nodeId: callee.nodeId, key });
      const isWanted = () => this.#peers.get(callee.nodeId)?.connection === undefined;
      const firstMs = this.#isCaller(callee.nodeId) ? 0 : SECOND_CALLER_MS;
      const { passage } = this.options;
      peer.dialler = new PeerDialler(callee, onConnected, { firstMs, isWanted, passage });
    }
  }

  /** Sends when the peer is there; false for a peer that was never met. */
  send(nodeId: string, frame: PeerFrame): boolean {
    const peer = this.#enqueue(nodeId, frame);
    this.#pump(peer);
    return peer !== undefined;
  }

  /** With the next that is sent to the peer, or ALONG_MS later. */
  sendAlong(nodeId: string, frame: PeerFrame): boolean {
    const peer = this.#enqueue(nodeId, frame);
    if (peer === undefined) return false;
    this.#waiting.add(peer);
    this.#wait ??= setTimeout(() => this.#endWait(), ALONG_MS);
    return true;
  }

  connected(): string[] {
    return [...this.#peers].flatMap(([nodeId, { connection }]) => {
      return connection === undefined ? [] : [nodeId];
    });
  }

  /** Peers, and whether each is connected. */
  status(): PeerStatus[] {
    const nowMs = performance.now();
    return [...this.#peers].map(([nodeId, { connection, queue }]) => ({
      nodeId,
      isConnected: connection !== undefined,
      silentMs: connection === undefined ? undefined : nowMs - connection.heardMs,
      lost: queue.lost,
    }));
  }

  /** Since the start; bytes with the records around the frames. */
  sent(): { readonly frames: number; readonly bytes: number } {
    return { frames: this.#sentFrames, bytes: this.#sentBytes };
  }

  close(): void {
    this.#isClosed = true;
    clearInterval(this.#ticking);
    clearTimeout(this.#wait);
    for (const connection of this.#strangers) connection.end();
    for (const { connection, dialler } of this.#peers.values()) {
      dialler?.close();
      connection?.end();
    }
    this.#server?.close();
  }

  #peerOf(nodeId: string): Peer {
    const known = this.#peers.get(nodeId);
    if (known !== undefined) return known;
    const peer = { queue: new SendQueue(QUEUE), connection: undefined, dialler: undefined };
    this.#peers.set(nodeId, peer);
    return peer;
  }

  #accept(socket: Socket): void {
    if (this.#isClosed) return void socket.destroy();
    const [oldest] = this.#strangers;
    if (this.#strangers.size >= STRANGERS_MAX) oldest?.end();
    this.#connect(socket, undefined);
  }

  #connect(socket: Socket, callee: LinkOptions["callee"]): void {
    const { noise, realm, authenticate } = this.options;
    const certificate = this.#certificate;
    const ephemeralSecret = this.options.random(32);
    const isKnownPlace = this.#hosts.has(socket.remoteAddress?.replace(/^::ffff:/, "") ?? "");
    const own = { noise, realm, certificate, ephemeralSecret };
    const link = { ...own, authenticate, callee, isKnownPlace };
    const connection: PeerConnection = new PeerConnection(socket, link, {
      onConfirmed: (nodeId) => this.#settle(nodeId, connection),
      onFrame: (nodeId, frame) => {
        if (frame.flag !== PEER_FLAG.alive) this.options.onFrame(nodeId, frame);
      },
      onDrain: (nodeId) => this.#pump(this.#peers.get(nodeId)),
      onEnd: (why) => this.#ended(connection, why),
    });
    this.#strangers.add(connection);
  }

  /** Whether a connection with this peer is this side's to make. */
  #isCaller(nodeId: string): boolean {
    return this.options.callsAll === true || this.options.self < nodeId;
  }

  /**
   * Whether this one gives way: both called at once, and of two fresh connections both sides keep
   * the one that the lower id has called.
   */
  #isSecond(nodeId: string, before: PeerConnection, after: PeerConnection): boolean {
    const isLower = this.options.self < nodeId;
    const isKept = (one: PeerConnection): boolean => (one.callee !== undefined) === isLower;
    const isFresh = performance.now() - before.sinceMs < FRESH_MS;
    return isFresh && isKept(before) && !isKept(after);
  }

  /**
   * A node that restarts leaves a connection that is closed or silent. An old one that was heard of
   * just now while another comes is two nodes with one id: a copy.
   */
  #lookTwice(nodeId: string, before: PeerConnection, after: PeerConnection): void {
    const nowMs = performance.now();
    const isOld = nowMs - before.sinceMs >= FRESH_MS;
    if (!isOld || nowMs - before.heardMs > HEARD_MS) return;
    this.options.onNotice("peer-twice", `${nodeId}: at ${before.remote} and at ${after.remote}`);
  }

  #settle(nodeId: string, connection: PeerConnection): void {
    this.#strangers.delete(connection);
    const peer = this.#peerOf(nodeId);
    const before = peer.connection;
    if (before !== undefined && this.#isSecond(nodeId, before, connection)) {
      return connection.end();
    }
    if (before !== undefined) this.#lookTwice(nodeId, before, connection);
    peer.connection = connection;
    peer.dialler?.reached();
    before?.end();
    this.options.onNotice("peer-connected", nodeId);
    this.#pump(peer);
  }

  #ended(connection: PeerConnection, why: string): void {
    const isStranger = this.#strangers.delete(connection);
    const nodeId = connection.peer;
    const peer = nodeId === undefined ? undefined : this.#peers.get(nodeId);
    if (peer?.connection === connection) {
      peer.connection = undefined;
      this.options.onNotice("peer-lost", `${nodeId}: ${why}`);
    } else if (isStranger && connection.fault !== undefined) {
      this.options.onNotice("peer-refused", `${connection.remote}: ${why}`);
    }
    const called = connection.callee === undefined ? undefined : this.#peers.get(connection.callee);
    for (const lost of [peer, called]) {
      if (lost?.connection === undefined) lost?.dialler?.again();
    }
  }

  #enqueue(nodeId: string, frame: PeerFrame): Peer | undefined {
    const peer = this.#peers.get(nodeId);
    peer?.queue.push(frame);
    return peer;
  }

  #endWait(): void {
    this.#wait = undefined;
    for (const peer of this.#waiting) this.#pump(peer);
    this.#waiting.clear();
  }

  #pump(peer: Peer | undefined): void {
    const connection = peer?.connection;
    if (peer === undefined || connection === undefined) return;
    while (peer.queue.length > 0 && connection.hasRoom) {
      const frames = peer.queue.take(WRITE_BYTES);
      this.#sentFrames += frames.length;
      this.#sentBytes += connection.send(frames);
    }
  }

  #tick(): void {
    const nowMs = performance.now();
    for (const connection of this.#strangers) {
      if (nowMs - connection.sinceMs > PATIENCE_MS) connection.end();
    }
    for (const { connection } of this.#peers.values()) {
      if (connection === undefined) continue;
      if (nowMs - connection.heardMs > SILENCE_MS) connection.end();
      else if (connection.hasRoom) connection.alive();
    }
  }
}
