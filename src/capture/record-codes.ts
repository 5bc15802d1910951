/** Answers and constants that the readers of both capture formats share. */

/** A packet lies in the window. */
export const PACKET = 1;
/** The next record is not whole in the window: fill it, then ask again. */
export const WANT = 0;
/** No more records; `fault` says whether that is the capture's end. */
export const END = -1;

/**
 * Most bytes of a packet that are read: four times what libpcap keeps of an Ethernet frame. A
 * record that claims more is either not a packet, or the capture is damaged.
 */
export const PACKET_BYTES_MAX = 1 << 19;

/** The first word of a pcapng section, which reads the same in both byte orders. */
export const PCAPNG_MAGIC = 0x0a0d0d0a;

/** What the first word of a pcap file says. */
export interface PcapKind {
  readonly littleEndian: boolean;
  readonly ticksPerSecond: number;
  /** Of a record's header; patched libpcaps of the nineties wrote 8 more. */
  readonly headerBytes: number;
}

const MICROS = 1_000_000;
const NANOS = 1_000_000_000;

/** By the first four bytes read as little-endian. draft-ietf-opsawg-pcap §4. */
export const PCAP_MAGICS: ReadonlyMap<number, PcapKind> = new Map([
  [0xa1b2c3d4, { littleEndian: true, ticksPerSecond: MICROS, headerBytes: 16 }],
  [0xd4c3b2a1, { littleEndian: false, ticksPerSecond: MICROS, headerBytes: 16 }],
  [0xa1b23c4d, { littleEndian: true, ticksPerSecond: NANOS, headerBytes: 16 }],
  [0x4d3cb2a1, { littleEndian: false, ticksPerSecond: NANOS, headerBytes: 16 }],
  [0xa1b2cd34, { littleEndian: true, ticksPerSecond: MICROS, headerBytes: 24 }],
  [0x34cdb2a1, { littleEndian: false, ticksPerSecond: MICROS, headerBytes: 24 }],
]);
