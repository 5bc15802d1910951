/**
 * Reads pcapng (draft-ietf-opsawg-pcapng): sections of either byte order, an own link type and time
 * resolution for each interface; enhanced, simple and obsolete packet blocks. Hot path. Every
 * block tells its length, so that unknown and oversize ones are skipped, whatever their length.
 */
import type { CaptureReader } from "./capture-reader.ts";
import type { CaptureWindow } from "./capture-window.ts";
import { faultAt } from "./pcap-reader.ts";
import { END, PACKET, PACKET_BYTES_MAX, PCAPNG_MAGIC, WANT } from "./record-codes.ts";

const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
const BYTE_ORDER_SWAPPED = 0x4d3c2b1a;

const INTERFACE_BLOCK = 1;
const OBSOLETE_PACKET_BLOCK = 2;
const SIMPLE_PACKET_BLOCK = 3;
const ENHANCED_PACKET_BLOCK = 6;

/** Type and length in front, length behind. */
const BLOCK_BYTES_MIN = 12;
const SECTION_BYTES_MIN = 28;
const INTERFACE_BYTES_MIN = 20;
/** From the block's start to the packet. */
const SIMPLE_HEADER_BYTES = 12;
const HEADER_BYTES = 28;

/** A block that must be whole in the window: a packet with its options, or an interface. */
const WHOLE_BYTES_MAX = PACKET_BYTES_MAX + (1 << 16);
/** Interfaces of one section; packets of later ones are skipped. */
const INTERFACES_MAX = 1024;

const OPTION_END = 0;
const OPTION_TIME_RESOLUTION = 9;
const MICROS = 1_000_000;

export class PcapngReader implements CaptureReader {
  packetStart = 0;
  packetEnd = 0;
  wireBytes = 0;
  linkType = 0;
  timeHigh = 0;
  timeLow = 0;
  ticksPerSecond = MICROS;
  readonly timeInSeconds = false;
  skipped = 0;
  fault = "";
  readonly #window: CaptureWindow;
  readonly #memory: DataView;
  #littleEndian = true;
  #interfaces = 0;
  readonly #linkTypes = new Uint16Array(INTERFACES_MAX);
  readonly #snapBytes = new Float64Array(INTERFACES_MAX);
  readonly #ticks = new Float64Array(INTERFACES_MAX);

  constructor(window: CaptureWindow) {
    this.#window = window;
    this.#memory = window.memory;
  }

