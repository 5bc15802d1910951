/**
 * Events as newline-delimited JSON, to standard output or a file. design/agent.md, issue "Every
 * refusal is an event". Control plane: the worker hands over fixed records, the agent makes objects
 * of them.
 *
 * A full disk or a blocked reader loses nothing at once: lines wait in a bounded buffer and are
 * written when writing works again; what does not fit is counted, and the count is itself an event.
 */
import { closeSync, fsyncSync, openSync, writeSync } from "node:fs";
import { AbsError, messageOf } from "../errors.ts";
import { type AbsEvent, type EventOrigin, type EventRecord, EventStamp } from "./event-record.ts";

/** Lines that may wait for a writer that does not take them. */
const WAITING_LINES_MAX = 10_000;
const STANDARD_OUTPUT = 1;

export class EventLog {
  readonly #descriptor: number;
  readonly #owned: boolean;
  readonly #waiting: Uint8Array[] = [];
  readonly #encoder = new TextEncoder();
  readonly #stamp: EventStamp;
  readonly #listeners = new Set<(record: EventRecord) => void>();
  #lost = 0;
  /** Of those lost, how many no `events-lost` has told of. */
  #untold = 0;
  #written = 0;

  /**
   * @param path file to append to; undefined for standard output
   * @throws AbsError EVENTS_UNWRITABLE when the file cannot be opened
   */
  constructor(path: string | undefined, origin: EventOrigin) {
    this.#stamp = new EventStamp(origin);
    if (path === undefined) {
      this.#descriptor = STANDARD_OUTPUT;
      this.#owned = false;
      return;
    }
    try {
      this.#descriptor = openSync(path, "a", 0o640);
      this.#owned = true;
    } catch (cause) {
      throw new AbsError(
        "EVENTS_UNWRITABLE",
        `The event file ${path} cannot be opened: ${messageOf(cause)}.`,
        "Give a file in a folder that exists and is writable: --events FILE.",
        cause,
      );
    }
  }

  get written(): number {
    return this.#written;
  }

  get lost(): number {
    return this.#lost;
  }

  /** Has `listener` told of each record as it is written. Returns what ends that. */
  listen(listener: (record: EventRecord) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Writes one event. */
  write(event: AbsEvent, wall = new Date()): void {
    this.#append(event, wall);
    this.flush();
  }

  /** Tries to write what waits. Called on every event and every tick. */
  flush(): void {
    while (this.#waiting.length > 0) {
      const line = this.#waiting[0] as Uint8Array;
      const taken = this.#writeSome(line);
      if (taken < line.length) {
        if (taken > 0) this.#waiting[0] = line.subarray(taken);
        return;
      }
      this.#waiting.shift();
      this.#written++;
    }
  }

  close(): void {
    this.flush();
    if (!this.#owned) return;
    try {
      fsyncSync(this.#descriptor);
    } catch {
      // A pipe or a device cannot be synced; its reader has the lines already.
    }
    closeSync(this.#descriptor);
  }

  #append(event: AbsEvent, wall: Date): void {
    if (this.#untold > 0 && this.#waiting.length < WAITING_LINES_MAX / 2) {
      const count = this.#untold;
      this.#untold = 0;
      this.#append({ event: "events-lost", count }, wall);
    }
    const record = this.#stamp.record(event, wall);
    if (this.#waiting.length >= WAITING_LINES_MAX) {
      this.#lost++;
      this.#untold++;
    } else this.#waiting.push(this.#encoder.encode(`${JSON.stringify(record)}\n`));
    for (const listener of this.#listeners) listener(record);
  }

  /** Bytes that the descriptor took; 0 when it takes none now. */
  #writeSome(line: Uint8Array): number {
    try {
      return writeSync(this.#descriptor, line);
    } catch {
      return 0; // full disk, closed or blocked reader: the line waits
    }
  }
}
