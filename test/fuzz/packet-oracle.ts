/**
 * The parsers once more, slow and obvious, for tests: one exception a reason, one fresh object a
 * packet, bytes of an array that ends where the packet ends. Reasons are names of `DROP`.
 */
import { DROP } from "../../src/dataplane/drop-reasons.ts";
import { ParsedPacket } from "../../src/dataplane/parsed-packet.ts";

class Refused extends Error {
  constructor(readonly reason: keyof typeof DROP) {
    super(reason);
  }
}

/** Bytes from `at` to the end of what holds them; reading past it is an error of the oracle. */
class Reader {
  constructor(
    readonly bytes: Uint8Array,
    readonly at: number,
    readonly end: number,
  ) {}

  get left(): number {
    return this.end - this.at;
  }

  u8(offset: number): number {
    if (offset < 0 || this.at + offset >= this.end)
      throw new Error("the oracle reads past the end");
    return this.bytes[this.at + offset];
  }

  u16(offset: number): number {
    return this.u8(offset) * 256 + this.u8(offset + 1);
  }

  u32(offset: number): number {
    return this.u16(offset) * 65_536 + this.u16(offset + 2);
  }

  skip(count: number): Reader {
    return new Reader(this.bytes, this.at + count, this.end);
  }

  take(count: number): Reader {
    return new Reader(this.bytes, this.at, this.at + count);
  }

  need(count: number, reason: keyof typeof DROP): void {
    if (this.left < count) throw new Refused(reason);
  }
}

export interface OracleAnswer {
  /** 0 or a code of DROP. */
  code: number;
  /** All fields as parsed; meaningful when `code` is 0. */
  packet: ParsedPacket;
}

/** What parsePacket should answer for this frame. */
export function oracleFrame(frame: Uint8Array): OracleAnswer {
  return answer((packet) => readFrame(new Reader(frame, 0, frame.length), packet));
}

/** What parseIpAt should answer for this IP packet. */
export function oracleIp(bytes: Uint8Array): OracleAnswer {
  return answer((packet) => {
    const reader = new Reader(bytes, 0, bytes.length);
    reader.need(1, "ipv4Truncated");
    const version = reader.u8(0) >> 4;
    if (version !== 4 && version !== 6) throw new Refused("ipVersion");
    packet.etherType = version === 4 ? 0x0800 : 0x86dd;
    if (version === 4) readIpv4(reader, packet);
    else readIpv6(reader, packet);
  });
}

function answer(read: (packet: ParsedPacket) => void): OracleAnswer {
  const packet = new ParsedPacket();
  try {
    read(packet);
    return { code: 0, packet };
  } catch (thrown) {
    if (!(thrown instanceof Refused)) throw thrown;
    return { code: DROP[thrown.reason], packet };
  }
}

function readFrame(frame: Reader, packet: ParsedPacket): void {
  frame.need(14, "linkTruncated");
  let rest = frame.skip(12);
  const ids: number[] = [];
  while ([0x8100, 0x88a8, 0x9100].includes(rest.u16(0))) {
    if (ids.length === 2) throw new Refused("vlanDepth");
    rest.need(6, "vlanTruncated");
    ids.push(rest.u16(2) % 4096);
    rest = rest.skip(4);
  }
  packet.vlanCount = ids.length;
  packet.vlanId = ids.at(-1) ?? 0;
  packet.vlanOuterId = ids.length === 2 ? ids[0] : 0;
  packet.etherType = rest.u16(0);
  packet.ipStart = rest.at + 2;
  if (packet.etherType === 0x0800) readIpv4(rest.skip(2), packet);
  else if (packet.etherType === 0x86dd) readIpv6(rest.skip(2), packet);
  else if (packet.etherType !== 0x0806) throw new Refused("etherType");
}

