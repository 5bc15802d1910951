/**
 * One packet of a generated capture: the IP packet of a real one under other addresses, with
 * checksums that are right (RFC 1071), in an Ethernet frame. Addresses are 10.0.0.0/8 and
 * 172.16.0.0/12, or fd00::/8, with the number of the flow's copy in them.
 */

/** A packet to write. */
export interface FrameWish {
  /** The IP packet, whole. */
  readonly packet: Uint8Array;
  /** Sent by the flow's first sender. */
  readonly forward: boolean;
  readonly version: number;
  /** Number of the copy: below 2^20. */
  readonly clone: number;
}

const ETHERNET_BYTES = 14;
const UDP = 17;
const TCP = 6;
const CLIENT_V4 = 0x0a00_0000;
const SERVER_V4 = 0xac10_0000;

/** Writes the frame at `at`; returns its length. */
export function writeFrame(
  buffer: Uint8Array,
  memory: DataView,
  at: number,
  wish: FrameWish,
): number {
  const { packet, version } = wish;
  const ip = at + ETHERNET_BYTES;
  const end = ip + packet.length;
  for (let i = 0; i < 12; i++) memory.setUint8(at + i, i === 0 || i === 6 ? 2 : i);
  memory.setUint16(at + 12, version === 4 ? 0x0800 : 0x86dd, false);
  buffer.set(packet, ip);
  const transport = version === 4 ? writeIpv4(memory, ip, wish) : writeIpv6(memory, ip, wish);
  const protocol = memory.getUint8(ip + (version === 4 ? 9 : 6));
  const field = protocol === TCP ? transport + 16 : transport + 6;
  // Extension headers, and datagrams without a checksum, are left as they are.
  if (protocol !== TCP && protocol !== UDP) return ETHERNET_BYTES + packet.length;
  if (protocol === UDP && memory.getUint16(field, false) === 0) {
    return ETHERNET_BYTES + packet.length;
  }
  const length = protocol === UDP ? memory.getUint16(transport + 4, false) : end - transport;
  memory.setUint16(field, 0, false);
  const addresses = version === 4 ? ip + 12 : ip + 8;
  let sum = sumOf(memory, addresses, version === 4 ? 8 : 32) + protocol + length;
  sum += sumOf(memory, transport, Math.min(length, end - transport));
  const checksum = folded(sum);
  memory.setUint16(field, protocol === UDP && checksum === 0 ? 0xffff : checksum, false);
  return ETHERNET_BYTES + packet.length;
}

function writeIpv4(memory: DataView, ip: number, { forward, clone, packet }: FrameWish): number {
  const headerBytes = (memory.getUint8(ip) & 15) * 4;
  memory.setUint16(ip + 2, packet.length, false);
  memory.setUint32(ip + (forward ? 12 : 16), CLIENT_V4 + clone, false);
  memory.setUint32(ip + (forward ? 16 : 12), SERVER_V4 + clone, false);
  memory.setUint16(ip + 10, 0, false);
  memory.setUint16(ip + 10, folded(sumOf(memory, ip, headerBytes)), false);
  return ip + headerBytes;
}

function writeIpv6(memory: DataView, ip: number, { forward, clone, packet }: FrameWish): number {
  memory.setUint16(ip + 4, packet.length - 40, false);
  for (const [end, offset] of [forward ? 8 : 24, forward ? 24 : 8].entries()) {
    memory.setUint32(ip + offset, 0xfd00_0000 + end, false);
    memory.setUint32(ip + offset + 4, 0, false);
    memory.setUint32(ip + offset + 8, 0, false);
    memory.setUint32(ip + offset + 12, clone + 1, false);
  }
  return ip + 40;
}

function sumOf(memory: DataView, start: number, length: number): number {
  let sum = 0;
  const even = start + (length & ~1);
  for (let at = start; at < even; at += 2) sum += memory.getUint16(at, false);
  return (length & 1) === 1 ? sum + (memory.getUint8(even) << 8) : sum;
}

function folded(sum: number): number {
  let word = sum;
  while (word > 0xffff) word = (word & 0xffff) + Math.floor(word / 0x1_0000);
  return ~word & 0xffff;
}
