/**
 * Headers of one captured packet: IPv4, IPv6 with extension headers, TCP, UDP, SCTP, ICMP. Hot
 * path. Unlike the agent's parsers these refuse little: a capture may have kept only the start of a
 * packet, or hold packets before the card divided them (a total length of 0). What is there is
 * used, within the packet's captured end; numbers of one packet are written over those of the last.
 */

export const PROTOCOL_ICMP = 1;
export const PROTOCOL_TCP = 6;
export const PROTOCOL_UDP = 17;
export const PROTOCOL_ICMPV6 = 58;
export const PROTOCOL_SCTP = 132;

export const TCP_FIN = 0x01;
export const TCP_SYN = 0x02;
export const TCP_RST = 0x04;
export const TCP_ACK = 0x10;

/** Answers of parseHeaders(). */
export const HEADERS = 0;
/** Part of a packet: addresses, protocol and the fields of fragments are written. */
export const FRAGMENT = 1;
export const MALFORMED = 2;

const EXTENSION_HOPS = 0;
const EXTENSION_ROUTING = 43;
const EXTENSION_FRAGMENT = 44;
const EXTENSION_AUTHENTICATION = 51;
const EXTENSION_OPTIONS = 60;
const EXTENSION_MOBILITY = 135;
/** Extension headers of one packet that are followed. */
const EXTENSIONS_MAX = 16;

const SCTP_DATA = 0;

export class PacketHeaders {
  /** 4 or 6. */
  version = 0;
  /** Addresses as signed big-endian words; IPv4 is in word 3 and the rest are 0. */
  source0 = 0;
  source1 = 0;
  source2 = 0;
  source3 = 0;
  destination0 = 0;
  destination1 = 0;
  destination2 = 0;
  destination3 = 0;
  protocol = 0;
  /** Of ICMP echo both are the identifier, as the agent has it. */
  sourcePort = 0;
  destinationPort = 0;
  /** First byte after the IP headers; of a fragment: its data. */
  transportStart = 0;
  payloadStart = 0;
  /** End of what was captured of the payload. */
  payloadEnd = 0;
  /** Length of the payload on the wire. */
  payloadBytes = 0;
  tcpFlags = 0;
  tcpSequence = 0;
  tcpAcknowledgement = 0;
  fragmentOffset = 0;
  moreFragments = 0;
  identification = 0;
  /** End of the IP packet by its own length; its captured end may come earlier. */
  wireEnd = 0;
}

/** Parses the IP packet at `start`, of which the bytes to `end` were captured. */
export function parseHeaders(
  memory: DataView,
  start: number,
  end: number,
  out: PacketHeaders,
): number {
  if (end - start < 20) return MALFORMED;
  const first = memory.getUint8(start);
  if (first >>> 4 === 4) return parseIpv4(memory, first, start, end, out);
  if (first >>> 4 === 6) return parseIpv6(memory, start, end, out);
  return MALFORMED;
}

function parseIpv4(
  memory: DataView,
  first: number,
  start: number,
  end: number,
  out: PacketHeaders,
): number {
  const headerBytes = (first & 15) << 2;
  if (headerBytes < 20) return MALFORMED;
  const lengthAndId = memory.getInt32(start + 2, false);
  const fragmentTtlProtocol = memory.getInt32(start + 6, false);
  const total = lengthAndId >>> 16;
  // 0: the sending card was to divide it, so that what was captured is the packet.
  const wireEnd = total === 0 ? end : start + total;
  const transport = start + headerBytes;
  if (wireEnd < transport || transport > end) return MALFORMED;
  out.version = 4;
  out.source0 = 0;
  out.source1 = 0;
  out.source2 = 0;
  out.source3 = memory.getInt32(start + 12, false);
  out.destination0 = 0;
  out.destination1 = 0;
  out.destination2 = 0;
  out.destination3 = memory.getInt32(start + 16, false);
  const protocol = fragmentTtlProtocol & 0xff;
  out.protocol = protocol;
  out.transportStart = transport;
  out.wireEnd = wireEnd;
  const capturedEnd = wireEnd < end ? wireEnd : end;
  if ((fragmentTtlProtocol & 0x3fff_0000) !== 0) {
    out.fragmentOffset = ((fragmentTtlProtocol >>> 16) & 0x1fff) << 3;
    out.moreFragments = (fragmentTtlProtocol >>> 29) & 1;
    out.identification = lengthAndId & 0xffff;
    out.payloadStart = transport;
    out.payloadEnd = capturedEnd;
    return FRAGMENT;
  }
  return parseTransport(memory, protocol, transport, capturedEnd, wireEnd, out);
}

