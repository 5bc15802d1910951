/**
 * Splits an IPv4 packet that is too big once the ABS header is added, before sealing, so that each
 * part is authenticated by itself (docs/wire.md "Carriers"; RFC 791 §2.3).
 * Hot path. The caller owns the buffers: it asks for the number of parts, gets as many buffers less
 * one, writes the parts from the last to the second into them, and then the first in place.
 * Not split: packets with DF, with options (peers never get those), and IPv6.
 */
import { writeIpv4Checksum } from "./checksum.ts";
import { moveBytes } from "./ip-headers.ts";
import type { ParsedPacket } from "./parsed-packet.ts";

const IPV4_HEADER_BYTES = 20;
const MORE_FRAGMENTS = 0x2000;
const OFFSET_MASK = 0x1fff;

/** More parts than one buffer of the pool can need at the smallest path MTU. */
export const FRAGMENTS_MAX = 16;

/**
 * Number of fragments of at most `mtu` bytes (with IP header) that `packet` needs: 1 when it fits
 * as it is, 0 when it must not or cannot be split.
 */
export function fragmentCount(packet: ParsedPacket, mtu: number): number {
  if (packet.ipEnd - packet.ipStart <= mtu) return 1;
  if (packet.ipVersion !== 4 || packet.dontFragment === 1 || packet.ipOptions === 1) return 0;
  const chunkBytes = chunkOf(mtu);
  if (chunkBytes <= 0) return 0;
  const count = Math.ceil((packet.ipEnd - packet.ipPayloadStart) / chunkBytes);
  return count > FRAGMENTS_MAX ? 0 : count;
}

/**
 * Writes fragment `index` (0 …) as a frame at `target` and returns its length in bytes. `target`
 * lies in another buffer, or is `packet.linkStart` for index 0, after all others were written.
 */
export function writeFragment(
  memory: DataView,
  packet: ParsedPacket,
  index: number,
  mtu: number,
  target: number,
): number {
  const chunkBytes = chunkOf(mtu);
  const dataStart = packet.ipPayloadStart + index * chunkBytes;
  const dataEnd = Math.min(dataStart + chunkBytes, packet.ipEnd);
  const dataBytes = dataEnd - dataStart;
  const headerBytes = packet.ipPayloadStart - packet.linkStart;
  if (target !== packet.linkStart) {
    moveBytes(memory, packet.linkStart, target, headerBytes);
    moveBytes(memory, dataStart, target + headerBytes, dataBytes);
  }
  // A fragment may be split again: its own offset and flag carry over.
  const field = packet.fragmentField;
  const more = dataEnd < packet.ipEnd ? MORE_FRAGMENTS : field & MORE_FRAGMENTS;
  const offset = (field & OFFSET_MASK) + ((index * chunkBytes) >>> 3);
  const ipStart = target + headerBytes - IPV4_HEADER_BYTES;
  memory.setUint16(ipStart + 2, IPV4_HEADER_BYTES + dataBytes, false);
  memory.setUint16(ipStart + 6, more | offset, false);
  writeIpv4Checksum(memory, ipStart, IPV4_HEADER_BYTES);
  return headerBytes + dataBytes;
}

/** Data bytes of all fragments but the last: a multiple of 8. */
function chunkOf(mtu: number): number {
  return (mtu - IPV4_HEADER_BYTES) & ~7;
}
