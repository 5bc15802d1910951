/**
 * Transport headers: TCP (RFC 9293 §3.1), UDP (RFC 768), ICMP (RFC 792), ICMPv6 (RFC 4443);
 * of DCCP, SCTP and UDP-Lite the ports, which rules name.
 * Hot path. Called for whole packets and first fragments only; a first fragment that does not
 * hold the whole header is refused as such (docs/wire.md "Fragments and ICMP").
 * Checksums are not verified here: the receiving kernel does, and rewriting keeps a wrong one
 * wrong.
 */
import { DROP } from "./drop-reasons.ts";
import {
  beginsWithPorts,
  clearTransport,
  PARSED,
  type ParsedPacket,
  PROTOCOL_ICMP,
  PROTOCOL_ICMPV6,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
} from "./parsed-packet.ts";

export const TCP_HEADER_BYTES_MIN = 20;
export const UDP_HEADER_BYTES = 8;
const ICMP_HEADER_BYTES = 8;
const PORTS_BYTES = 4;

/**
 * Bit n is set when the flags n (URG 32, ACK 16, PSH 8, RST 4, SYN 2, FIN 1) are a combination
 * that TCPs send: SYN, RST, SYN+ACK, RST+ACK, ACK, FIN+ACK, with PSH or not; and with URG: SYN,
 * ACK, FIN+ACK. The list is that of Linux connection tracking. Two words: flags 0-31 and 32-63.
 */
const TCP_FLAGS_LOW = 0x1717_1414; // 2 4 10 12 16 17 18 20 24 25 26 28
const TCP_FLAGS_HIGH = 0x0303_0404; // 34 42 48 49 56 57

/**
 * Reads the transport header of `protocol` at `start`; `end` is the end of the IP packet.
 * `out.ipVersion` and `out.isFragment` are known already. All transport fields but the ICMP ones
 * are written; those are 0 on entry.
 */
export function parseTransport(
  memory: DataView,
  protocol: number,
  start: number,
  end: number,
  out: ParsedPacket,
): number {
  if (protocol === PROTOCOL_TCP) return parseTcp(memory, start, end, out);
  if (protocol === PROTOCOL_UDP) return parseUdp(memory, start, end, out);
  out.transportProtocol = protocol;
  out.transportStart = start;
  out.sourcePort = 0;
  out.destinationPort = 0;
  out.tcpFlags = 0;
  out.tcpSequenceWord = 0;
  out.tcpAcknowledgementWord = 0;
  out.payloadStart = start;
  out.payloadEnd = end;
  if (protocol === PROTOCOL_ICMP && out.ipVersion === 4) return parseIcmp(memory, start, end, out);
  if (protocol === PROTOCOL_ICMPV6 && out.ipVersion === 6) {
    return parseIcmp(memory, start, end, out);
  }
  if (beginsWithPorts(protocol) && end - start >= PORTS_BYTES) {
    out.sourcePort = memory.getUint16(start, false);
    out.destinationPort = memory.getUint16(start + 2, false);
  }
  return PARSED;
}

export function parseTcp(memory: DataView, start: number, end: number, out: ParsedPacket): number {
  if (end - start < TCP_HEADER_BYTES_MIN)
    return refuse(out, PROTOCOL_TCP, start, DROP.tcpTruncated);
  const ports = memory.getInt32(start, false);
  const offsetAndFlags = memory.getUint16(start + 12, false);
  const headerBytes = (offsetAndFlags >>> 12) * 4;
  if (headerBytes < TCP_HEADER_BYTES_MIN || end - start < headerBytes) {
    const cut = refuse(out, PROTOCOL_TCP, start, DROP.tcpHeaderLength);
    // A first fragment may be cut short; a length below the minimum is wrong in any packet.
    return headerBytes < TCP_HEADER_BYTES_MIN ? DROP.tcpHeaderLength : cut;
  }
  out.transportProtocol = PROTOCOL_TCP;
  out.transportStart = start;
  out.sourcePort = ports >>> 16;
  out.destinationPort = ports & 0xffff;
  out.tcpSequenceWord = memory.getInt32(start + 4, false);
  out.tcpAcknowledgementWord = memory.getInt32(start + 8, false);
  out.tcpFlags = offsetAndFlags & 0xff;
  out.payloadStart = start + headerBytes;
  out.payloadEnd = end;
  // A shift uses its count modulo 32, so bit 5 (URG) only chooses the word.
  const known = (offsetAndFlags & 0x20) === 0 ? TCP_FLAGS_LOW : TCP_FLAGS_HIGH;
  return ((known >>> (offsetAndFlags & 0x1f)) & 1) === 1 ? PARSED : DROP.tcpFlags;
}

export function parseUdp(memory: DataView, start: number, end: number, out: ParsedPacket): number {
  if (end - start < UDP_HEADER_BYTES) return refuse(out, PROTOCOL_UDP, start, DROP.udpTruncated);
  const ports = memory.getInt32(start, false);
  const datagramBytes = memory.getUint16(start + 4, false);
  out.transportProtocol = PROTOCOL_UDP;
  out.transportStart = start;
  out.sourcePort = ports >>> 16;
  out.destinationPort = ports & 0xffff;
  out.tcpFlags = 0;
  out.tcpSequenceWord = 0;
  out.tcpAcknowledgementWord = 0;
  out.payloadStart = start + UDP_HEADER_BYTES;
  // Bytes after the datagram (RFC 9868 surplus) never reach the application: not its payload.
  out.payloadEnd = out.isFragment === 1 ? end : start + datagramBytes;
  if (datagramBytes >= UDP_HEADER_BYTES && out.payloadEnd <= end) return PARSED;
  out.payloadEnd = end;
  return DROP.udpLength;
}

function parseIcmp(memory: DataView, start: number, end: number, out: ParsedPacket): number {
  const protocol = out.transportProtocol;
  if (end - start < ICMP_HEADER_BYTES) return refuse(out, protocol, start, DROP.icmpTruncated);
  const type = memory.getUint8(start);
  out.plain = 0;
  out.icmpType = type;
  out.icmpCode = memory.getUint8(start + 1);
  out.payloadStart = start + ICMP_HEADER_BYTES;
  if (protocol === PROTOCOL_ICMP ? (type & 0xf7) === 0 : (type & 0xfe) === 128) {
    // Echo and echo reply: 0 and 8, or 128 and 129. The identifier stands for both ports.
    out.sourcePort = memory.getUint16(start + 4, false);
    out.destinationPort = out.sourcePort;
  } else if (protocol === PROTOCOL_ICMP) {
    // Unreachable 3, source quench 4, redirect 5, time exceeded 11, parameter problem 12.
    const quotes = (type >= 3 && type <= 5) || type === 11 || type === 12;
    out.icmpQuotes = quotes ? 1 : 0;
  } else if (type < 128) {
    out.icmpQuotes = 1;
  }
  return PARSED;
}

function refuse(out: ParsedPacket, protocol: number, start: number, reason: number): number {
  clearTransport(out);
  out.transportProtocol = protocol;
  out.transportStart = start;
  return out.isFragment === 1 ? DROP.fragmentFirstShort : reason;
}
