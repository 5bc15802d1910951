/**
 * A socket with the link on it: bytes in, frames out, and the limits of one peer. A peer that sends
 * faster than its limits is not read for a while. peer-channel.ts decides what a connection is for.
 */
import type { Socket } from "node:net";
import { PEER_FLAG, type PeerFrame } from "../wire/peer-frame.ts";
import { type LinkFault, type LinkOptions, PeerLink } from "./peer-link.ts";
import { RateLimit } from "./rate-limit.ts";

const BYTES = { perSecond: 64 * 1024 * 1024, burst: 16 * 1024 * 1024 };
const FRAMES = { perSecond: 20_000, burst: 20_000 };
const NOTHING = new Uint8Array(0);

export type ConnectionEvents = {
  readonly onConfirmed: (peer: string) => void;
  readonly onFrame: (peer: string, frame: PeerFrame) => void;
  readonly onDrain: (peer: string) => void;
  /** Once, however it ended. */
  readonly onEnd: (why: string) => void;
};

export class PeerConnection {
  readonly sinceMs = performance.now();
  heardMs = performance.now();
  /** Whom this side called; undefined: it was called. */
  readonly callee: string | undefined;
  readonly remote: string;
  readonly #link: PeerLink;
  readonly #realm: Uint8Array;
  readonly #bytes = new RateLimit(BYTES, performance.now());
  readonly #frames = new RateLimit(FRAMES, performance.now());
  #isConfirmed = false;
  #isOver = false;
  #why = "closed";

  constructor(
    readonly socket: Socket,
    options: LinkOptions,
    readonly events: ConnectionEvents,
  ) {
    this.callee = options.callee?.nodeId;
    this.remote = socket.remoteAddress ?? "?";
    this.#link = new PeerLink(options);
    this.#realm = options.realm;
    socket.setNoDelay(true);
    socket.on("data", (chunk: Uint8Array) => this.#receive(chunk));
    socket.on("drain", () => {
      if (this.#link.peer !== undefined && this.#isConfirmed) events.onDrain(this.#link.peer);
    });
    socket.on("error", (error) => {
      this.#why = error.message;
    });
    socket.on("close", () => this.#over());
    if (this.#link.fault === undefined) this.#answer();
    else this.end();
  }

  get peer(): string | undefined {
    return this.#link.peer;
  }

  get fault(): LinkFault | undefined {
    return this.#link.fault;
  }

  get hasRoom(): boolean {
    const { destroyed, writableNeedDrain } = this.socket;
    return !destroyed && this.#link.isOpen && !writableNeedDrain;
  }

  /** In one write; bytes on the wire. */
  send(frames: readonly PeerFrame[]): number {
    const sealed = this.#link.seal(frames);
    this.socket.write(sealed);
    if (this.#link.fault !== undefined) this.end();
    return sealed.length;
  }

  alive(): void {
    this.send([{ flag: PEER_FLAG.alive, type: 0, body: NOTHING }]);
  }

  end(): void {
    this.socket.destroy();
  }

  #receive(chunk: Uint8Array): void {
    if (this.#isOver) return;
    const nowMs = performance.now();
    this.heardMs = nowMs;
    const frames = this.#link.receive(chunk);
    this.#answer();
    const { fault, peer } = this.#link;
    if (fault !== undefined) {
      this.#why = this.#describe(fault);
      if (this.#isConfirmed) return this.end();
      // What was answered still goes out; who does not take it is a stranger, and has little time.
      this.socket.destroySoon();
      return;
    }
    if (peer === undefined || !this.#link.isConfirmed) return;
    if (!this.#isConfirmed) {
      this.#isConfirmed = true;
      this.events.onConfirmed(peer);
    }
    this.#rest(this.#bytes.take(chunk.length, nowMs), this.#frames.take(frames.length, nowMs));
    for (const frame of frames) this.events.onFrame(peer, frame);
  }

  /** For people: a peer that cannot be understood has another key, or is of another chain. */
  #describe(fault: LinkFault): string {
    const { otherRealm } = this.#link;
    const own = Buffer.from(this.#realm).toString("hex");
    if (fault === "realm" && otherRealm !== undefined) {
      return `it is of chain ${Buffer.from(otherRealm).toString("hex")}, this node of ${own}`;
    }
    const isCaller = fault === "handshake" && this.callee === undefined;
    return isCaller ? `handshake: it is no peer of a node of chain ${own}` : fault;
  }

  #rest(...pausesMs: readonly number[]): void {
    const pauseMs = Math.max(...pausesMs);
    if (pauseMs === 0) return;
    this.socket.pause();
    setTimeout(() => this.socket.resume(), pauseMs);
  }

  #answer(): void {
    const bytes = this.#link.takeAnswer();
    if (bytes.length > 0) this.socket.write(bytes);
  }

  #over(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.events.onEnd(this.#why);
  }
}
