/**
 * The SSH client of the manager channel. docs/manager-channel.md "Connection". It knows the host
 * key it must meet before it connects, and never learns one: with another it says so loudly and
 * sends nothing. It logs in with its Ed25519 key and offers nothing else.
 */
import { isIP } from "node:net";
import type { Duplex } from "node:stream";
import { Client } from "ssh2";
import { AbsError, messageOf } from "../errors.ts";
import { joinWords } from "./command-words.ts";
import { fingerprintOf, keyOfBlob, privateKeyText } from "./ssh-keys.ts";
import type { ExecResult } from "./ssh-login.ts";
import { ALGORITHMS, SSH_LIMITS, SUBSYSTEM } from "./ssh-settings.ts";

const TIMEOUT_MS = 15_000;
const OUTPUT_BYTES_MAX = 64 * 1024 * 1024;

export type SshClientOptions = {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  /** Seed of the own key. */
  readonly seed: Uint8Array;
  /** `SHA256:…` of the host key that is right. */
  readonly hostFingerprint: string;
  /** Whether another is right as well: by what was said before SSH began, by anybody. */
  readonly vouches?: ((greeting: string, hostPub: Uint8Array) => boolean) | undefined;
  /** Of this machine, if it matters from which. */
  readonly localAddress?: string | undefined;
  readonly timeoutMs?: number;
  /** To call from. */
  readonly localPort?: number | undefined;
};

export class SshClient {
  #onClose: (() => void) | undefined;
  #isClosed = false;

  /** @throws AbsError MANAGER_HOST_KEY, MANAGER_LOGIN_REFUSED, MANAGER_UNREACHABLE */
  static connect(options: SshClientOptions): Promise<SshClient> {
    const client = new Client();
    let met: string | undefined;
    let isRight = false;
    let greeting = "";
    return new Promise((resolve, reject) => {
      client.once("ready", () => resolve(new SshClient(client)));
      client.on("error", (cause) => {
        // Also after it has been settled: a broken connection ends with "close".
        reject(reasonOf(options, isRight ? undefined : met, cause));
      });
      client.once("close", () => {
        reject(reasonOf(options, isRight ? undefined : met, new Error("it hung up")));
      });
      client.once("greeting", (text) => {
        greeting = text;
      });
      client.connect({
        ...{ host: options.host, port: options.port, username: options.user },
        ...(options.localPort === undefined ? {} : { localPort: options.localPort }),
        ...(options.localAddress === undefined ? {} : { localAddress: options.localAddress }),
        privateKey: privateKeyText(options.seed, "abs"),
        authHandler: ["publickey"],
        algorithms: ALGORITHMS,
        ident: "abs",
        readyTimeout: options.timeoutMs ?? TIMEOUT_MS,
        keepaliveInterval: SSH_LIMITS.stallMs / 3,
        keepaliveCountMax: 3,
        hostVerifier: (blob: Buffer): boolean => {
          const publicKey = keyOfBlob(new Uint8Array(blob));
          met = publicKey === undefined ? "no Ed25519 key" : fingerprintOf(publicKey);
          isRight = met === options.hostFingerprint;
          if (!isRight && publicKey !== undefined) {
            isRight = options.vouches?.(greeting, publicKey) === true;
          }
          return isRight;
        },
      });
    });
  }

  private constructor(private readonly client: Client) {
    client.once("close", () => {
      this.#isClosed = true;
      this.#onClose?.();
    });
  }

  /** Of this end, as the connection has it. */
  get localAddress(): string {
    // ssh2 keeps the socket to itself.
    const { _sock: socket } = this.client as unknown as { _sock?: { localAddress?: string } };
    const address = (socket?.localAddress ?? "").replace(/^::ffff:/i, "");
    return isIP(address) === 0 ? "" : address;
  }

  onClose(handler: () => void): void {
    this.#onClose = handler;
    if (this.#isClosed) handler();
  }

  /** @throws AbsError MANAGER_CHANNEL_REFUSED, MANAGER_SILENT */
  subsystem(): Promise<Duplex> {
    return new Promise((resolve, reject) => {
      this.client.subsys(SUBSYSTEM, (cause, channel) => {
        if (cause === undefined) resolve(channel);
        else this.#refuse(cause, reject);
      });
    });
  }

  /** @throws AbsError MANAGER_CHANNEL_REFUSED, MANAGER_SILENT */
  execute(words: readonly string[], input?: Uint8Array): Promise<ExecResult> {
    return new Promise((resolve, reject) => {
      this.client.exec(joinWords(words), (cause, channel) => {
        if (cause !== undefined) return this.#refuse(cause, reject);
        const [output, complaint]: [Buffer[], Buffer[]] = [[], []];
        let sizeBytes = 0;
        let code: number | undefined;
        const keepIn = (list: Buffer[]) => (chunk: Buffer) => {
          sizeBytes += chunk.length;
          if (sizeBytes <= OUTPUT_BYTES_MAX) list.push(chunk);
        };
        channel.on("data", keepIn(output));
        channel.stderr.on("data", keepIn(complaint));
        channel.on("exit", (exitCode: number | null) => {
          code = exitCode ?? 1;
        });
        channel.on("close", () => {
          if (code === undefined) return reject(endedConnection());
          resolve({ code, output: textOf(output), complaint: textOf(complaint) });
        });
        channel.end(input ?? new Uint8Array(0));
      });
    });
  }

  /** ssh2 says the same of a channel refused and of a connection that ends: it closes next. */
  #refuse(cause: Error, reject: (error: AbsError) => void): void {
    setImmediate(() => reject(this.#isClosed ? endedConnection(cause) : refusedChannel(cause)));
  }

  close(): void {
    this.client.end();
  }
}

function textOf(parts: readonly Buffer[]): string {
  return Buffer.concat(parts).toString();
}

function endedConnection(cause?: Error): AbsError {
  const what = "The connection to the manager ended before its answer was there.";
  const remedy = "Look whether `abs manager serve` runs and what it did of this, and ask again.";
  return new AbsError("MANAGER_SILENT", what, remedy, cause);
}

function refusedChannel(cause: Error): AbsError {
  const what = `The manager refuses the channel: ${messageOf(cause)}.`;
  return new AbsError("MANAGER_CHANNEL_REFUSED", what, "This key may not do that.", cause);
}

/** @param met the host key, where it is a wrong one */
function reasonOf(options: SshClientOptions, met: string | undefined, cause: Error): AbsError {
  const place = `${options.host} port ${options.port}`;
  if (met !== undefined) {
    return new AbsError(
      "MANAGER_HOST_KEY",
      `${place} IS NOT THE MANAGER: its host key is ${met}, and must be ` +
        `${options.hostFingerprint}. Nothing was sent to it.`,
      "Somebody may be in between. Ask the manager's administrator for the right fingerprint " +
        "(`abs manager status`), and invite anew if the manager was set up again.",
      cause,
    );
  }
  if ((cause as { level?: string }).level === "client-authentication") {
    return new AbsError(
      "MANAGER_LOGIN_REFUSED",
      `The manager at ${place} does not let this key in as ${options.user}.`,
      "It may be revoked, forged, or of another manager: ask the administrator.",
      cause,
    );
  }
  return new AbsError(
    "MANAGER_UNREACHABLE",
    `The manager at ${place} cannot be reached: ${messageOf(cause)}.`,
    "Check the address, the network, and that `abs manager serve` runs.",
    cause,
  );
}
