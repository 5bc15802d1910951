/**
 * The way to one switch that speaks OpenFlow: calls it, again and again with growing pauses, or
 * waits for its call; TCP, TLS with certificates on both sides, or its UNIX socket. One session at
 * a time: who calls while there is one is hung up on.
 */
import { readFileSync } from "node:fs";
import { createServer, connect as dial, type Server, type Socket } from "node:net";
import { connect as dialTls, createServer as serveTls } from "node:tls";
import { AbsError, messageOf } from "../errors.ts";
import type { CookieRange, DropRule, FlowTable, InstalledRule } from "./flow-table.ts";
import { OpenFlowSession } from "./openflow-session.ts";
import type { SwitchPlace } from "./switch-place.ts";

const TICK_MS = 1_000;
const PAUSE_MS_MIN = 200;
const PAUSE_MS_MAX = 15_000;
const GREETING_MS = 5_000;
/** A switch that does not read what it asks for is hung up on. */
const UNREAD_BYTES_MAX = 8 * 1024 * 1024;

/** Files on the manager's machine: our certificate and key, and who signs the switch's. */
export type TlsFiles = {
  readonly certificate: string;
  readonly key: string;
  readonly ca: string;
};

export type LinkOptions = {
  readonly place: Exclude<SwitchPlace, { kind: "rest" }>;
  readonly tls: TlsFiles | undefined;
  readonly datapathId: bigint | undefined;
  readonly cookies: CookieRange;
  readonly ready: (datapathId: bigint) => void;
  /** Told once a connection that was ready, and once for all that come to nothing after it. */
  readonly lost: (why: string) => void;
  readonly removed: () => void;
};

export class OpenFlowLink implements FlowTable {
  #session: OpenFlowSession | undefined;
  #socket: Socket | undefined;
  #server: Server | undefined;
  #timer: Timer | undefined;
  #ticker: Timer | undefined;
  #pauseMs = PAUSE_MS_MIN;
  #isClosed = false;
  #isTold = false;

  constructor(private readonly options: LinkOptions) {
    this.#ticker = setInterval(() => this.#session?.tick(), TICK_MS);
    this.#open();
  }

  close(): void {
    this.#isClosed = true;
    clearInterval(this.#ticker);
    clearTimeout(this.#timer);
    this.#session?.end("the manager stops");
    this.#socket?.destroy();
    this.#server?.close();
  }

  get isReady(): boolean {
    return this.#session?.isReady ?? false;
  }

  installed(): Promise<readonly InstalledRule[]> {
    return this.#table().installed();
  }

  change(adds: readonly DropRule[], removes: readonly InstalledRule[]): Promise<void> {
    return this.#table().change(adds, removes);
  }

  #table(): FlowTable {
    if (this.#session?.isReady) return this.#session;
    const what = "The switch is lost: it is not connected.";
    throw new AbsError("SWITCH_LOST", what, "It is called again.");
  }

  #open(): void {
    if (this.#isClosed) return;
    try {
      if (this.options.place.kind === "wait") this.#wait();
      else this.#call();
    } catch (thrown) {
      // A certificate that cannot be read, say.
      this.#failed(messageOf(thrown));
    }
  }

  #call(): void {
    const { place } = this.options;
    if (place.kind === "wait") return;
    const socket =
      place.kind === "path"
        ? dial({ path: place.path })
        : place.tls
          ? dialTls({ host: place.host, port: place.port, ...this.#tlsOptions() })
          : dial({ host: place.host, port: place.port });
    this.#take(socket, place.kind === "call" && place.tls ? "secureConnect" : "connect");
  }

  #wait(): void {
    const { place } = this.options;
    if (place.kind !== "wait") return;
    const taken = (socket: Socket): void => {
      if (this.#socket !== undefined) socket.destroy();
      else this.#take(socket, undefined);
    };
    const server = place.tls
      ? serveTls({ ...this.#tlsOptions(), requestCert: true }, taken)
      : createServer(taken);
    this.#server = server;
    server.on("error", (thrown) => {
      server.close();
      this.#failed(messageOf(thrown));
    });
    server.listen(place.port, place.host);
  }

  /** Names in certificates of switches are seldom those of hosts: who signed it counts. */
  #tlsOptions() {
    const { tls } = this.options;
    if (tls === undefined) {
      const remedy = "Give --certificate, --key and --ca.";
      throw new AbsError("SWITCH_TLS", "TLS needs certificates.", remedy);
    }
    return {
      ...{ cert: readFileSync(tls.certificate), key: readFileSync(tls.key) },
      ...{ ca: readFileSync(tls.ca), rejectUnauthorized: true },
      checkServerIdentity: () => undefined,
    };
  }

  /** @param opened the event by which the connection is there; undefined: it is */
  #take(socket: Socket, opened: "connect" | "secureConnect" | undefined): void {
    this.#socket = socket;
    let why = "it hung up";
    const greeting = setTimeout(() => {
      if (!this.isReady) socket.destroy(new Error("it does not answer"));
    }, GREETING_MS);
    const begin = (): void => {
      socket.setNoDelay(true);
      this.#session = this.#begin(socket);
    };
    socket.on("data", (chunk: Buffer) => this.#session?.take(chunk));
    socket.on("error", (thrown) => {
      why = messageOf(thrown);
    });
    socket.on("close", () => {
      clearTimeout(greeting);
      this.#session?.end(why);
      this.#session = undefined;
      this.#socket = undefined;
      this.#failed(why);
    });
    if (opened === undefined) begin();
    else socket.once(opened, begin);
  }

  #begin(socket: Socket): OpenFlowSession {
    const { cookies, datapathId, ready, removed } = this.options;
    return new OpenFlowSession(cookies, datapathId, {
      send: (bytes) => {
        if (socket.writableLength <= UNREAD_BYTES_MAX) socket.write(bytes);
        else socket.destroy(new Error("it does not read"));
      },
      ended: (why) => {
        socket.destroy(new Error(why));
      },
      ready: (id) => {
        this.#pauseMs = PAUSE_MS_MIN;
        this.#isTold = false;
        ready(id);
      },
      removed,
    });
  }

  #failed(why: string): void {
    if (this.#isClosed) return;
    if (!this.#isTold) {
      this.#isTold = true;
      this.options.lost(why);
    }
    const isListening = this.#server?.listening ?? false;
    if (isListening) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#open(), this.#pauseMs);
    this.#pauseMs = Math.min(PAUSE_MS_MAX, 2 * this.#pauseMs);
  }
}
