/**
 * Internet checksums (RFC 1071) over ranges of the pool, and their incremental change (RFC 1624).
 * Hot path. Sums are of big-endian 16-bit words, not folded and not complemented, below 2^32 for
 * the ranges an IP packet can have. TCP, UDP and ICMPv6 sums begin with a pseudo header.
 */
import { PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP, PROTOCOL_UDP } from "./parsed-packet.ts";

const IPV4_CHECKSUM_OFFSET = 10;

/** Adds [start, end) to `sum`; an odd last byte counts as the upper half of a word. */
export function addRange(memory: DataView, start: number, end: number, sum: number): number {
  let total = sum;
  let position = start;
  for (; position + 8 <= end; position += 8) {
    const high = memory.getInt32(position, false);
    const low = memory.getInt32(position + 4, false);
    total += (high >>> 16) + (high & 0xffff) + (low >>> 16) + (low & 0xffff);
  }
  for (; position + 2 <= end; position += 2) total += memory.getUint16(position, false);
  return position < end ? total + memory.getUint8(position) * 256 : total;
}

/** Folds a sum below 2^32 into 16 bits. */
export function fold(sum: number): number {
  const once = (sum & 0xffff) + (sum >>> 16);
  return (once & 0xffff) + (once >>> 16);
}

/** The checksum of [start, end): 0 when the range holds its own, correct, checksum. */
export function checksumOf(memory: DataView, start: number, end: number): number {
  return ~fold(addRange(memory, start, end, 0)) & 0xffff;
}

/** Writes the header checksum of an IPv4 header of `headerBytes` at `ipStart`. */
export function writeIpv4Checksum(memory: DataView, ipStart: number, headerBytes: number): void {
  memory.setUint16(ipStart + IPV4_CHECKSUM_OFFSET, 0, false);
  const checksum = checksumOf(memory, ipStart, ipStart + headerBytes);
  memory.setUint16(ipStart + IPV4_CHECKSUM_OFFSET, checksum, false);
}

/** `checksum` after one 16-bit word it covers changed: RFC 1624 equation 3. */
export function adjustChecksum(checksum: number, oldWord: number, newWord: number): number {
  return ~fold((~checksum & 0xffff) + (~oldWord & 0xffff) + newWord) & 0xffff;
}

/** The pseudo header of the packet at `ipStart` (RFC 793, RFC 8200 §8.1), as a sum. */
export function pseudoSum(
  memory: DataView,
  ipVersion: number,
  ipStart: number,
  protocol: number,
  transportBytes: number,
): number {
  const fixed = protocol + (transportBytes & 0xffff) + (transportBytes >>> 16);
  return ipVersion === 4
    ? addRange(memory, ipStart + 12, ipStart + 20, fixed)
    : addRange(memory, ipStart + 8, ipStart + 40, fixed);
}

/**
 * The checksum of the transport header and payload in [start, end) of the packet at `ipStart`; 0
 * when they hold their own, correct, checksum. ICMP (1) has no pseudo header, all others do.
 */
export function transportChecksum(
  memory: DataView,
  ipVersion: number,
  ipStart: number,
  protocol: number,
  start: number,
  end: number,
): number {
  const pseudo =
    protocol === PROTOCOL_ICMP ? 0 : pseudoSum(memory, ipVersion, ipStart, protocol, end - start);
  return ~fold(addRange(memory, start, end, pseudo)) & 0xffff;
}

/** Where the checksum is in a transport header, or -1 for a protocol without one known here. */
export function checksumOffset(protocol: number): number {
  if (protocol === PROTOCOL_TCP) return 16;
  if (protocol === PROTOCOL_UDP) return 6;
  return protocol === PROTOCOL_ICMP || protocol === PROTOCOL_ICMPV6 ? 2 : -1;
}

/** Computes and writes the checksum of TCP, UDP, ICMP or ICMPv6 in [start, end). */
export function writeTransportChecksum(
  memory: DataView,
  ipVersion: number,
  ipStart: number,
  protocol: number,
  start: number,
  end: number,
): void {
  const offset = checksumOffset(protocol);
  if (offset < 0) return;
  memory.setUint16(start + offset, 0, false);
  const checksum = transportChecksum(memory, ipVersion, ipStart, protocol, start, end);
  // In UDP 0 means "none"; its other form stands for it (RFC 768).
  const written = protocol === PROTOCOL_UDP && checksum === 0 ? 0xffff : checksum;
  memory.setUint16(start + offset, written, false);
}

/**
 * Replaces the 16-bit value at `position` and mends the checksum at `checksumPosition` of a range
 * that begins at `rangeStart`. A value at an odd distance spans two words of the sum.
 */
export function replaceWord(
  memory: DataView,
  position: number,
  value: number,
  rangeStart: number,
  checksumPosition: number,
): void {
  let before = memory.getUint16(position, false);
  let after = value;
  if (((position - rangeStart) & 1) === 1) {
    // One's complement sums do not mind byte order, as long as both are swapped (RFC 1071 §2).
    before = ((before & 0xff) << 8) | (before >>> 8);
    after = ((after & 0xff) << 8) | (after >>> 8);
  }
  const checksum = memory.getUint16(checksumPosition, false);
  memory.setUint16(checksumPosition, adjustChecksum(checksum, before, after), false);
  memory.setUint16(position, value, false);
}
