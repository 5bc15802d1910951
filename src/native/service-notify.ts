/**
 * Tells systemd how a service is, as sd_notify(3) has it: datagrams to the socket that
 * NOTIFY_SOCKET names. Without that variable nothing is sent, so every role says it always. Bun has
 * no datagram sockets of this family: three calls of libc do.
 */
import { dlopen } from "bun:ffi";

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
/** No signal when nobody listens, and no waiting when systemd does not read. */
const MSG_NOSIGNAL_DONTWAIT = 0x4040;
/** sockaddr_un(7): the family, then up to 108 bytes of a path. */
const PATH_BYTES_MAX = 108;
/** Of the time that systemd waits for a sign of life: it wants one in half of it. */
const SIGNS_PER_WATCH = 3;
const MICROS_PER_MS = 1000;

type Environment = Readonly<Record<string, string | undefined>>;

export class ServiceNotify {
  readonly #socket: string | undefined;
  /** Milliseconds between two signs of life; undefined: systemd does not watch this process. */
  readonly signEveryMs: number | undefined;
  #timer: ReturnType<typeof setInterval> | undefined;

  /** @param environment NOTIFY_SOCKET, WATCHDOG_USEC (µs) and WATCHDOG_PID, as systemd sets them */
  constructor(environment: Environment = process.env, pid = process.pid) {
    this.#socket = environment["NOTIFY_SOCKET"] || undefined;
    const watchMicros = Number(environment["WATCHDOG_USEC"] ?? 0);
    const isOurs = [undefined, String(pid)].includes(environment["WATCHDOG_PID"]);
    const isWatched = isOurs && watchMicros > 0 && this.#socket !== undefined;
    this.signEveryMs = isWatched ? watchMicros / MICROS_PER_MS / SIGNS_PER_WATCH : undefined;
  }

  /**
   * The service does its work from now on.
   * @param alive a sign of life is given each time that it resolves; one that never resolves, or
   *   rejects, gives none, and systemd ends the process
   */
  ready(status: string, alive: () => Promise<void>): void {
    this.#send(`READY=1\nSTATUS=${status}`);
    if (this.signEveryMs === undefined) return;
    let isAsked = false;
    this.#timer = setInterval(() => {
      if (isAsked) return;
      isAsked = true;
      const answered = (): void => {
        isAsked = false;
        this.#send("WATCHDOG=1");
      };
      alive().then(answered, () => undefined);
    }, this.signEveryMs);
    this.#timer.unref();
  }

  stopping(): void {
    clearInterval(this.#timer);
    this.#send("STOPPING=1");
  }

  #send(words: string): void {
    if (this.#socket === undefined) return;
    // "@name" is one of the abstract namespace: a zero byte, then the name.
    const path = Buffer.from(this.#socket.replace(/^@/, "\0"));
    if (path.length >= PATH_BYTES_MAX) return;
    const address = new Uint8Array([AF_UNIX, 0, ...path]);
    const message = Buffer.from(words);
    const { socket, sendto, close } = libc();
    const descriptor = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0) return;
    const { length } = message;
    sendto(descriptor, message, length, MSG_NOSIGNAL_DONTWAIT, address, address.length);
    close(descriptor);
  }
}

let calls: ReturnType<typeof openLibc> | undefined;

function libc() {
  calls ??= openLibc();
  return calls;
}

function openLibc() {
  return dlopen("libc.so.6", {
    socket: { args: ["i32", "i32", "i32"], returns: "i32" },
    sendto: { args: ["i32", "ptr", "u64", "i32", "ptr", "u32"], returns: "i64" },
    close: { args: ["i32"], returns: "i32" },
  }).symbols;
}
