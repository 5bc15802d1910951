/**
 * The UDP checksum of the `udp` carrier over IPv6, where it must not be zero (RFC 8200 §8.1).
 * docs/wire.md "Carriers". It covers the proof, so it is computed after sealing.
 * Hot path.
 */

const UDP_PROTOCOL = 17;

/**
 * Computes and writes the checksum of the UDP datagram right behind the IPv6 header at `ipStart`.
 * The length is the UDP header's own; the caller wrote it, and the checksum field holds zero.
 */
export function udp6Checksum(memory: DataView, ipStart: number): void {
  const udpStart = ipStart + 40;
  const length = memory.getUint16(udpStart + 4, false);
  let sum = UDP_PROTOCOL + length;
  for (let i = ipStart + 8; i < udpStart; i += 2) sum += memory.getUint16(i, false);
  const evenEnd = udpStart + (length & ~1);
  for (let i = udpStart; i < evenEnd; i += 2) sum += memory.getUint16(i, false);
  if ((length & 1) !== 0) sum += memory.getUint8(evenEnd) << 8;
  sum = (sum & 0xffff) + (sum >>> 16);
  sum = (sum & 0xffff) + (sum >>> 16);
  const checksum = ~sum & 0xffff;
  memory.setUint16(udpStart + 6, checksum === 0 ? 0xffff : checksum, false);
}
