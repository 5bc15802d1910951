/** Debian's rsyslog and nats-server, started and killed by tests; and what came out of them. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { TEST_CERTIFICATE, TEST_KEY } from "../manager/tls-fixture.ts";

/** A folder that goes with the test. */
export function makeFolder(): { readonly path: string; [Symbol.dispose](): void } {
  const path = mkdtempSync(join(tmpdir(), "abs-sinks-"));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

export async function until(what: string, isDone: () => boolean, seconds = 20): Promise<void> {
  for (const end = performance.now() + 1000 * seconds; !isDone(); await Bun.sleep(20)) {
    if (performance.now() > end) throw new Error(`not within ${seconds} s: ${what}`);
  }
}

async function untilListening(port: number): Promise<void> {
  for (let i = 0; i < 500; i++) {
    const isUp = await new Promise<boolean>((resolve) => {
      const socket = createConnection(port, "127.0.0.1", () => resolve(true));
      socket.on("connect", () => socket.destroy()).on("error", () => resolve(false));
    });
    if (isUp) return;
    await Bun.sleep(20);
  }
  throw new Error(`nothing listens on port ${port}`);
}

/** A program that may die and come back on the same port. */
abstract class Server {
  #process: ReturnType<typeof Bun.spawn> | undefined;

  constructor(
    readonly folder: string,
    readonly port: number,
  ) {
    mkdirSync(folder, { recursive: true });
  }

  protected abstract command(): string[];

  async start(): Promise<void> {
    const log = join(this.folder, "log");
    const to = { stdin: "ignore", stdout: Bun.file(log), stderr: Bun.file(log) } as const;
    this.#process = Bun.spawn(this.command(), to);
    await untilListening(this.port);
  }

  /** Of a test that failed, too. */
  [Symbol.dispose](): void {
    this.#process?.kill("SIGKILL");
  }

  /** As kill -9 does. */
  async kill(signal: "SIGKILL" | "SIGSTOP" = "SIGKILL"): Promise<void> {
    this.#process?.kill(signal);
    if (signal === "SIGKILL") await this.#process?.exited;
  }
}

export class Rsyslog extends Server {
  constructor(
    folder: string,
    port: number,
    readonly kind: "tcp" | "tls" | "udp",
  ) {
    super(folder, port);
  }

  protected command(): string[] {
    const config = join(this.folder, "rsyslog.conf");
    writeFileSync(join(this.folder, "cert.pem"), TEST_CERTIFICATE);
    writeFileSync(join(this.folder, "key.pem"), TEST_KEY, { mode: 0o600 });
    writeFileSync(config, this.#config());
    return ["rsyslogd", "-n", "-f", config, "-i", join(this.folder, "pid")];
  }

  #config(): string {
    const { folder, port } = this;
    const file = (name: string) => join(folder, name);
    const driver =
      this.kind === "tls"
        ? `defaultNetstreamDriver="gtls" defaultNetstreamDriverCAFile="${file("cert.pem")}"
           defaultNetstreamDriverCertFile="${file("cert.pem")}"
           defaultNetstreamDriverKeyFile="${file("key.pem")}"`
        : "";
    const mode = this.kind === "tls" ? 'streamDriver.mode="1" streamDriver.authMode="anon"' : "";
    const datagrams = `module(load="imudp") input(type="imudp" address="127.0.0.1" port="${port}")`;
    // What udp listens to cannot be asked: it has a TCP port of the same number as well.
    return `global(workDirectory="${folder}" maxMessageSize="64k" ${driver})
      module(load="imtcp" ${mode})
      input(type="imtcp" address="127.0.0.1" port="${port}")
      ${this.kind === "udp" ? datagrams : ""}
      template(name="raw" type="string" string="%rawmsg%\\n")
      *.* action(type="omfile" file="${file("received")}" template="raw")\n`;
  }

  /** Whole messages, as they came. */
  received(): string[] {
    try {
      return readFileSync(join(this.folder, "received"), "utf8").split("\n").slice(0, -1);
    } catch {
      return [];
    }
  }
}

export class NatsServer extends Server {
  protected command(): string[] {
    const store = join(this.folder, "store");
    return ["nats-server", "-js", "-sd", store, "-a", "127.0.0.1", "-p", String(this.port)];
  }

  async addStream(subjects: string[]): Promise<void> {
    const connection = await connect({ servers: `127.0.0.1:${this.port}` });
    const manager = await jetstreamManager(connection);
    await manager.streams.add({ name: "EVENTS", subjects });
    await connection.close();
  }

  /** Subject and text of all messages of the stream. */
  async received(): Promise<{ subject: string; text: string }[]> {
    const connection = await connect({ servers: `127.0.0.1:${this.port}` });
    const { state } = await (await jetstreamManager(connection)).streams.info("EVENTS");
    const consumer = await jetstream(connection).consumers.get("EVENTS");
    const found: { subject: string; text: string }[] = [];
    if (state.messages > 0) {
      const messages = await consumer.fetch({ max_messages: state.messages, expires: 20_000 });
      for await (const message of messages) {
        found.push({ subject: message.subject, text: message.string() });
        if (found.length === state.messages) break;
      }
    }
    await connection.close();
    return found;
  }
}
