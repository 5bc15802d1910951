/**
 * Reads pcap (draft-ietf-opsawg-pcap): both byte orders, micro- and nanoseconds. Hot path.
 * A record that claims more than any packet has means that the capture is damaged from here on:
 * nothing tells where the next one begins, so reading ends with a fault that names the place.
 */
import type { CaptureReader } from "./capture-reader.ts";
import type { CaptureWindow } from "./capture-window.ts";
import { END, PACKET, PACKET_BYTES_MAX, type PcapKind, WANT } from "./record-codes.ts";

const FILE_HEADER_BYTES = 24;
/** The upper bits of the link type's word say how long frame check sequences are. */
const LINK_TYPE_MASK = 0xffff;

export class PcapReader implements CaptureReader {
  packetStart = 0;
  packetEnd = 0;
  wireBytes = 0;
  linkType = 0;
  timeHigh = 0;
  timeLow = 0;
  readonly ticksPerSecond: number;
  readonly timeInSeconds = true;
  readonly skipped = 0;
  fault = "";
  readonly #window: CaptureWindow;
  readonly #memory: DataView;
  readonly #littleEndian: boolean;
  readonly #headerBytes: number;

  constructor(window: CaptureWindow, kind: PcapKind) {
    this.#window = window;
    this.#memory = window.memory;
    this.#littleEndian = kind.littleEndian;
    this.#headerBytes = kind.headerBytes;
    this.ticksPerSecond = kind.ticksPerSecond;
  }

  /** Set-up. Reads the file's header: PACKET when it is there. */
  start(): number {
    const window = this.#window;
    if (window.end < FILE_HEADER_BYTES) {
      if (window.finished === 0) return WANT;
      this.fault = `ends in its header, after ${window.end} bytes`;
      return END;
    }
    this.linkType = this.#memory.getUint32(20, this.#littleEndian) & LINK_TYPE_MASK;
    window.position = FILE_HEADER_BYTES;
    return PACKET;
  }

  next(): number {
    const window = this.#window;
    const memory = this.#memory;
    const at = window.position;
    const start = at + this.#headerBytes;
    if (start > window.end) return this.#short(at);
    const captured = memory.getUint32(at + 8, this.#littleEndian);
    if (captured > PACKET_BYTES_MAX) return this.#damaged(at, captured);
    const end = start + captured;
    if (end > window.end) return this.#short(at);
    this.timeHigh = memory.getInt32(at, this.#littleEndian);
    this.timeLow = memory.getInt32(at + 4, this.#littleEndian);
    this.wireBytes = memory.getInt32(at + 12, this.#littleEndian);
    this.packetStart = start;
    this.packetEnd = end;
    window.position = end;
    return PACKET;
  }

  #short(at: number): number {
    if (this.#window.finished === 0) return WANT;
    if (at < this.#window.end) this.fault = faultAt(this.#window.base + at, "is cut short");
    return END;
  }

  #damaged(at: number, captured: number): number {
    this.fault = faultAt(this.#window.base + at, claims(captured));
    return END;
  }
}

/** Set-up. Words for a fault: it ends the reading. */
export function faultAt(offset: number, what: string): string {
  return `the record at byte ${offset} ${what}; what lies before it was read`;
}

/** Set-up. */
export function claims(bytes: number): string {
  return `claims ${bytes} bytes, more than any packet has`;
}
