/**
 * Crafting: making room for the ABS header at the start of the IP payload, and closing it again.
 * docs/wire.md "Carriers", "DATA"; design/agent.md "Egress" step 5, "Ingress" step 4.
 * Offsets are bytes of the pool. Room is made by moving the link and IP headers towards the front
 * (34 to 62 bytes) into the mbuf's headroom, never by moving the payload.
 * Hot path. Sealing and opening are the shim's; sessions and verdicts are the callers'.
 */

export const ABS_HEADER_BYTES = 32;
export const UDP_HEADER_BYTES = 8;
export const CARRIER_IP = 0;
export const CARRIER_UDP = 1;

const DONT_FRAGMENT = 0x4000;
const UDP_PROTOCOL = 17;

/**
 * Moves `count` bytes at `from` towards the front by `distance` (≥ 4). Works in words, so up to
 * three bytes past the moved range are overwritten; the caller writes the header there next.
 */
export function moveToFront(memory: DataView, from: number, count: number, distance: number): void {
  for (let i = 0; i < count; i += 4) {
    memory.setUint32(from - distance + i, memory.getUint32(from + i, true), true);
  }
}

/**
 * Moves `count` bytes at `from` towards the end by `distance` (≥ 4). Works in words from the end,
 * so up to three bytes before the new start are overwritten; they are headroom.
 */
export function moveToEnd(memory: DataView, from: number, count: number, distance: number): void {
  for (let i = count - 4; i > -4; i -= 4) {
    memory.setUint32(from + distance + i, memory.getUint32(from + i, true), true);
  }
}

/** Folds a sum of 16-bit words (RFC 1071) into 16 bits, not complemented. */
function fold(sum: number): number {
  const once = (sum & 0xffff) + (sum >>> 16);
  return (once & 0xffff) + (once >>> 16);
}

/**
 * Rewrites the three words of an IPv4 header that crafting changes and adjusts its checksum by
 * RFC 1624 equation 3, so that a header that was wrong before stays wrong.
 * @param ipStart offset of the header
 * @param totalLength new total length in bytes
 * @param fragmentField new flags and fragment offset, 16 bits
 * @param protocol new protocol number
 */
export function rewriteIpv4(
  memory: DataView,
  ipStart: number,
  totalLength: number,
  fragmentField: number,
  protocol: number,
): void {
  const oldLength = memory.getUint16(ipStart + 2, false);
  const oldFragment = memory.getUint16(ipStart + 6, false);
  const lifeAndProtocol = memory.getUint16(ipStart + 8, false);
  const newLifeAndProtocol = (lifeAndProtocol & 0xff00) | protocol;
  const sum =
    (~memory.getUint16(ipStart + 10, false) & 0xffff) +
    (~oldLength & 0xffff) +
    totalLength +
    (~oldFragment & 0xffff) +
    fragmentField +
    (~lifeAndProtocol & 0xffff) +
    newLifeAndProtocol;
  memory.setUint16(ipStart + 2, totalLength, false);
  memory.setUint16(ipStart + 6, fragmentField, false);
  memory.setUint16(ipStart + 8, newLifeAndProtocol, false);
  memory.setUint16(ipStart + 10, ~fold(sum) & 0xffff, false);
}

/**
 * Makes room in an IPv4 packet: moves its headers, rewrites them for the carrier and, for `udp`,
 * writes the UDP header with checksum 0.
 * @param start offset of the link header
 * @param ipStart offset of the IPv4 header (20 bytes, no options)
 * @param totalLength original total length in bytes
 * @param carrierProtocol 253 (or as configured) for `ip`; ignored for `udp`
 * @param ports source << 16 | destination port of the `udp` carrier; 0 means the `ip` carrier
 * Returns the packet's new start; the ABS header begins ABS_HEADER_BYTES before the payload.
 */
