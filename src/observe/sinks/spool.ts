/**
 * One lane of a sink's queue on disk: lines wait in segment files until the sink has them.
 * docs/events.md "Sinks". Appends are gathered and written at most every FLUSH_MS. What does not
 * fit the lane's bound, or the disk, is counted and gone: never memory without end. After a crash
 * the lane begins where it was last known to be read, so a line may come twice and none is missed
 * that was written.
 *
 * Files: NUMBER.ndjson, and `cursor`, `{"segment":n,"offset":n}`: the first byte not settled.
 */
import {
  closeSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";

const SEGMENT_BYTES = 1 << 20;
const PENDING_BYTES_MAX = 1 << 20;
const READ_BYTES = 1 << 17;
const FLUSH_MS = 10;
const NEWLINE = 10;

/** A place in the lane: where a segment was read to. */
export type SpoolPosition = { readonly segment: number; readonly offset: number };

export type SpoolBatch = {
  readonly lines: readonly string[];
  /** After the last of them. */
  readonly end: SpoolPosition;
};

export class Spool {
  /** Lines that came when the lane or the disk was full, since the start. */
  lost = 0;
  #pending: Uint8Array[] = [];
  #pendingBytes = 0;
  #timer: Timer | undefined;
  /** Bytes of the segment files by number, oldest first. */
  readonly #segments = new Map<number, number>();
  #writing: { readonly number: number; readonly descriptor: number } | undefined;
  #read: SpoolPosition;
  #settled: SpoolPosition;
  readonly #encoder = new TextEncoder();
  readonly #buffer = new Uint8Array(READ_BYTES);

  /**
   * @param sizeMax bytes that may wait
   * @param onData there is something to read
   */
  constructor(
    readonly folder: string,
    readonly sizeMax: number,
    readonly onData: () => void,
  ) {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const numbers = readdirSync(folder).flatMap((name) => {
      const match = /^(\d{1,15})\.ndjson$/.exec(name);
      return match === null ? [] : [Number(match[1])];
    });
    numbers.sort((left, right) => left - right);
    for (const number of numbers) this.#segments.set(number, statSync(this.#file(number)).size);
    this.#settled = this.#loadCursor(numbers[0] ?? 1);
    this.#read = this.#settled;
    this.#forget();
  }

  /** Bytes that wait, in files and in memory. */
  get sizeBytes(): number {
    let sum = this.#pendingBytes - this.#settled.offset;
    for (const size of this.#segments.values()) sum += size;
    return Math.max(0, sum);
  }

  /** Whether there is something that was not read. */
  get hasUnread(): boolean {
    const { segment, offset } = this.#read;
    const isAfter = ([number, size]: [number, number]) =>
      number > segment ? size > 0 : number === segment && offset < size;
    return this.#pendingBytes > 0 || [...this.#segments].some(isAfter);
  }

  /** False: it is lost, and counted. */
  append(line: string): boolean {
    const bytes = this.#encoder.encode(`${line}\n`);
    const isRoom =
      this.#pendingBytes + bytes.length <= PENDING_BYTES_MAX &&
      this.sizeBytes + bytes.length <= this.sizeMax;
    if (!isRoom) {
      this.lost++;
      return false;
    }
    this.#pending.push(bytes);
    this.#pendingBytes += bytes.length;
    this.#timer ??= setTimeout(() => this.flush(), FLUSH_MS);
    return true;
  }

  /** Writes what was gathered. What a full disk does not take waits, within its bound. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#pendingBytes === 0) return;
    const bytes = Buffer.concat(this.#pending);
    const wasWritten = this.#write(bytes);
    if (!wasWritten) {
      this.#timer = setTimeout(() => this.flush(), 100 * FLUSH_MS);
      return;
    }
    this.#pending = [];
    this.#pendingBytes = 0;
    this.onData();
  }

  /** What comes next, at most READ_BYTES of it; undefined: nothing. */
  read(): SpoolBatch | undefined {
    for (;;) {
      const { segment, offset } = this.#read;
      const size = this.#segments.get(segment);
      if (size !== undefined && offset < size) {
        const batch = this.#readLines(segment, offset, size);
        if (batch !== undefined) {
          this.#read = batch.end;
          return batch;
        }
      }
      const next = [...this.#segments.keys()].find((number) => number > segment);
      if (next === undefined) return undefined;
      this.#read = { segment: next, offset: 0 };
    }
  }

  /** The sink has all before `position`; its files go. */
  settle(position: SpoolPosition): void {
    this.#settled = position;
    this.#forget();
    const file = join(this.folder, "cursor");
    try {
      writeFileSync(`${file}.new`, JSON.stringify(position));
      renameSync(`${file}.new`, file);
    } catch {
      // A full disk: after a crash some lines come twice.
    }
  }

  /** Reads again from where the sink is known to be. */
  rewind(): void {
    this.#read = this.#settled;
  }

  close(): void {
    this.flush();
    clearTimeout(this.#timer);
    if (this.#writing !== undefined) closeSync(this.#writing.descriptor);
    this.#writing = undefined;
  }

  #file(number: number): string {
    return join(this.folder, `${number}.ndjson`);
  }

  #loadCursor(first: number): SpoolPosition {
    try {
      const { segment, offset } = JSON.parse(readFileSync(join(this.folder, "cursor"), "utf8"));
      const size = this.#segments.get(segment);
      if (segment >= first && size !== undefined && offset >= 0 && offset <= size) {
        return { segment, offset };
      }
    } catch {
      // None yet, or a damaged one: everything that is there comes again.
    }
    return { segment: first, offset: 0 };
  }

  /** Lines until the buffer is full; a line longer than it, or torn by a crash, is skipped. */
  #readLines(segment: number, offset: number, size: number): SpoolBatch | undefined {
    const descriptor = openSync(this.#file(segment), "r");
    const length = readSync(descriptor, this.#buffer, 0, READ_BYTES, offset);
    closeSync(descriptor);
    const end = this.#buffer.subarray(0, length).lastIndexOf(NEWLINE);
    if (end < 0) {
      this.#read = { segment, offset: length === 0 ? size : offset + length };
      return undefined;
    }
    const text = Buffer.from(this.#buffer.subarray(0, end)).toString("utf8");
    return { lines: text.split("\n"), end: { segment, offset: offset + end + 1 } };
  }

  /** All or nothing: a half-written end is taken back. */
  #write(bytes: Uint8Array): boolean {
    try {
      const { number, descriptor } = this.#openSegment();
      const before = fstatSync(descriptor).size;
      let written = 0;
      try {
        while (written < bytes.length) {
          const count = writeSync(descriptor, bytes, written);
          if (count === 0) throw new Error("nothing was written");
          written += count;
        }
      } catch (thrown) {
        ftruncateSync(descriptor, before);
        throw thrown;
      }
      this.#segments.set(number, before + written);
      return true;
    } catch {
      return false;
    }
  }

  #openSegment(): { readonly number: number; readonly descriptor: number } {
    const current = this.#writing;
    if (current !== undefined) {
      if ((this.#segments.get(current.number) ?? 0) < SEGMENT_BYTES) return current;
      closeSync(current.descriptor);
      this.#writing = undefined;
    }
    const number = Math.max(0, this.#settled.segment, ...this.#segments.keys()) + 1;
    const descriptor = openSync(this.#file(number), "a", 0o600);
    this.#writing = { number, descriptor };
    this.#segments.set(number, 0);
    return this.#writing;
  }

  /** Removes files that are settled whole; the one that is written to stays. */
  #forget(): void {
    for (const [number, size] of this.#segments) {
      const { segment, offset } = this.#settled;
      const isDone = number < segment || (number === segment && offset >= size);
      if (!isDone || number === this.#writing?.number) continue;
      rmSync(this.#file(number), { force: true });
      this.#segments.delete(number);
      if (number === segment) this.#settled = { segment, offset: 0 };
    }
  }
}