function readIpv4(ip: Reader, packet: ParsedPacket): void {
  ip.need(20, "ipv4Truncated");
  if (ip.u8(0) >> 4 !== 4) throw new Refused("ipVersion");
  const headerBytes = (ip.u8(0) % 16) * 4;
  if (headerBytes < 20) throw new Refused("ipv4HeaderLength");
  ip.need(headerBytes, "ipv4Truncated");
  const totalBytes = ip.u16(2);
  if (totalBytes < headerBytes || totalBytes > ip.left) throw new Refused("ipv4TotalLength");
  readIpv4Options(ip.skip(20).take(headerBytes - 20));
  packet.ipVersion = 4;
  packet.ipStart = ip.at;
  packet.ipPayloadStart = ip.at + headerBytes;
  packet.ipEnd = ip.at + totalBytes;
  packet.ipProtocol = ip.u8(9);
  packet.ipOptions = headerBytes > 20 ? 1 : 0;
  packet.timeToLive = ip.u8(8);
  packet.identification = ip.u16(4);
  packet.fragmentField = ip.u16(6);
  packet.source3 = ip.u32(12);
  packet.destination3 = ip.u32(16);
  packet.dontFragment = ip.u8(6) & 0x40 ? 1 : 0;
  if (ip.u8(6) & 0x80) throw new Refused("ipv4ReservedFlag");
  packet.moreFragments = ip.u8(6) & 0x20 ? 1 : 0;
  packet.fragmentOffsetBytes = (ip.u16(6) % 8192) * 8;
  const data = ip.skip(headerBytes).take(totalBytes - headerBytes);
  const isFragment = packet.moreFragments === 1 || packet.fragmentOffsetBytes > 0;
  if (isFragment) readFragment(data, packet, packet.ipProtocol, headerBytes);
  readTransport(data, packet, packet.ipProtocol);
}

function readIpv4Options(options: Reader): void {
  let rest = options;
  while (rest.left > 0 && rest.u8(0) !== 0) {
    if (rest.u8(0) === 1) {
      rest = rest.skip(1);
      continue;
    }
    rest.need(2, "ipv4Options");
    if (rest.u8(1) < 2) throw new Refused("ipv4Options");
    rest.need(rest.u8(1), "ipv4Options");
    if ([131, 137].includes(rest.u8(0))) throw new Refused("ipv4SourceRoute");
    rest = rest.skip(rest.u8(1));
  }
}

function readIpv6(ip: Reader, packet: ParsedPacket): void {
  ip.need(40, "ipv6Truncated");
  if (ip.u8(0) >> 4 !== 6) throw new Refused("ipVersion");
  if (ip.u16(4) > ip.left - 40) throw new Refused("ipv6PayloadLength");
  packet.ipVersion = 6;
  packet.ipStart = ip.at;
  packet.ipPayloadStart = ip.at + 40;
  packet.ipEnd = ip.at + 40 + ip.u16(4);
  packet.ipProtocol = ip.u8(6);
  packet.timeToLive = ip.u8(7);
  packet.source0 = ip.u32(8);
  packet.source1 = ip.u32(12);
  packet.source2 = ip.u32(16);
  packet.source3 = ip.u32(20);
  packet.destination0 = ip.u32(24);
  packet.destination1 = ip.u32(28);
  packet.destination2 = ip.u32(32);
  packet.destination3 = ip.u32(36);
  readIpv6Chain(ip.skip(40).take(ip.u16(4)), packet, ip.u8(6));
}

function readIpv6Chain(payload: Reader, packet: ParsedPacket, firstNext: number): void {
  let rest = payload;
  let next = firstNext;
  let fragment: { next: number; data: Reader; before: number } | undefined;
  for (let count = 0; [0, 43, 44, 51, 60].includes(next); count++) {
    const short = fragment && packet.isFragment ? "fragmentFirstShort" : "ipv6ExtensionTruncated";
    if (count === 8) throw new Refused("ipv6ExtensionCount");
    if (next === 0 && count > 0) throw new Refused("ipv6ExtensionOrder");
    rest.need(8, short);
    if (next === 44) {
      if (fragment) throw new Refused("ipv6ExtensionOrder");
      packet.identification = rest.u32(4);
      packet.moreFragments = rest.u16(2) & 1;
      packet.fragmentOffsetBytes = rest.u16(2) & 0xfff8;
      packet.isFragment = packet.moreFragments || packet.fragmentOffsetBytes ? 1 : 0;
      fragment = { next: rest.u8(0), data: rest.skip(8), before: rest.at - payload.at };
      next = rest.u8(0);
      rest = rest.skip(8);
      if (packet.fragmentOffsetBytes > 0) break;
      continue;
    }
    const bytes = next === 51 ? (rest.u8(1) + 2) * 4 : (rest.u8(1) + 1) * 8;
    rest.need(bytes, short);
    if (next === 43 && rest.u8(3) > 0) throw new Refused("ipv6SourceRoute");
    next = rest.u8(0);
    rest = rest.skip(bytes);
  }
  if (fragment && packet.isFragment) readFragment(fragment.data, packet, next, fragment.before);
  readTransport(rest, packet, next);
}

