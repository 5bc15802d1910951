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
  /** `SHA256:…` of the one host key that is right. */
  readonly hostFingerprint: string;
  readonly timeoutMs?: number;
};

export class SshClient {
  #onClose: (() => void) | undefined;
  #isClosed = false;

  /** @throws AbsError MANAGER_HOST_KEY, MANAGER_LOGIN_REFUSED, MANAGER_UNREACHABLE */
  static connect(options: SshClientOptions): Promise<SshClient> {
    const client = new Client();
    let met: string | undefined;
    return new Promise((resolve, reject) => {
      client.once("ready", () => resolve(new SshClient(client)));
      client.on("error", (cause) => {
        // Also after it has been settled: a broken connection ends with "close".
        reject(reasonOf(options, met, cause));
      });
      client.once("close", () => reject(reasonOf(options, met, new Error("it hung up"))));
      client.connect({
        ...{ host: options.host, port: options.port, username: options.user },
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
          return met === options.hostFingerprint;
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

  /** @throws AbsError MANAGER_CHANNEL_REFUSED */
  subsystem(): Promise<Duplex> {
    return new Promise((resolve, reject) => {
      this.client.subsys(SUBSYSTEM, (cause, channel) => {
        if (cause === undefined) resolve(channel);
        else reject(refusedChannel(cause));
      });
    });
  }

  /** @throws AbsError MANAGER_CHANNEL_REFUSED */
  execute(words: readonly string[], input?: Uint8Array): Promise<ExecResult> {
    return new Promise((resolve, reject) => {
      this.client.exec(joinWords(words), (cause, channel) => {
        if (cause !== undefined) return reject(refusedChannel(cause));
        const [output, complaint]: [Buffer[], Buffer[]] = [[], []];
        let sizeBytes = 0;
        let code = 1;
        const keepIn = (list: Buffer[]) => (chunk: Buffer) => {
          sizeBytes += chunk.length;
          if (sizeBytes <= OUTPUT_BYTES_MAX) list.push(chunk);
        };
        channel.on("data", keepIn(output));
        channel.stderr.on("data", keepIn(complaint));
        channel.on("exit", (exitCode: number | null) => {
          code = exitCode ?? 1;
        });
        channel.on("close", () =>
          resolve({ code, output: textOf(output), complaint: textOf(complaint) }),
        );
        channel.end(input ?? new Uint8Array(0));
      });
    });
  }

  close(): void {
    this.client.end();
  }
}

function textOf(parts: readonly Buffer[]): string {
  return Buffer.concat(parts).toString();
}

function refusedChannel(cause: Error): AbsError {
  const what = `The manager refuses the channel: ${messageOf(cause)}.`;
  return new AbsError("MANAGER_CHANNEL_REFUSED", what, "This key may not do that.", cause);
}

function reasonOf(options: SshClientOptions, met: string | undefined, cause: Error): AbsError {
  const place = `${options.host} port ${options.port}`;
  if (met !== undefined && met !== options.hostFingerprint) {
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