  next(): number {
    const window = this.#window;
    const memory = this.#memory;
    for (;;) {
      const at = window.position;
      if (at + BLOCK_BYTES_MIN > window.end) return this.#short(at);
      const type = memory.getUint32(at, this.#littleEndian);
      if (type === PCAPNG_MAGIC) {
        const order = memory.getUint32(at + 8, true);
        if (order !== BYTE_ORDER_MAGIC && order !== BYTE_ORDER_SWAPPED) {
          return this.#damaged(at, "is a section without a byte order");
        }
        this.#littleEndian = order === BYTE_ORDER_MAGIC;
      }
      const length = memory.getUint32(at + 4, this.#littleEndian);
      if (length < BLOCK_BYTES_MIN) return this.#damaged(at, "is shorter than a block can be");
      const end = at + ((length + 3) & ~3) + (length > 0x7fff_fffc ? 0x1_0000_0000 : 0);
      if (!this.#isRead(type) || length > WHOLE_BYTES_MAX) {
        // The rest of it is skipped as it comes; an end before that is a cut, told by #short.
        if (this.#isPacket(type)) this.skipped++;
        window.position = end;
        continue;
      }
      if (end > window.end) return this.#short(at);
      if (memory.getUint32(end - 4, this.#littleEndian) !== length) {
        return this.#damaged(at, "does not end with its length");
      }
      window.position = end;
      const code = this.#take(type, at, end);
      if (code !== WANT) return code;
    }
  }

  #isRead(type: number): boolean {
    return type === INTERFACE_BLOCK || type === PCAPNG_MAGIC || this.#isPacket(type);
  }

  #isPacket(type: number): boolean {
    return (
      type === ENHANCED_PACKET_BLOCK ||
      type === SIMPLE_PACKET_BLOCK ||
      type === OBSOLETE_PACKET_BLOCK
    );
  }

  /** A whole block; WANT when it holds no packet that can be read. */
  #take(type: number, at: number, end: number): number {
    if (type === ENHANCED_PACKET_BLOCK || type === OBSOLETE_PACKET_BLOCK) {
      return this.#packet(type, at, end);
    }
    if (type === SIMPLE_PACKET_BLOCK) return this.#simplePacket(at, end);
    if (type === INTERFACE_BLOCK) return this.#interface(at, end);
    if (end - at < SECTION_BYTES_MIN) return this.#damaged(at, "is a section cut short");
    this.#interfaces = 0;
    return WANT;
  }

  #packet(type: number, at: number, end: number): number {
    const memory = this.#memory;
    const little = this.#littleEndian;
    if (end - at < HEADER_BYTES + 4) return this.#damaged(at, "is a packet without its header");
    const number =
      type === ENHANCED_PACKET_BLOCK
        ? memory.getUint32(at + 8, little)
        : memory.getUint16(at + 8, little);
    const captured = memory.getUint32(at + 20, little);
    if (captured > end - at - HEADER_BYTES - 4) {
      return this.#damaged(at, "holds less than its packet");
    }
    if (number >= this.#interfaces) return this.#skip();
    this.linkType = this.#linkTypes[number];
    this.ticksPerSecond = this.#ticks[number];
    this.timeHigh = memory.getInt32(at + 12, little);
    this.timeLow = memory.getInt32(at + 16, little);
    this.wireBytes = memory.getInt32(at + 24, little);
    this.packetStart = at + HEADER_BYTES;
    this.packetEnd = at + HEADER_BYTES + captured;
    return PACKET;
  }

  #simplePacket(at: number, end: number): number {
    if (end - at < SIMPLE_HEADER_BYTES + 4) return this.#damaged(at, "has no packet length");
    if (this.#interfaces === 0) return this.#skip();
    const wire = this.#memory.getUint32(at + 8, this.#littleEndian);
    const room = end - at - SIMPLE_HEADER_BYTES - 4;
    const snap = this.#snapBytes[0];
    const kept = snap > 0 && wire > snap ? snap : wire;
    if (kept > room) return this.#damaged(at, "holds less than its packet");
    this.linkType = this.#linkTypes[0];
    this.ticksPerSecond = this.#ticks[0];
    this.timeHigh = 0;
    this.timeLow = 0;
    this.wireBytes = wire;
    this.packetStart = at + SIMPLE_HEADER_BYTES;
    this.packetEnd = this.packetStart + kept;
    return PACKET;
  }

  #interface(at: number, end: number): number {
    const little = this.#littleEndian;
    if (end - at < INTERFACE_BYTES_MIN) return this.#damaged(at, "is an interface cut short");
    if (this.#interfaces === INTERFACES_MAX) return WANT;
    const number = this.#interfaces++;
    this.#linkTypes[number] = this.#memory.getUint16(at + 8, little);
    this.#snapBytes[number] = this.#memory.getUint32(at + 12, little);
    this.#ticks[number] = this.#ticksOf(at + 16, end - 4);
    return WANT;
  }

  /** The time resolution among the options in [from, end): if_tsresol, 10^-n or 2^-n seconds. */
  #ticksOf(from: number, end: number): number {
    const memory = this.#memory;
    let at = from;
    while (at + 4 <= end) {
      const code = memory.getUint16(at, this.#littleEndian);
      const length = memory.getUint16(at + 2, this.#littleEndian);
      if (code === OPTION_END || at + 4 + length > end) return MICROS;
      if (code === OPTION_TIME_RESOLUTION && length === 1) {
        const power = memory.getUint8(at + 4);
        return power >= 0x80 ? 2 ** (power & 0x7f) : 10 ** power;
      }
      at += 4 + ((length + 3) & ~3);
    }
    return MICROS;
  }

  #skip(): number {
    this.skipped++;
    return WANT;
  }

  #short(at: number): number {
    const window = this.#window;
    if (window.finished === 0) return WANT;
    if (at !== window.end)
      this.fault = faultAt(window.base + Math.min(at, window.end), "is cut short");
    return END;
  }

  #damaged(at: number, what: string): number {
    this.fault = faultAt(this.#window.base + at, what);
    return END;
  }
}
