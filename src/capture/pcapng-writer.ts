/**
 * Writes packets of captures to one pcapng file (draft-ietf-opsawg-pcapng), each with a comment:
 * bytes and time stamps as they were read, an interface for each link type and time resolution.
 */
import { closeSync, openSync, writeSync } from "node:fs";
import { AbsError, messageOf } from "../errors.ts";
import type { CaptureReader } from "./capture-reader.ts";
import { PACKET_BYTES_MAX, PCAPNG_MAGIC } from "./record-codes.ts";

const BUFFER_BYTES = 1 << 20;
/** A block's fixed parts, and more comment than there ever is. */
const BLOCK_EXTRA_BYTES = 4096;
const COMMENT_BYTES_MAX = 2048;

const OPTION_COMMENT = 1;
const OPTION_TIME_RESOLUTION = 9;

export class PcapngWriter {
  readonly #file: number;
  readonly #bytes = new Uint8Array(BUFFER_BYTES);
  readonly #memory = new DataView(this.#bytes.buffer);
  /** Number of an interface by link type and time resolution. */
  readonly #interfaces = new Map<string, number>();
  #end = 0;

  constructor(readonly path: string) {
    try {
      this.#file = openSync(path, "w");
    } catch (error) {
      const message = `${path} cannot be written: ${messageOf(error)}`;
      throw new AbsError("CAPTURE_WRITE", message, "Name another file with --write.", error);
    }
    const memory = this.#memory;
    memory.setUint32(0, PCAPNG_MAGIC, true);
    memory.setUint32(4, 28, true);
    memory.setUint32(8, 0x1a2b3c4d, true);
    memory.setUint16(12, 1, true);
    memory.setInt32(16, -1, true); // the section's length is not told
    memory.setInt32(20, -1, true);
    memory.setUint32(24, 28, true);
    this.#end = 28;
  }

  /**
   * Writes the packet at hand of `reader`, which lies in `bytes`; no option for an empty comment.
   */
  write(reader: CaptureReader, bytes: Uint8Array, comment: Uint8Array): void {
    const number = this.#interfaceOf(reader);
    const captured = reader.packetEnd - reader.packetStart;
    if (this.#end + captured + BLOCK_EXTRA_BYTES > BUFFER_BYTES) this.#flush();
    const memory = this.#memory;
    const at = this.#end;
    memory.setUint32(at, 6, true);
    memory.setUint32(at + 8, number, true);
    const [high, low] = ticksOf(reader);
    memory.setUint32(at + 12, high, true);
    memory.setUint32(at + 16, low, true);
    memory.setUint32(at + 20, captured, true);
    memory.setUint32(at + 24, reader.wireBytes, true);
    this.#bytes.set(bytes.subarray(reader.packetStart, reader.packetEnd), at + 28);
    let end = this.#pad(at + 28 + captured);
    if (comment.length > 0) {
      const text = comment.subarray(0, COMMENT_BYTES_MAX);
      memory.setUint16(end, OPTION_COMMENT, true);
      memory.setUint16(end + 2, text.length, true);
      this.#bytes.set(text, end + 4);
      end = this.#pad(end + 4 + text.length);
      memory.setUint32(end, 0, true); // end of options
      end += 4;
    }
    this.#close(at, end);
  }

  close(): void {
    this.#flush();
    closeSync(this.#file);
  }

  #interfaceOf(reader: CaptureReader): number {
    const key = `${reader.linkType} ${reader.ticksPerSecond}`;
    const known = this.#interfaces.get(key);
    if (known !== undefined) return known;
    if (this.#end + BLOCK_EXTRA_BYTES > BUFFER_BYTES) this.#flush();
    const memory = this.#memory;
    const at = this.#end;
    memory.setUint32(at, 1, true);
    memory.setUint16(at + 8, reader.linkType, true);
    memory.setUint16(at + 10, 0, true);
    memory.setUint32(at + 12, PACKET_BYTES_MAX, true);
    memory.setUint16(at + 16, OPTION_TIME_RESOLUTION, true);
    memory.setUint16(at + 18, 1, true);
    memory.setUint32(at + 20, resolutionOf(reader.ticksPerSecond), true);
    memory.setUint32(at + 24, 0, true);
    this.#close(at, at + 28);
    this.#interfaces.set(key, this.#interfaces.size);
    return this.#interfaces.size - 1;
  }

  /**
   * Writes the block's length into both its places; it began at `at`, and its content ends here.
   */
  #close(at: number, end: number): void {
    const length = end + 4 - at;
    this.#memory.setUint32(at + 4, length, true);
    this.#memory.setUint32(end, length, true);
    this.#end = end + 4;
  }

  #pad(end: number): number {
    let padded = end;
    while ((padded & 3) !== 0) this.#bytes[padded++] = 0;
    return padded;
  }

  #flush(): void {
    let done = 0;
    while (done < this.#end) done += writeSync(this.#file, this.#bytes, done, this.#end - done);
    this.#end = 0;
  }
}

/** The time stamp as one number of ticks, in two words: pcap has seconds and a fraction instead. */
function ticksOf(reader: CaptureReader): readonly [number, number] {
  if (!reader.timeInSeconds) return [reader.timeHigh >>> 0, reader.timeLow >>> 0];
  const seconds = BigInt(reader.timeHigh >>> 0);
  const ticks = seconds * BigInt(reader.ticksPerSecond) + BigInt(reader.timeLow >>> 0);
  return [Number(ticks >> 32n), Number(ticks & 0xffff_ffffn)];
}

/** if_tsresol: a power of ten, or of two with the highest bit. */
function resolutionOf(ticksPerSecond: number): number {
  const tens = Math.round(Math.log10(ticksPerSecond));
  if (10 ** tens === ticksPerSecond) return tens;
  return 0x80 | Math.round(Math.log2(ticksPerSecond));
}
