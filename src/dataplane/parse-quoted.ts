/**
 * The packet that an ICMP error quotes: cut short, so its lengths say what it was, not what is
 * here. Hot path. Used to find the flow an error belongs to (docs/wire.md "Fragments and ICMP"):
 * names addresses, protocol and ports (or the echo identifier), and the sequence number of a TCP
 * segment.
 */
import { DROP } from "./drop-reasons.ts";
import { IPV4_HEADER_BYTES_MIN, IPV4_OFFSET_MASK } from "./parse-ipv4.ts";
import { IPV6_HEADER_BYTES, walkExtensions } from "./parse-ipv6.ts";
import {
  beginsWithPorts,
  clearAll,
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  PARSED,
  type ParsedPacket,
  PROTOCOL_ICMP,
  PROTOCOL_ICMPV6,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
} from "./parsed-packet.ts";

/** RFC 792 promises this much of the quoted packet's payload. */
const QUOTED_PAYLOAD_BYTES_MIN = 8;

/**
 * Reads the quoted packet in [start, end). `ipEnd` and `payloadEnd` are where the quote ends.
 * `transportStart` is 0 when a later fragment is quoted: it names no flow.
 */
export function parseQuoted(
  memory: DataView,
  start: number,
  end: number,
  out: ParsedPacket,
): number {
  clearAll(out);
  out.linkStart = start;
  out.ipStart = start;
  out.plain = 0;
  if (end - start < IPV4_HEADER_BYTES_MIN) return DROP.quoteTruncated;
  const version = memory.getUint8(start) >>> 4;
  if (version === 4) return parseQuotedIpv4(memory, start, end, out);
  if (version === 6) return parseQuotedIpv6(memory, start, end, out);
  return DROP.ipVersion;
}

function parseQuotedIpv4(memory: DataView, start: number, end: number, out: ParsedPacket): number {
  const headerBytes = (memory.getUint8(start) & 0x0f) * 4;
  if (headerBytes < IPV4_HEADER_BYTES_MIN) return DROP.ipv4HeaderLength;
  if (end - start < headerBytes) return DROP.quoteTruncated;
  const totalBytes = memory.getUint16(start + 2, false);
  if (totalBytes < headerBytes) return DROP.ipv4TotalLength;
  const field = memory.getUint16(start + 6, false);
  out.etherType = ETHERTYPE_IPV4;
  out.ipVersion = 4;
  out.ipOptions = headerBytes > IPV4_HEADER_BYTES_MIN ? 1 : 0;
  out.ipProtocol = memory.getUint8(start + 9);
  out.transportProtocol = out.ipProtocol;
  out.timeToLive = memory.getUint8(start + 8);
  out.identification = memory.getUint16(start + 4, false);
  out.fragmentField = field;
  out.dontFragment = (field >>> 14) & 1;
  out.source3Word = memory.getInt32(start + 12, false);
  out.destination3Word = memory.getInt32(start + 16, false);
  out.ipPayloadStart = start + headerBytes;
  out.ipEnd = Math.min(start + totalBytes, end);
  out.payloadStart = out.ipPayloadStart;
  out.moreFragments = (field >>> 13) & 1;
  out.fragmentOffsetBytes = (field & IPV4_OFFSET_MASK) * 8;
  if (out.moreFragments === 1 || out.fragmentOffsetBytes !== 0) {
    out.isFragment = 1;
    out.fragmentDataStart = out.ipPayloadStart;
  }
  return parseQuotedTransport(memory, out);
}

function parseQuotedIpv6(memory: DataView, start: number, end: number, out: ParsedPacket): number {
  if (end - start < IPV6_HEADER_BYTES) return DROP.quoteTruncated;
  const payloadStart = start + IPV6_HEADER_BYTES;
  const quotedEnd = payloadStart + memory.getUint16(start + 4, false);
  out.etherType = ETHERTYPE_IPV6;
  out.ipVersion = 6;
  out.ipProtocol = memory.getUint8(start + 6);
  out.timeToLive = memory.getUint8(start + 7);
  out.source0Word = memory.getInt32(start + 8, false);
  out.source1Word = memory.getInt32(start + 12, false);
  out.source2Word = memory.getInt32(start + 16, false);
  out.source3Word = memory.getInt32(start + 20, false);
  out.destination0Word = memory.getInt32(start + 24, false);
  out.destination1Word = memory.getInt32(start + 28, false);
  out.destination2Word = memory.getInt32(start + 32, false);
  out.destination3Word = memory.getInt32(start + 36, false);
  out.ipPayloadStart = payloadStart;
  out.ipEnd = Math.min(quotedEnd, end);
  const walked = walkExtensions(memory, out.ipProtocol, payloadStart, out.ipEnd, out);
  if (walked === DROP.ipv6ExtensionTruncated || walked === DROP.fragmentFirstShort) {
    return DROP.quoteTruncated;
  }
  return walked === PARSED ? parseQuotedTransport(memory, out) : walked;
}

function parseQuotedTransport(memory: DataView, out: ParsedPacket): number {
  const start = out.payloadStart;
  const protocol = out.transportProtocol;
  out.payloadEnd = out.ipEnd;
  if (out.fragmentOffsetBytes !== 0) return PARSED;
  if (out.ipEnd - start < QUOTED_PAYLOAD_BYTES_MIN) return DROP.quoteTruncated;
  out.transportStart = start;
  if (protocol === PROTOCOL_TCP || protocol === PROTOCOL_UDP || beginsWithPorts(protocol)) {
    out.sourcePort = memory.getUint16(start, false);
    out.destinationPort = memory.getUint16(start + 2, false);
    if (protocol === PROTOCOL_TCP) out.tcpSequenceWord = memory.getInt32(start + 4, false);
  } else if (protocol === (out.ipVersion === 4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6)) {
    const type = memory.getUint8(start);
    out.icmpType = type;
    out.icmpCode = memory.getUint8(start + 1);
    if (out.ipVersion === 4 ? (type & 0xf7) === 0 : (type & 0xfe) === 128) {
      out.sourcePort = memory.getUint16(start + 4, false);
      out.destinationPort = out.sourcePort;
    }
  }
  return PARSED;
}
