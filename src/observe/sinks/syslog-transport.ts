/**
 * Syslog over TCP (RFC 6587), TLS (RFC 5425) and UDP (RFC 5426). None of them acknowledges: what
 * was written counts after SETTLE_MS, if the connection still stands; when it ends before, it is
 * sent again over the next one.
 */
import { createSocket, type Socket as DatagramSocket } from "node:dgram";
import { createConnection, isIP, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { messageOf } from "../../errors.ts";
import { framed, type SyslogSource, syslogMessage } from "./syslog-message.ts";
import {
  type Delivery,
  down,
  rejected,
  type SinkItem,
  TAKEN,
  type Transport,
} from "./transport.ts";

const SETTLE_MS = 3_000;
const CONNECT_MS = 5_000;
const WRITE_MS = 10_000;
const HEARD_BYTES_MAX = 16_384;
/** An IPv4 datagram's payload (RFC 5426 §3.2). */
const DATAGRAM_BYTES_MAX = 65_507;

export type SyslogPlace = {
  readonly host: string;
  readonly port: number;
  /** PEM certificates that are trusted instead of the system's. */
  readonly ca?: string;
};

export class SyslogStream implements Transport {
  readonly settleMs = SETTLE_MS;
  readonly batchMax = 200;
  onLost: (why: string) => void = () => {};
  #socket: Socket | undefined;

  constructor(
    private readonly place: SyslogPlace,
    private readonly source: SyslogSource,
    private readonly isTls: boolean,
  ) {}

  async send(items: readonly SinkItem[]): Promise<Delivery> {
    const frames = items.map(({ record, text }) => {
      return framed(syslogMessage(record, text, this.source));
    });
    try {
      const socket = this.#socket ?? (await this.#connect());
      await this.#write(socket, Buffer.concat(frames));
      return TAKEN;
    } catch (thrown) {
      this.#socket?.destroy();
      return down(messageOf(thrown));
    }
  }

  close(): void {
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.end();
  }

  #connect(): Promise<Socket> {
    const { host, port, ca } = this.place;
    const name = isIP(host) === 0 ? { servername: host } : {};
    const trust = { ...(ca === undefined ? {} : { ca }), ...name };
    const socket = this.isTls
      ? connectTls({ host, port, ...trust, minVersion: "TLSv1.2" })
      : createConnection({ host, port });
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => socket.destroy(new Error("no connection in time")),
        CONNECT_MS,
      );
      let why = "the connection ended";
      socket.on("error", (error) => {
        why = error.message;
      });
      socket.once(this.isTls ? "secureConnect" : "connect", () => {
        clearTimeout(timer);
        this.#socket = socket;
        socket.setKeepAlive(true, CONNECT_MS);
        resolve(socket);
      });
      // Syslog says nothing back; whoever talks is cut off. Read it must be: so an end is heard of.
      let heardBytes = 0;
      socket.on("data", (bytes) => {
        heardBytes += bytes.length;
        if (heardBytes > HEARD_BYTES_MAX) socket.destroy(new Error("it talks"));
      });
      socket.on("end", () => socket.destroy());
      socket.on("close", () => {
        clearTimeout(timer);
        reject(new Error(why));
        if (this.#socket !== socket) return;
        this.#socket = undefined;
        this.onLost(why);
      });
    });
  }

  #write(socket: Socket, bytes: Buffer): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        reject(new Error(`nothing was taken for ${WRITE_MS / 1000} s`));
      }, WRITE_MS);
      const gone = () => reject(new Error("the connection ended"));
      socket.once("close", gone);
      socket.write(bytes, (error) => {
        clearTimeout(timer);
        socket.off("close", gone);
        if (error) reject(error);
        else resolve();
      });
    });
  }
}

export class SyslogDatagrams implements Transport {
  readonly settleMs = SETTLE_MS;
  readonly batchMax = 50;
  onLost: (why: string) => void = () => {};
  #socket: DatagramSocket | undefined;

  constructor(
    private readonly place: SyslogPlace,
    private readonly source: SyslogSource,
  ) {}

  async send(items: readonly SinkItem[]): Promise<Delivery> {
    const messages = items.map(({ record, text }) => {
      return Buffer.from(syslogMessage(record, text, this.source));
    });
    const long = messages.find(({ length }) => length > DATAGRAM_BYTES_MAX);
    if (long !== undefined) return rejected(`${long.length} bytes do not fit a datagram`);
    try {
      const socket = this.#socket ?? (await this.#connect());
      for (const message of messages) await sendDatagram(socket, message);
      return TAKEN;
    } catch (thrown) {
      this.#drop();
      return down(messageOf(thrown));
    }
  }

  close(): void {
    this.#drop();
  }

  #drop(): void {
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.close();
  }

  /** Connected, so that a refusal by ICMP is heard. */
  #connect(): Promise<DatagramSocket> {
    const { host, port } = this.place;
    const socket = createSocket({ type: host.includes(":") ? "udp6" : "udp4" });
    return new Promise((resolve, reject) => {
      socket.on("error", (error) => {
        reject(error);
        if (this.#socket !== socket) return;
        this.#drop();
        this.onLost(error.message);
      });
      socket.connect(port, host, () => {
        this.#socket = socket;
        resolve(socket);
      });
    });
  }
}

function sendDatagram(socket: DatagramSocket, message: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.send(message, (error) => (error ? reject(error) : resolve()));
  });
}
