/**
 * Calls one peer until it answers, and again when it is lost: at first soon, then with pauses that
 * double up to five seconds, each a little different so that a restart does not bring all at once.
 * Where nothing listens for long, the pauses grow on: who starts to listen calls us itself.
 */
import { connect, type Socket } from "node:net";
import type { PeerPassage } from "./peer-passage.ts";

const FIRST_MS = 100;
const LAST_MS = 5000;
const CALL_MS = 3000;
const REFUSED_LAST_MS = 30_000;
/** A pause is at most this part of the time in which only refusals came. */
const REFUSED_PART = 1 / 3;

export type Callee = {
  readonly nodeId: string;
  /** Its static key, from its certificate. */
  readonly key: Uint8Array;
  readonly host: string;
  readonly port: number;
};

export type DiallerOptions = {
  /** Before the first call, and the shortest pause after a loss. */
  readonly firstMs: number;
  /** False while the peer is connected, by whoever called. */
  readonly isWanted: () => boolean;
  readonly passage?: PeerPassage | undefined;
};

/** The longest pause, in ms, where calls have been refused, one after the other, for so many ms. */
export function pauseLimitMs(refusedMs: number): number {
  return Math.min(REFUSED_LAST_MS, Math.max(LAST_MS, refusedMs * REFUSED_PART));
}

export class PeerDialler {
  /** Of the first refusal that nothing but refusals followed, on the monotonic clock. */
  #refusedSinceMs: number | undefined;
  #pauseMs: number;
  #waiting: ReturnType<typeof setTimeout> | undefined;
  #calling: Socket | undefined;
  #isClosed = false;

  constructor(
    readonly callee: Callee,
    readonly onConnected: (socket: Socket, key: Uint8Array) => void,
    readonly options: DiallerOptions,
  ) {
    this.#pauseMs = Math.max(FIRST_MS, options.firstMs);
    if (options.firstMs === 0) void this.#begin();
    else this.again();
  }

  /** The handshake is confirmed: the next loss is answered at once. */
  reached(): void {
    this.#pauseMs = Math.max(FIRST_MS, this.options.firstMs);
  }

  /** The connection is gone. */
  again(): void {
    if (this.#isClosed || this.#waiting !== undefined || this.#calling !== undefined) return;
    const pauseMs = this.#pauseMs * (0.75 + Math.random() / 2);
    const limitMs = pauseLimitMs(performance.now() - (this.#refusedSinceMs ?? performance.now()));
    this.#pauseMs = Math.min(Math.max(limitMs, this.options.firstMs), 2 * this.#pauseMs);
    this.#waiting = setTimeout(() => {
      this.#waiting = undefined;
      void this.#begin();
    }, pauseMs);
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#waiting);
    this.#calling?.destroy();
  }

  /** Asks for a way out first, where one is needed. */
  async #begin(): Promise<void> {
    const { callee } = this;
    const { passage } = this.options;
    if (!this.options.isWanted()) return;
    if (passage === undefined) return this.#call(undefined);
    const localPort = await passage.open(callee.host, callee.port);
    if (this.#isClosed || localPort === undefined) {
      if (localPort !== undefined) passage.close(localPort);
      return this.again();
    }
    this.#call(localPort);
  }

  #call(localPort: number | undefined): void {
    const { host, port, key } = this.callee;
    const socket = connect({ host, port, ...(localPort === undefined ? {} : { localPort }) });
    this.#calling = socket;
    let isConnected = false;
    socket.setTimeout(CALL_MS, () => socket.destroy());
    socket.once("connect", () => {
      isConnected = true;
      this.#calling = undefined;
      this.#refusedSinceMs = undefined;
      socket.setTimeout(0);
      this.onConnected(socket, key);
    });
    let isRefused = false;
    socket.on("error", (error) => {
      isRefused = "code" in error && error.code === "ECONNREFUSED";
    });
    socket.once("close", () => {
      if (localPort !== undefined) this.options.passage?.close(localPort);
      if (isConnected) return;
      this.#calling = undefined;
      this.#refusedSinceMs = isRefused ? (this.#refusedSinceMs ?? performance.now()) : undefined;
      this.again();
    });
  }
}
