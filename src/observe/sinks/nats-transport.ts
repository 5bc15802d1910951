/**
 * NATS JetStream: a message a record, on SUBJECT.CLASS.EVENT, acknowledged by the stream. The
 * record's id is the message's, so that the stream leaves out what comes twice within its window.
 * The stream is the administrator's: until one listens to the subject, the sink is down.
 */

import { createConnection } from "node:net";
import { type JetStreamClient, jetstream } from "@nats-io/jetstream";
import { connect, credsAuthenticator, type NatsConnection } from "@nats-io/transport-node";
import { messageOf } from "../../errors.ts";
import { type Delivery, down, type SinkItem, TAKEN, type Transport } from "./transport.ts";

const CONNECT_MS = 5_000;
const ACK_MS = 5_000;
/** Of INFO; servers have some hundreds. */
const GREETING_BYTES_MAX = 65_536;
const STRANGE = "it is no NATS server";

export type NatsPlan = {
  readonly url: string;
  readonly subject: string;
  readonly token?: string;
  /** Text of a .creds file. */
  readonly credentials?: string;
  readonly ca?: string;
};

export class NatsTransport implements Transport {
  readonly settleMs = 0;
  readonly batchMax = 100;
  onLost: (why: string) => void = () => {};
  #connection: NatsConnection | undefined;
  #client: JetStreamClient | undefined;

  constructor(private readonly plan: NatsPlan) {}

  async send(items: readonly SinkItem[]): Promise<Delivery> {
    try {
      const client = this.#client ?? (await this.#connect());
      await Promise.all(
        items.map(({ record, text }) => {
          const subject = `${this.plan.subject}.${record.class}.${record.event}`;
          return client.publish(subject, text, { msgID: record.id, timeout: ACK_MS, retries: 1 });
        }),
      );
      return TAKEN;
    } catch (thrown) {
      this.close();
      return down(messageOf(thrown));
    }
  }

  close(): void {
    const connection = this.#connection;
    this.#connection = undefined;
    this.#client = undefined;
    void connection?.close().catch(() => undefined);
  }

  async #connect(): Promise<JetStreamClient> {
    const { url, token, credentials, ca } = this.plan;
    await hearGreeting(new URL(url));
    const connection = await connect({
      servers: url.replace(/^[a-z]+:\/\//, ""),
      ...{ name: "abs", reconnect: false, timeout: CONNECT_MS, ignoreAuthErrorAbort: false },
      ...(token === undefined ? {} : { token }),
      ...(credentials === undefined
        ? {}
        : { authenticator: credsAuthenticator(new TextEncoder().encode(credentials)) }),
      ...(url.startsWith("tls:") ? { tls: ca === undefined ? {} : { ca } } : {}),
    });
    this.#connection = connection;
    this.#client = jetstream(connection);
    void connection.closed().then(() => {
      if (this.#connection !== connection) return;
      this.close();
      this.onLost("the connection ended");
    });
    return this.#client;
  }
}

/**
 * Whether a NATS server is there: it says INFO first, in one line, before TLS too. The client would
 * gather a line without end, whoever sends it.
 */
function hearGreeting({ hostname, port }: URL): Promise<void> {
  const host = hostname.replace(/^\[|\]$/g, "");
  return new Promise((resolve, reject) => {
    const socket = createConnection({ host, port: Number(port) });
    let heard: Uint8Array = new Uint8Array(0);
    const end = (why?: string) => {
      clearTimeout(timer);
      socket.destroy();
      if (why === undefined) resolve();
      else reject(new Error(why));
    };
    const timer = setTimeout(() => end("it does not answer"), CONNECT_MS);
    socket.on("error", (error) => end(error.message));
    socket.on("close", () => end("the connection ended"));
    socket.on("data", (bytes) => {
      heard = Buffer.concat([heard, Buffer.from(bytes)]);
      const line = Buffer.from(heard).toString("latin1");
      if (line.includes("\r\n")) end(line.startsWith("INFO") ? undefined : STRANGE);
      else if (heard.length > GREETING_BYTES_MAX) end(STRANGE);
    });
  });
}
