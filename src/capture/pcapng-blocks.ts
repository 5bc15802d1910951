/**
 * Blocks of a live capture in pcapng (draft-ietf-opsawg-pcapng), each whole in bytes of its own: a
 * section with one Ethernet interface, packets with their direction, what was lost. Little-endian,
 * times in microseconds. pcapng-writer.ts writes captures that were read from others.
 */
import { PACKET_BYTES_MAX, PCAPNG_MAGIC } from "./record-codes.ts";

export const BLOCK_STATISTICS = 5;
export const BLOCK_SECRETS = 10;
/** In a stream of blocks: lines of a key log ("ABSK"). They are taken out before the file. */
export const SECRETS_KEY_LOG = 0x4142_534b;
export const BLOCK_BYTES_MIN = 12;
/** No block here is as long: a stream that claims one is not ours. */
export const BLOCK_BYTES_MAX = 1 << 20;

const BLOCK_INTERFACE = 1;
const BLOCK_PACKET = 6;
const BYTE_ORDER = 0x1a2b_3c4d;
const LINK_ETHERNET = 1;
const OPTION_INTERFACE_NAME = 2;
const OPTION_PACKET_FLAGS = 2;
const OPTION_DROPPED = 5;
const TWO_TO_32 = 2 ** 32;
/** Where a statistics block of statisticsBlock() has the count of lost packets. */
const DROPPED_AT = 24;

export type PacketDirection = "in" | "out";

/** Section header and interface 0. */
export function sectionStart(interfaceName: string): Uint8Array {
  const section = block(PCAPNG_MAGIC, 16, (body) => {
    body.setUint32(0, BYTE_ORDER, true);
    body.setUint16(4, 1, true);
    body.setInt32(8, -1, true); // the section's length is not told
    body.setInt32(12, -1, true);
  });
  const name = new TextEncoder().encode(interfaceName);
  const padded = (name.length + 3) & ~3;
  const port = block(BLOCK_INTERFACE, 8 + 4 + padded + 4, (body) => {
    body.setUint16(0, LINK_ETHERNET, true);
    body.setUint32(4, PACKET_BYTES_MAX, true);
    body.setUint16(8, OPTION_INTERFACE_NAME, true);
    body.setUint16(10, name.length, true);
    for (const [i, byte] of name.entries()) body.setUint8(12 + i, byte);
  });
  return Buffer.concat([section, port]);
}

/** @param timeUs since 1970 */
export function packetBlock(
  frame: Uint8Array,
  timeUs: number,
  direction: PacketDirection,
): Uint8Array {
  const padded = (frame.length + 3) & ~3;
  return block(BLOCK_PACKET, 20 + padded + 12, (body, bytes) => {
    setTime(body, 4, timeUs);
    body.setUint32(12, frame.length, true);
    body.setUint32(16, frame.length, true);
    bytes.set(frame, 20);
    const at = 20 + padded;
    body.setUint16(at, OPTION_PACKET_FLAGS, true);
    body.setUint16(at + 2, 4, true);
    body.setUint32(at + 4, direction === "in" ? 1 : 2, true);
  });
}

/** How many packets were lost so far for want of room. */
export function statisticsBlock(timeUs: number, dropped: number): Uint8Array {
  return block(BLOCK_STATISTICS, 12 + 12 + 4, (body) => {
    setTime(body, 4, timeUs);
    body.setUint16(12, OPTION_DROPPED, true);
    body.setUint16(14, 8, true);
    body.setUint32(DROPPED_AT - 8, dropped, true);
  });
}

/** What a block of statisticsBlock() says. */
export function droppedOf(statistics: Uint8Array): number {
  const { buffer, byteOffset, byteLength } = statistics;
  return new DataView(buffer, byteOffset, byteLength).getUint32(DROPPED_AT, true);
}

/** Lines of a key log; none: nothing but a sign of life. */
export function secretsBlock(lines: string): Uint8Array {
  const text = new TextEncoder().encode(lines);
  return block(BLOCK_SECRETS, 8 + ((text.length + 3) & ~3), (body, bytes) => {
    body.setUint32(0, SECRETS_KEY_LOG, true);
    body.setUint32(4, text.length, true);
    bytes.set(text, 8);
  });
}

/** The lines in a block of secretsBlock(). */
export function secretsOf(secrets: Uint8Array): string {
  const { buffer, byteOffset, byteLength } = secrets;
  const length = new DataView(buffer, byteOffset, byteLength).getUint32(12, true);
  return new TextDecoder().decode(secrets.subarray(16, 16 + length));
}

function setTime(body: DataView, at: number, timeUs: number): void {
  body.setUint32(at, Math.floor(timeUs / TWO_TO_32), true);
  body.setUint32(at + 4, timeUs % TWO_TO_32, true);
}

/** @param bodyBytes a multiple of 4 @param fill writes into the body, which is all zeros */
function block(
  type: number,
  bodyBytes: number,
  fill: (body: DataView, bytes: Uint8Array) => void,
): Uint8Array {
  const bytes = new Uint8Array(BLOCK_BYTES_MIN + bodyBytes);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, type, true);
  view.setUint32(4, bytes.length, true);
  fill(new DataView(bytes.buffer, 8, bodyBytes), bytes.subarray(8, 8 + bodyBytes));
  view.setUint32(bytes.length - 4, bytes.length, true);
  return bytes;
}
