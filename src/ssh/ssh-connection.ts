/**
 * One connection of the SSH server: log-in by key, channels as far as its key goes, and limits. It
 * listens beside ssh2 on the socket: ssh2 answers whatever it is asked without looking whether the
 * answers are taken, and keeps what is sent past a window. docs/manager-channel.md "Limits".
 */
import type { Socket } from "node:net";
import type { AuthContext, Connection, PublicKeyAuthContext, ServerChannel, Session } from "ssh2";
import { messageOf } from "../errors.ts";
import { parseWords } from "./command-words.ts";
import { ed25519Verify } from "./ed25519.ts";
import { fingerprintOf, keyOfBlob } from "./ssh-keys.ts";
import type { ExecCall, ExecResult, SshHandlers, SshLogin } from "./ssh-login.ts";
import { type SshLimits, SUBSYSTEM } from "./ssh-settings.ts";

const HOUR_MS = 3_600_000;
const USER_CHARACTERS_MAX = 32;
const EXIT_USAGE = 2;

export class SshConnection<P> {
  login: SshLogin<P> | undefined;
  readonly address: string;
  private readonly channels = new Set<ServerChannel>();
  private deadline: Timer | undefined;
  private attempts = 0;
  private sessions = 0;
  private rekeys = 0;
  private rekeysFromMs = 0;

  constructor(
    readonly socket: Socket,
    private readonly handlers: SshHandlers<P>,
    private readonly limits: SshLimits,
    private readonly server: {
      readonly mayLogIn: (login: SshLogin<P>) => boolean;
      readonly loggedIn: (login: SshLogin<P>) => void;
    },
  ) {
    this.address = socket.remoteAddress ?? "";
    socket.on("error", () => {}); // "close" follows
    socket.once("close", () => clearTimeout(this.deadline));
  }

  /** From now on it has so long to log in. Called once ssh2 listens, so that it sees data first. */
  watch(): void {
    this.end(this.limits.loginMs, "no log-in in time");
    this.socket.on("data", () => this.judge());
  }

  /** The connection that ssh2 made of the socket. */
  greet(client: Connection): void {
    client.on("error", (error) => this.cut(messageOf(error)));
    client.on("authentication", (context) => this.authenticate(context));
    client.on("session", (accept, reject) => this.openSession(accept, reject));
    client.on("rekey", () => this.countRekey());
    const renewal = setInterval(() => client.rekey(), this.limits.rekeyMs);
    this.socket.once("close", () => clearInterval(renewal));
  }

  cut(why: string): void {
    if (this.socket.destroyed) return;
    this.handlers.refused({
      address: this.address,
      why,
      ...(this.login === undefined ? {} : { user: this.login.name }),
    });
    this.socket.destroy();
  }

  /** After every piece that came: has it asked for more than it takes, or sent more than it may? */
  private judge(): void {
    const { limits, socket } = this;
    if (this.login === undefined && socket.bytesRead > limits.loginBytesMax) {
      return this.cut("too much before log-in");
    }
    if (socket.writableLength > limits.waitingBytesMax) return this.cut("it reads too slowly");
    for (const channel of this.channels) {
      if (channel.readableLength > limits.waitingBytesMax) return this.cut("it sends too much");
    }
  }

  private end(afterMs: number, why: string): void {
    clearTimeout(this.deadline);
    this.deadline = setTimeout(() => this.cut(why), afterMs);
  }

  private authenticate(context: AuthContext): void {
    if (++this.attempts > this.limits.loginAttemptsMax) return this.cut("too many log-in attempts");
    if (context.method !== "publickey") return context.reject(["publickey"]);
    const publicKey = keyOfBlob(new Uint8Array(context.key.data));
    const login = publicKey && this.handlers.find(context.username, publicKey);
    if (publicKey === undefined || login === undefined) {
      this.refuse(context, publicKey);
      return;
    }
    // Without a signature it asks whether the key would do: accept() says so, and no more.
    if (context.signature === undefined) return context.accept();
    if (!isSignedBy(context, publicKey)) {
      this.refuse(context, publicKey);
      return;
    }
    if (!this.server.mayLogIn(login)) return this.cut("too many log-ins of one key");
    this.login = login;
    this.end(this.limits.idleMs, "no channel in time");
    this.server.loggedIn(login);
    context.accept();
  }