function readFragment(data: Reader, packet: ParsedPacket, next: number, before: number): void {
  packet.isFragment = 1;
  packet.fragmentDataStart = data.at;
  if (data.left === 0) throw new Refused("fragmentLength");
  if (packet.moreFragments && data.left % 8 !== 0) throw new Refused("fragmentLength");
  if (before + packet.fragmentOffsetBytes + data.left > 65_535) {
    throw new Refused("fragmentPastEnd");
  }
  if (next === 6 && [8, 16].includes(packet.fragmentOffsetBytes)) {
    throw new Refused("fragmentTcpOffset");
  }
}

function readTransport(rest: Reader, packet: ParsedPacket, protocol: number): void {
  packet.transportProtocol = protocol;
  packet.payloadStart = rest.at;
  packet.payloadEnd = rest.end;
  if (packet.fragmentOffsetBytes > 0) return;
  packet.transportStart = rest.at;
  if (protocol === 6) readTcp(rest, packet);
  else if (protocol === 17) readUdp(rest, packet);
  else if (protocol === (packet.ipVersion === 4 ? 1 : 58)) readIcmp(rest, packet);
  else if ([33, 132, 136].includes(protocol) && rest.left >= 4) {
    packet.sourcePort = rest.u16(0);
    packet.destinationPort = rest.u16(2);
  }
}

const VALID_TCP_FLAGS = ["S", "SU", "SA", "R", "RA", "FA", "FAU", "A", "AU"];

function readTcp(rest: Reader, packet: ParsedPacket): void {
  rest.need(20, packet.isFragment ? "fragmentFirstShort" : "tcpTruncated");
  const headerBytes = (rest.u8(12) >> 4) * 4;
  if (headerBytes < 20) throw new Refused("tcpHeaderLength");
  rest.need(headerBytes, packet.isFragment ? "fragmentFirstShort" : "tcpHeaderLength");
  packet.sourcePort = rest.u16(0);
  packet.destinationPort = rest.u16(2);
  packet.tcpSequence = rest.u32(4);
  packet.tcpAcknowledgement = rest.u32(8);
  packet.tcpFlags = rest.u8(13);
  packet.payloadStart = rest.at + headerBytes;
  const letters = [..."FSR?AU"].filter((_, bit) => bit !== 3 && (packet.tcpFlags >> bit) & 1);
  const valid = VALID_TCP_FLAGS.map((text) => [...text].sort().join(""));
  if (!valid.includes(letters.sort().join(""))) throw new Refused("tcpFlags");
}

function readUdp(rest: Reader, packet: ParsedPacket): void {
  rest.need(8, packet.isFragment ? "fragmentFirstShort" : "udpTruncated");
  packet.sourcePort = rest.u16(0);
  packet.destinationPort = rest.u16(2);
  packet.payloadStart = rest.at + 8;
  if (rest.u16(4) < 8) throw new Refused("udpLength");
  if (packet.isFragment) return;
  rest.need(rest.u16(4), "udpLength");
  packet.payloadEnd = rest.at + rest.u16(4);
}

function readIcmp(rest: Reader, packet: ParsedPacket): void {
  rest.need(8, packet.isFragment ? "fragmentFirstShort" : "icmpTruncated");
  const v4 = packet.ipVersion === 4;
  packet.icmpType = rest.u8(0);
  packet.icmpCode = rest.u8(1);
  packet.payloadStart = rest.at + 8;
  const echoes = v4 ? [0, 8] : [128, 129];
  if (echoes.includes(packet.icmpType)) {
    packet.sourcePort = rest.u16(4);
    packet.destinationPort = rest.u16(4);
  }
  const errors = v4 ? [3, 4, 5, 11, 12].includes(packet.icmpType) : packet.icmpType < 128;
  packet.icmpQuotes = errors ? 1 : 0;
}