function parseIpv6(memory: DataView, start: number, end: number, out: PacketHeaders): number {
  if (end - start < 40) return MALFORMED;
  const payloadBytes = memory.getUint16(start + 4, false);
  const wireEnd = payloadBytes === 0 ? end : start + 40 + payloadBytes;
  const capturedEnd = wireEnd < end ? wireEnd : end;
  out.version = 6;
  out.source0 = memory.getInt32(start + 8, false);
  out.source1 = memory.getInt32(start + 12, false);
  out.source2 = memory.getInt32(start + 16, false);
  out.source3 = memory.getInt32(start + 20, false);
  out.destination0 = memory.getInt32(start + 24, false);
  out.destination1 = memory.getInt32(start + 28, false);
  out.destination2 = memory.getInt32(start + 32, false);
  out.destination3 = memory.getInt32(start + 36, false);
  out.wireEnd = wireEnd;
  let next = memory.getUint8(start + 6);
  let at = start + 40;
  for (let count = 0; count < EXTENSIONS_MAX && isExtension(next); count++) {
    if (at + 8 > capturedEnd) return MALFORMED;
    const type = next;
    next = memory.getUint8(at);
    if (type === EXTENSION_FRAGMENT) {
      const field = memory.getUint16(at + 2, false);
      const identification = memory.getInt32(at + 4, false);
      at += 8;
      // An only fragment is a whole packet (RFC 6946).
      if ((field & 0xfff9) === 0) continue;
      out.protocol = next;
      out.fragmentOffset = field & 0xfff8;
      out.moreFragments = field & 1;
      out.identification = identification;
      out.transportStart = at;
      out.payloadStart = at;
      out.payloadEnd = capturedEnd;
      return FRAGMENT;
    }
    const words = memory.getUint8(at + 1);
    at += type === EXTENSION_AUTHENTICATION ? (words + 2) << 2 : (words + 1) << 3;
    if (at > capturedEnd) return MALFORMED;
  }
  out.protocol = next;
  out.transportStart = at;
  return parseTransport(memory, next, at, capturedEnd, wireEnd, out);
}

function isExtension(next: number): boolean {
  return (
    next === EXTENSION_HOPS ||
    next === EXTENSION_ROUTING ||
    next === EXTENSION_FRAGMENT ||
    next === EXTENSION_AUTHENTICATION ||
    next === EXTENSION_OPTIONS ||
    next === EXTENSION_MOBILITY
  );
}

/**
 * Reads the transport header at `start`: [start, end) was captured, `wireEnd` is where the packet
 * ended on the wire. A header cut short leaves ports that were captured, and no payload.
 */
export function parseTransport(
  memory: DataView,
  protocol: number,
  start: number,
  end: number,
  wireEnd: number,
  out: PacketHeaders,
): number {
  if (protocol === PROTOCOL_TCP) return parseTcp(memory, start, end, wireEnd, out);
  out.tcpFlags = 0;
  out.tcpSequence = 0;
  out.tcpAcknowledgement = 0;
  out.sourcePort = 0;
  out.destinationPort = 0;
  if (protocol === PROTOCOL_UDP) return parseUdp(memory, start, end, wireEnd, out);
  if (protocol === PROTOCOL_SCTP) return parseSctp(memory, start, end, out);
  out.payloadStart = start;
  if (protocol === PROTOCOL_ICMP || protocol === PROTOCOL_ICMPV6) {
    if (end - start < 8) return MALFORMED;
    const type = memory.getUint8(start);
    const isEcho = protocol === PROTOCOL_ICMP ? (type & 0xf7) === 0 : (type & 0xfe) === 128;
    if (isEcho) {
      out.sourcePort = memory.getUint16(start + 4, false);
      out.destinationPort = out.sourcePort;
    }
    out.payloadStart = start + 8;
  }
  out.payloadEnd = end;
  out.payloadBytes = wireEnd - out.payloadStart;
  return HEADERS;
}

function parseTcp(
  memory: DataView,
  start: number,
  end: number,
  wireEnd: number,
  out: PacketHeaders,
): number {
  if (end - start < 14) return MALFORMED;
  const ports = memory.getInt32(start, false);
  out.sourcePort = ports >>> 16;
  out.destinationPort = ports & 0xffff;
  out.tcpSequence = memory.getInt32(start + 4, false);
  out.tcpAcknowledgement = memory.getInt32(start + 8, false);
  const offsetAndFlags = memory.getUint16(start + 12, false);
  const headerBytes = (offsetAndFlags >>> 12) << 2;
  const payload = start + headerBytes;
  if (headerBytes < 20 || payload > wireEnd) return MALFORMED;
  out.tcpFlags = offsetAndFlags & 0xff;
  out.payloadStart = payload < end ? payload : end;
  out.payloadEnd = end;
  out.payloadBytes = wireEnd - payload;
  return HEADERS;
}

function parseUdp(
  memory: DataView,
  start: number,
  end: number,
  wireEnd: number,
  out: PacketHeaders,
): number {
  if (end - start < 8) return MALFORMED;
  const ports = memory.getInt32(start, false);
  out.sourcePort = ports >>> 16;
  out.destinationPort = ports & 0xffff;
  const length = memory.getUint16(start + 4, false);
  // 0: a jumbogram or not filled in. More than there is: believed, the rest was not captured.
  const room = wireEnd - start;
  const bytes = length < 8 || length > room ? room : length;
  const payloadEnd = start + bytes;
  out.payloadStart = start + 8;
  out.payloadEnd = payloadEnd < end ? payloadEnd : end;
  out.payloadBytes = bytes - 8;
  return HEADERS;
}

/** RFC 9260 §3: ports, then chunks; the payload is the user data of the first chunk of data. */
function parseSctp(memory: DataView, start: number, end: number, out: PacketHeaders): number {
  if (end - start < 12) return MALFORMED;
  out.sourcePort = memory.getUint16(start, false);
  out.destinationPort = memory.getUint16(start + 2, false);
  out.payloadStart = end;
  out.payloadEnd = end;
  out.payloadBytes = 0;
  let at = start + 12;
  for (let chunk = 0; chunk < EXTENSIONS_MAX && at + 16 <= end; chunk++) {
    const length = memory.getUint16(at + 2, false);
    if (length < 4) return HEADERS;
    if (memory.getUint8(at) === SCTP_DATA) {
      if (length < 16) return HEADERS;
      out.payloadStart = at + 16;
      out.payloadEnd = at + length < end ? at + length : end;
      out.payloadBytes = length - 16;
      return HEADERS;
    }
    at += (length + 3) & ~3;
  }
  return HEADERS;
}