  private refuse(context: AuthContext, publicKey: Uint8Array | undefined): void {
    const user = context.username.replace(/[^\x20-\x7e]/g, "?").slice(0, USER_CHARACTERS_MAX);
    const fingerprint = publicKey && fingerprintOf(publicKey);
    this.handlers.refused({
      ...{ address: this.address, why: "no such key", user },
      ...(fingerprint === undefined ? {} : { fingerprint }),
    });
    context.reject(["publickey"]);
  }

  private openSession(accept: () => Session, reject: () => void): void {
    if (this.sessions >= this.limits.sessionsMax) return reject();
    const session = accept();
    this.sessions++;
    session.once("close", () => this.sessions--);
    // pty, shell, env, x11 and the rest have no listener: ssh2 refuses them.
    if (this.login?.grants === "exec") {
      session.on("exec", (take, _, { command }) => this.execute(take, command));
    } else {
      session.on("subsystem", (take, refuse, { name }) => {
        if (name !== SUBSYSTEM || this.channels.size > 0) return refuse?.();
        this.openSubsystem(take());
      });
    }
  }

  private openSubsystem(channel: ServerChannel): void {
    this.keep(channel);
    const { login } = this;
    if (login !== undefined) {
      this.handlers.subsystem({ stream: channel, address: this.address }, login);
    }
  }

  private execute(take: () => ServerChannel, command: string): void {
    const channel = take();
    this.keep(channel);
    const input = () => readAll(channel, this.limits.inputBytesMax);
    void this.answer(command, { address: this.address, input }).then((result) => {
      // What nobody reads is thrown away, so that the channel can end.
      channel.resume();
      this.finish(channel, result);
    });
  }

  private async answer(command: string, call: ExecCall): Promise<ExecResult> {
    const read = parseWords(command);
    const { login } = this;
    if ("complaint" in read || login === undefined) {
      const what = "complaint" in read ? read.complaint : "nobody is logged in";
      return { code: EXIT_USAGE, output: "", complaint: `The command is refused: ${what}.\n` };
    }
    return this.handlers.execute(read.words, login, call).catch((thrown) => {
      return { code: 1, output: "", complaint: `It failed: ${messageOf(thrown)}.\n` };
    });
  }

  private finish(channel: ServerChannel, { code, output, complaint }: ExecResult): void {
    if (!channel.writable) return;
    if (complaint !== "") channel.stderr.write(complaint);
    if (output !== "") channel.write(output);
    channel.exit(code);
    channel.end();
    // Who never takes the answer does not hold it for ever.
    const stall = setTimeout(() => this.cut("it does not read"), this.limits.stallMs);
    channel.once("close", () => clearTimeout(stall));
  }

  /** While a channel is open, no deadline is running. */
  private keep(channel: ServerChannel): void {
    this.channels.add(channel);
    clearTimeout(this.deadline);
    channel.on("error", () => {});
    channel.once("close", () => {
      this.channels.delete(channel);
      if (this.channels.size === 0) this.end(this.limits.idleMs, "no channel in time");
    });
  }

  private countRekey(): void {
    const nowMs = performance.now();
    if (nowMs - this.rekeysFromMs > HOUR_MS) {
      this.rekeysFromMs = nowMs;
      this.rekeys = 0;
    }
    if (++this.rekeys > this.limits.rekeysPerHourMax) this.cut("too many key exchanges");
  }
}

/** Undefined: it is more than that, or the channel broke. */
function readAll(channel: ServerChannel, bytesMax: number): Promise<Uint8Array | undefined> {
  const parts: Uint8Array[] = [];
  let sizeBytes = 0;
  return new Promise((resolve) => {
    channel.on("data", (chunk: Uint8Array) => {
      sizeBytes += chunk.length;
      if (sizeBytes <= bytesMax) parts.push(chunk);
      else resolve(undefined);
    });
    channel.once("end", () => resolve(new Uint8Array(Buffer.concat(parts))));
    channel.once("close", () => resolve(undefined));
  });
}

/** Over the session id, so that a log-in is good for this connection only (RFC 4252 §7). */
function isSignedBy(context: PublicKeyAuthContext, publicKey: Uint8Array): boolean {
  const { blob, signature } = context;
  if (blob === undefined || signature === undefined) return false;
  return ed25519Verify(publicKey, blob, signature);
}
