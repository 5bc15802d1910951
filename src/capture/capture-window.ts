/**
 * A window that slides over a capture: whole records lie in it as they were read, so that packets
 * are parsed and matched without being copied. Memory is fixed: WINDOW_BYTES, whatever the size of
 * the capture. Hot path. Offsets are bytes from the window's start, valid until the next fill().
 */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { AbsError, messageOf } from "../errors.ts";

/** Small enough to stay in a core's cache (measured: 4 MiB costs a fifth more a packet). */
export const WINDOW_BYTES = 1 << 20;
/** A pipe that has nothing yet is asked again after this. */
const PIPE_WAIT_MS = 2;

/** Where the bytes of a capture come from. */
export interface CaptureSource {
  /** As given by the user. */
  readonly name: string;
  /** Undefined: not known (a pipe). */
  readonly sizeBytes: number | undefined;
  /** Reads up to `room` bytes into `into` at `at`; 0 at the end. */
  read(into: Uint8Array, at: number, room: number): number;
  close(): void;
}

/** Set-up. Opens a file, or standard input when `name` is "-". */
export function openCapture(name: string): CaptureSource {
  try {
    const descriptor = name === "-" ? 0 : openSync(name, "r");
    const status = fstatSync(descriptor);
    if (status.isDirectory()) throw new Error("it is a directory");
    return {
      name,
      sizeBytes: status.isFile() ? status.size : undefined,
      read: (into, at, room) => readSome(descriptor, into, at, room),
      close: () => {
        if (descriptor !== 0) closeSync(descriptor);
      },
    };
  } catch (error) {
    const message = `${name} cannot be read: ${messageOf(error)}`;
    throw new AbsError("CAPTURE_OPEN", message, "Name a capture file, or - for input.", error);
  }
}

/** Set-up. A capture that is in memory. */
export function captureOf(name: string, bytes: Uint8Array): CaptureSource {
  let done = 0;
  return {
    name,
    sizeBytes: bytes.length,
    read: (into, at, room) => {
      const count = Math.min(room, bytes.length - done);
      into.set(bytes.subarray(done, done + count), at);
      done += count;
      return count;
    },
    close: () => {},
  };
}

/** Set-up, as seen from the hot path: once for each window. */
function readSome(descriptor: number, into: Uint8Array, at: number, room: number): number {
  for (;;) {
    try {
      return readSync(descriptor, into, at, room, null);
    } catch (error) {
      const code = (error as { code?: string }).code;
      if (code === "EOF") return 0;
      if (code !== "EAGAIN" && code !== "EINTR") throw error;
      Bun.sleepSync(PIPE_WAIT_MS);
    }
  }
}

export class CaptureWindow {
  readonly bytes = new Uint8Array(new ArrayBuffer(WINDOW_BYTES));
  readonly memory = new DataView(this.bytes.buffer);
  /** First byte not consumed; beyond `end` while bytes are to be skipped that are not read yet. */
  position = 0;
  /** End of what was read. */
  end = 0;
  /** 1 once the source has no more. */
  finished = 0;
  /** Bytes of the capture before the window's start. */
  base = 0;
  #source: CaptureSource | undefined;

  /** Set-up. Begins with another source. */
  open(source: CaptureSource): void {
    this.#source = source;
    this.position = 0;
    this.end = 0;
    this.finished = 0;
    this.base = 0;
  }

  /** Moves what is not consumed to the front and reads on. Ends with more bytes, or `finished`. */
  fill(): void {
    const source = this.#source;
    if (source === undefined || this.finished === 1) return;
    const consumed = this.position < this.end ? this.position : this.end;
    if (consumed > 0) {
      this.bytes.copyWithin(0, consumed, this.end);
      this.base += consumed;
      this.position -= consumed;
      this.end -= consumed;
    }
    const count = source.read(this.bytes, this.end, WINDOW_BYTES - this.end);
    if (count === 0) this.finished = 1;
    else this.end += count;
  }
}