export function openRoomIpv4(
  memory: DataView,
  start: number,
  ipStart: number,
  totalLength: number,
  carrierProtocol: number,
  ports: number,
): number {
  const added = ports === 0 ? ABS_HEADER_BYTES : ABS_HEADER_BYTES + UDP_HEADER_BYTES;
  moveToFront(memory, start, ipStart + 20 - start, added);
  const newIpStart = ipStart - added;
  if (ports === 0) {
    rewriteIpv4(memory, newIpStart, totalLength + added, DONT_FRAGMENT, carrierProtocol);
    return start - added;
  }
  rewriteIpv4(memory, newIpStart, totalLength + added, DONT_FRAGMENT, UDP_PROTOCOL);
  memory.setUint32(newIpStart + 20, ports, false);
  memory.setUint32(newIpStart + 24, (totalLength + added - 20) << 16, false);
  return start - added;
}

/** As openRoomIpv4, for IPv6. The UDP checksum covers the proof: the caller's, after sealing. */
export function openRoomIpv6(
  memory: DataView,
  start: number,
  ipStart: number,
  payloadLength: number,
  carrierProtocol: number,
  ports: number,
): number {
  const added = ports === 0 ? ABS_HEADER_BYTES : ABS_HEADER_BYTES + UDP_HEADER_BYTES;
  moveToFront(memory, start, ipStart + 40 - start, added);
  const newIpStart = ipStart - added;
  memory.setUint16(newIpStart + 4, payloadLength + added, false);
  memory.setUint8(newIpStart + 6, ports === 0 ? carrierProtocol : UDP_PROTOCOL);
  if (ports !== 0) {
    memory.setUint32(newIpStart + 40, ports, false);
    memory.setUint32(newIpStart + 44, (payloadLength + added) << 16, false);
  }
  return start - added;
}

/**
 * Closes the room again: restores protocol, lengths and fragment field and moves the headers back.
 * @param added bytes between the IP header and the payload: 32 (`ip`) or 40 (`udp`)
 * Returns the packet's new start.
 */
export function closeRoomIpv4(
  memory: DataView,
  start: number,
  ipStart: number,
  added: number,
  protocol: number,
  fragmentField: number,
): number {
  const totalLength = memory.getUint16(ipStart + 2, false) - added;
  rewriteIpv4(memory, ipStart, totalLength, fragmentField, protocol);
  moveToEnd(memory, start, ipStart + 20 - start, added);
  return start + added;
}

/** As closeRoomIpv4, for IPv6; `nextHeader` is the original next header. */
export function closeRoomIpv6(
  memory: DataView,
  start: number,
  ipStart: number,
  added: number,
  nextHeader: number,
): number {
  memory.setUint16(ipStart + 4, memory.getUint16(ipStart + 4, false) - added, false);
  memory.setUint8(ipStart + 6, nextHeader);
  moveToEnd(memory, start, ipStart + 40 - start, added);
  return start + added;
}

/**
 * Writes the 32 bytes before sealing (docs/wire.md "DATA"): the proof field holds the address
 * hash, the original length and the identification.
 * @param header offset of the ABS header
 * @param word0 version, flag, next header and fragment field as one word
 * @param laneAndHigh lane << 24 | upper 24 bits of the counter
 * @param pseudoEnd original length << 16 | identification
 */
export function writeDataHeader(
  memory: DataView,
  header: number,
  word0: number,
  receiverIndex: number,
  laneAndHigh: number,
  counterLow: number,
  hash0: number,
  hash1: number,
  hash2: number,
  pseudoEnd: number,
): void {
  memory.setUint32(header, word0, false);
  memory.setUint32(header + 4, receiverIndex, false);
  memory.setUint32(header + 8, laneAndHigh, false);
  memory.setUint32(header + 12, counterLow, false);
  memory.setUint32(header + 16, hash0, false);
  memory.setUint32(header + 20, hash1, false);
  memory.setUint32(header + 24, hash2, false);
  memory.setUint32(header + 28, pseudoEnd, false);
}
