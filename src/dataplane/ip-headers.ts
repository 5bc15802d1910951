/**
 * Moving packet bytes and writing fresh link and IP headers, for packets the agent makes itself.
 * Hot path. Crafting around the ABS header has its own, shorter, moves (crafting.ts).
 */
import { writeIpv4Checksum } from "./checksum.ts";
import type { ParsedPacket } from "./parsed-packet.ts";

const LIFE = 64; // TTL and hop limit, RFC 1700's recommendation, what Linux sends

/** Moves `count` bytes; the ranges may overlap. Touches no byte outside the target range. */
export function moveBytes(memory: DataView, from: number, to: number, count: number): void {
  if (to <= from) {
    let i = 0;
    for (; i + 4 <= count; i += 4) {
      memory.setInt32(to + i, memory.getInt32(from + i, true), true);
    }
    for (; i < count; i++) memory.setUint8(to + i, memory.getUint8(from + i));
    return;
  }
  let left = count;
  for (; left >= 4; left -= 4) {
    memory.setInt32(to + left - 4, memory.getInt32(from + left - 4, true), true);
  }
  for (; left > 0; left--) memory.setUint8(to + left - 1, memory.getUint8(from + left - 1));
}

/**
 * Copies the link header of `packet`, VLAN tags too, to `target` with source and destination MAC
 * exchanged: the way back. Returns the number of bytes, the distance to the IP header.
 */
export function writeLinkReply(memory: DataView, packet: ParsedPacket, target: number): number {
  const start = packet.linkStart;
  const linkBytes = packet.ipStart - start;
  if (linkBytes === 0) return 0;
  moveBytes(memory, start + 6, target, 6);
  moveBytes(memory, start, target + 6, 6);
  moveBytes(memory, start + 12, target + 12, linkBytes - 12);
  return linkBytes;
}

/** IPv4 header from the packet's destination to its source, `payloadBytes` to follow. */
export function writeIpv4Reply(
  memory: DataView,
  packet: ParsedPacket,
  target: number,
  protocol: number,
  payloadBytes: number,
): void {
  memory.setUint16(target, 0x4500, false);
  memory.setUint16(target + 2, 20 + payloadBytes, false);
  memory.setUint32(target + 4, 0x4000, false); // identification 0 with DF (RFC 6864)
  memory.setUint8(target + 8, LIFE);
  memory.setUint8(target + 9, protocol);
  memory.setUint32(target + 12, packet.destination3, false);
  memory.setUint32(target + 16, packet.source3, false);
  writeIpv4Checksum(memory, target, 20);
}

/** IPv6 header from the packet's destination to its source, `payloadBytes` to follow. */
export function writeIpv6Reply(
  memory: DataView,
  packet: ParsedPacket,
  target: number,
  protocol: number,
  payloadBytes: number,
): void {
  memory.setUint32(target, 0x6000_0000, false);
  memory.setUint16(target + 4, payloadBytes, false);
  memory.setUint8(target + 6, protocol);
  memory.setUint8(target + 7, LIFE);
  memory.setUint32(target + 8, packet.destination0, false);
  memory.setUint32(target + 12, packet.destination1, false);
  memory.setUint32(target + 16, packet.destination2, false);
  memory.setUint32(target + 20, packet.destination3, false);
  memory.setUint32(target + 24, packet.source0, false);
  memory.setUint32(target + 28, packet.source1, false);
  memory.setUint32(target + 32, packet.source2, false);
  memory.setUint32(target + 36, packet.source3, false);
}
