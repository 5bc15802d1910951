/**
 * Packets with which the agent answers one: packet too big (RFC 1191, 8201), administratively
 * prohibited (RFC 1812 §5.2.7.1, 4443 §3.1) and TCP reset (RFC 9293 §3.5.2, §3.10.7).
 * Hot path. Each is written as a frame at `target`, in a buffer of its own: link header turned
 * round with its VLAN tags, from the packet's destination address to its source, checksums right.
 * Each returns the frame's length, or 0 when no answer may be sent. Rates are the caller's.
 */
import { writeTransportChecksum } from "./checksum.ts";
import { moveBytes, writeIpv4Reply, writeIpv6Reply, writeLinkReply } from "./ip-headers.ts";
import {
  type ParsedPacket,
  PROTOCOL_ICMP,
  PROTOCOL_ICMPV6,
  PROTOCOL_TCP,
  TCP_ACK,
  TCP_FIN,
  TCP_RST,
  TCP_SYN,
} from "./parsed-packet.ts";

const ICMP_HEADER_BYTES = 8;
const TCP_HEADER_BYTES = 20;
const IPV4_ERROR_BYTES_MAX = 576; // RFC 1812 §4.3.2.3
const IPV6_ERROR_BYTES_MAX = 1_280; // RFC 4443 §2.4 (c)

const ICMP_UNREACHABLE = 3;
const ICMP_FRAGMENTATION_NEEDED = 4;
const ICMP_PROHIBITED = 13;
const ICMPV6_UNREACHABLE = 1;
const ICMPV6_PROHIBITED = 1;
const ICMPV6_TOO_BIG = 2;

/** Buffer bytes that hold any answer: link header with two tags and the longest ICMPv6 error. */
export const REPLY_BYTES_MAX = 22 + IPV6_ERROR_BYTES_MAX;

/** Fragmentation Needed or Packet Too Big: `mtu` is the largest IP packet that passes, in bytes. */
export function writeTooBig(
  memory: DataView,
  packet: ParsedPacket,
  mtu: number,
  target: number,
): number {
  if (packet.ipVersion === 4) {
    const typeAndCode = (ICMP_UNREACHABLE << 8) | ICMP_FRAGMENTATION_NEEDED;
    return writeError(memory, packet, typeAndCode, mtu & 0xffff, target);
  }
  return writeError(memory, packet, ICMPV6_TOO_BIG << 8, mtu, target);
}

/** Communication administratively prohibited. */
export function writeProhibited(memory: DataView, packet: ParsedPacket, target: number): number {
  const typeAndCode =
    packet.ipVersion === 4
      ? (ICMP_UNREACHABLE << 8) | ICMP_PROHIBITED
      : (ICMPV6_UNREACHABLE << 8) | ICMPV6_PROHIBITED;
  return writeError(memory, packet, typeAndCode, 0, target);
}

/** A reset that the sender of this segment accepts; never an answer to a reset. */
export function writeReset(memory: DataView, packet: ParsedPacket, target: number): number {
  if (packet.transportProtocol !== PROTOCOL_TCP || packet.transportStart === 0) return 0;
  const flags = packet.tcpFlags;
  // A fragment does not tell the segment's length.
  if ((flags & TCP_RST) !== 0 || packet.isFragment === 1 || !mayAnswer(packet)) return 0;
  const linkBytes = writeLinkReply(memory, packet, target);
  const ipStart = target + linkBytes;
  const ipHeaderBytes = writeIpReply(memory, packet, ipStart, PROTOCOL_TCP, TCP_HEADER_BYTES);
  const start = ipStart + ipHeaderBytes;
  memory.setUint16(start, packet.destinationPort, false);
  memory.setUint16(start + 2, packet.sourcePort, false);
  if ((flags & TCP_ACK) !== 0) {
    memory.setUint32(start + 4, packet.tcpAcknowledgement, false);
    memory.setUint32(start + 8, 0, false);
    memory.setUint16(start + 12, 0x5000 | TCP_RST, false);
  } else {
    const controls = ((flags & TCP_SYN) >>> 1) + (flags & TCP_FIN);
    const segmentBytes = packet.payloadEnd - packet.payloadStart + controls;
    memory.setUint32(start + 4, 0, false);
    memory.setUint32(start + 8, (packet.tcpSequence + segmentBytes) >>> 0, false);
    memory.setUint16(start + 12, 0x5000 | TCP_RST | TCP_ACK, false);
  }
  memory.setUint32(start + 14, 0, false); // window and checksum
  memory.setUint16(start + 18, 0, false);
  const end = start + TCP_HEADER_BYTES;
  writeTransportChecksum(memory, packet.ipVersion, ipStart, PROTOCOL_TCP, start, end);
  return end - target;
}

function writeError(
  memory: DataView,
  packet: ParsedPacket,
  typeAndCode: number,
  parameter: number,
  target: number,
): number {
  if (packet.icmpQuotes === 1 || packet.fragmentOffsetBytes !== 0 || !mayAnswer(packet)) return 0;
  const v4 = packet.ipVersion === 4;
  const protocol = v4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6;
  const limit = v4
    ? IPV4_ERROR_BYTES_MAX - 20 - ICMP_HEADER_BYTES
    : IPV6_ERROR_BYTES_MAX - 40 - ICMP_HEADER_BYTES;
  const quotedBytes = Math.min(packet.ipEnd - packet.ipStart, limit);
  const ipStart = target + writeLinkReply(memory, packet, target);
  const icmpBytes = ICMP_HEADER_BYTES + quotedBytes;
  const start = ipStart + writeIpReply(memory, packet, ipStart, protocol, icmpBytes);
  memory.setUint16(start, typeAndCode, false);
  memory.setUint16(start + 2, 0, false);
  memory.setUint32(start + 4, parameter, false);
  moveBytes(memory, packet.ipStart, start + ICMP_HEADER_BYTES, quotedBytes);
  const end = start + icmpBytes;
  writeTransportChecksum(memory, packet.ipVersion, ipStart, protocol, start, end);
  return end - target;
}

function writeIpReply(
  memory: DataView,
  packet: ParsedPacket,
  ipStart: number,
  protocol: number,
  payloadBytes: number,
): number {
  if (packet.ipVersion === 4) {
    writeIpv4Reply(memory, packet, ipStart, protocol, payloadBytes);
    return 20;
  }
  writeIpv6Reply(memory, packet, ipStart, protocol, payloadBytes);
  return 40;
}

/**
 * Neither end is a group, and the source names one host (RFC 1122 §3.2.2, RFC 4443 §2.4 (e)).
 */
function mayAnswer(packet: ParsedPacket): boolean {
  if (packet.ipVersion === 4) return isHost4(packet.source3) && isHost4(packet.destination3);
  if (packet.ipVersion !== 6) return false;
  const unspecified =
    packet.source0 === 0 && packet.source1 === 0 && packet.source2 === 0 && packet.source3 === 0;
  const group = packet.source0 >>> 24 === 0xff || packet.destination0 >>> 24 === 0xff;
  return !unspecified && !group;
}

/** Not 0/8, 127/8, multicast, reserved or broadcast. */
function isHost4(address: number): boolean {
  const first = address >>> 24;
  return first !== 0 && first !== 127 && first < 224;
}
