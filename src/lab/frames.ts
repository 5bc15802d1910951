/**
 * Frames for the lab: building what an attacker injects and reading what was captured. Written
 * apart from src/dataplane so that the lab judges the agent with other eyes: allocates freely, and
 * knows only what the story needs (Ethernet, VLAN, ARP, IPv4, IPv6, TCP, UDP, ICMP echo).
 */
import { concat } from "../bytes.ts";
import { assert } from "../errors.ts";
import { PEER_PORT } from "../peer/peer-channel.ts";
import { addressBytes, formatAddress, parseAddress } from "../wire/ip-text.ts";

export const ETHERTYPE = { ipv4: 0x0800, arp: 0x0806, vlan: 0x8100, qinq: 0x88a8, ipv6: 0x86dd };
export const PROTOCOL = { icmp: 1, tcp: 6, udp: 17, fragment: 44, icmpv6: 58, abs: 253 };
export const TCP_FLAG = { fin: 1, syn: 2, rst: 4, psh: 8, ack: 16 };

/** What was read of a captured frame; fields of a layer that is not there are undefined. */
export interface Decoded {
  readonly sourceMac: string;
  readonly destinationMac: string;
  readonly vlans: readonly number[];
  readonly etherType: number;
  readonly source?: string;
  readonly destination?: string;
  readonly protocol?: number;
  /** Bytes from the frame's start to the IP header and to what follows the IP header. */
  readonly ipStart?: number;
  readonly ipPayloadStart?: number;
  readonly ipPayload?: Uint8Array;
  /** IPv4: flags and fragment offset, the raw 16 bits. */
  readonly fragmentField?: number;
  readonly sourcePort?: number;
  readonly destinationPort?: number;
  readonly tcpFlags?: number;
  readonly sequence?: number;
  readonly acknowledgement?: number;
  /** What follows the transport header. */
  readonly payload?: Uint8Array;
}

export function macToBytes(mac: string): Uint8Array {
  return Uint8Array.from(mac.split(":"), (part) => Number.parseInt(part, 16));
}

export function macToText(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(":");
}

/** An IPv4 address as 4 bytes or an IPv6 address as 16. */
export function addressToBytes(text: string): Uint8Array {
  const address = parseAddress(text);
  assert(address !== undefined, `${text} is an IP address`);
  return addressBytes(address);
}

/** The address as RFC 5952 writes it, so that two texts of one address compare equal. */
export function canonical(text: string): string {
  const address = parseAddress(text);
  return address === undefined ? text : formatAddress(address);
}

function addressToText(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join(".");
  const view = new DataView(bytes.buffer, bytes.byteOffset, 16);
  return canonical(
    Array.from({ length: 8 }, (_, i) => view.getUint16(2 * i).toString(16)).join(":"),
  );
}

export interface EthernetFields {
  readonly sourceMac: string;
  readonly destinationMac: string;
  readonly vlans?: readonly number[];
}

/** A whole frame around `packet`; the EtherType is taken from the packet's version, or given. */
export function ethernet(
  fields: EthernetFields,
  packet: Uint8Array,
  etherType?: number,
): Uint8Array {
  const version = (packet[0] ?? 0) >>> 4;
  const type = etherType ?? (version === 6 ? ETHERTYPE.ipv6 : ETHERTYPE.ipv4);
  const tags = (fields.vlans ?? []).map((id, i, all) =>
    concat(word(i === 0 && all.length > 1 ? ETHERTYPE.qinq : ETHERTYPE.vlan), word(id)),
  );
  const source = macToBytes(fields.sourceMac);
  return concat(macToBytes(fields.destinationMac), source, ...tags, word(type), packet);
}

export interface IpFields {
  readonly source: string;
  readonly destination: string;
  readonly protocol: number;
  readonly identification?: number;
  /** IPv4 flags and offset, raw; don't-fragment by default. */
  readonly fragmentField?: number;
  /** IPv4 options, a multiple of 4 bytes. */
  readonly options?: Uint8Array;
}

/** An IPv4 or IPv6 packet, as the addresses are. */
export function ipPacket(fields: IpFields, payload: Uint8Array): Uint8Array {
  const source = addressToBytes(fields.source);
  const destination = addressToBytes(fields.destination);
  if (source.length === 16) {
    const fixed = Uint8Array.of(0x60, 0, 0, 0, payload.length >>> 8, payload.length & 0xff);
    return concat(fixed, Uint8Array.of(fields.protocol, 64), source, destination, payload);
  }
  const options = fields.options ?? new Uint8Array(0);
  const header = new Uint8Array(20 + options.length);
  const view = new DataView(header.buffer);
  view.setUint8(0, 0x40 | (header.length / 4));
  view.setUint16(2, header.length + payload.length, false);
  view.setUint16(4, fields.identification ?? 0x4242, false);
  view.setUint16(6, fields.fragmentField ?? 0x4000, false);
  view.setUint8(8, 64);
  view.setUint8(9, fields.protocol);
  header.set(source, 12);
  header.set(destination, 16);
  header.set(options, 20);
  view.setUint16(10, internetChecksum(header), false);
  return concat(header, payload);
}

export interface TransportFields {
  readonly source: string;
  readonly destination: string;
  readonly sourcePort: number;
  readonly destinationPort: number;
}

export interface TcpFields extends TransportFields {
  readonly flags: number;
  readonly sequence?: number;
  readonly acknowledgement?: number;
}

/** A TCP segment in its IP packet, checksums right. */
export function tcpPacket(fields: TcpFields, payload: Uint8Array = new Uint8Array(0)): Uint8Array {
  const segment = new Uint8Array(20 + payload.length);
  const view = new DataView(segment.buffer);
  view.setUint16(0, fields.sourcePort, false);
  view.setUint16(2, fields.destinationPort, false);
  view.setUint32(4, fields.sequence ?? 1_000, false);
  view.setUint32(8, fields.acknowledgement ?? 0, false);
  view.setUint16(12, 0x5000 | fields.flags, false);
  view.setUint16(14, 0xffff, false);
  segment.set(payload, 20);
  view.setUint16(16, transportChecksum(fields, PROTOCOL.tcp, segment), false);
  return ipPacket({ ...addressesOf(fields), protocol: PROTOCOL.tcp }, segment);
}

/** A UDP datagram in its IP packet, checksums right. */
export function udpPacket(fields: TransportFields, payload: Uint8Array): Uint8Array {
  const datagram = new Uint8Array(8 + payload.length);
  const view = new DataView(datagram.buffer);
  view.setUint16(0, fields.sourcePort, false);
  view.setUint16(2, fields.destinationPort, false);
  view.setUint16(4, datagram.length, false);
  datagram.set(payload, 8);
  view.setUint16(6, transportChecksum(fields, PROTOCOL.udp, datagram) || 0xffff, false);
  return ipPacket({ ...addressesOf(fields), protocol: PROTOCOL.udp }, datagram);
}

export interface ArpFields {
  readonly operation: 1 | 2;
  readonly senderMac: string;
  readonly senderAddress: string;
  readonly targetMac: string;
  readonly targetAddress: string;
}

/** An ARP request or reply (RFC 826), without the Ethernet header. */
export function arpPacket(fields: ArpFields): Uint8Array {
  return concat(
    Uint8Array.of(0, 1, 8, 0, 6, 4, 0, fields.operation),
    macToBytes(fields.senderMac),
    addressToBytes(fields.senderAddress),
    macToBytes(fields.targetMac),
    addressToBytes(fields.targetAddress),
  );
}

function addressesOf(fields: TransportFields): { source: string; destination: string } {
  return { source: fields.source, destination: fields.destination };
}

function word(value: number): Uint8Array {
  return Uint8Array.of(value >>> 8, value & 0xff);
}

/** RFC 1071, over bytes of any number. */
export function internetChecksum(...parts: readonly Uint8Array[]): number {
  let sum = 0;
  for (const part of parts) {
    for (let i = 0; i < part.length; i += 2) sum += ((part[i] ?? 0) << 8) | (part[i + 1] ?? 0);
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
  return ~sum & 0xffff;
}

function transportChecksum(fields: TransportFields, protocol: number, segment: Uint8Array): number {
  const source = addressToBytes(fields.source);
  const destination = addressToBytes(fields.destination);
  const tail = concat(word(segment.length), Uint8Array.of(0, protocol));
  return internetChecksum(source, destination, tail, segment);
}

/** RFC 4861: like ARP, it is below what is authenticated (design/agent.md "Guard below IP"). */
export function isNeighbourDiscovery(frame: Decoded): boolean {
  const type = frame.ipPayload?.[0] ?? 0;
  return frame.protocol === PROTOCOL.icmpv6 && type >= 133 && type <= 137;
}

/** A connection between nodes of the ledger, which has its own proof (docs/peer-channel.md). */
export function isPeerChannel(frame: Decoded): boolean {
  const isTcp = frame.protocol === PROTOCOL.tcp;
  return isTcp && (frame.sourcePort === PEER_PORT || frame.destinationPort === PEER_PORT);
}

/** Reads a captured frame as far as it goes; never throws. */
export function decodeFrame(frame: Uint8Array): Decoded {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const vlans: number[] = [];
  let start = 12;
  let etherType = frame.length >= 14 ? view.getUint16(12, false) : 0;
  while (
    (etherType === ETHERTYPE.vlan || etherType === ETHERTYPE.qinq) &&
    frame.length >= start + 6
  ) {
    vlans.push(view.getUint16(start + 2, false) & 0x0fff);
    start += 4;
    etherType = view.getUint16(start, false);
  }
  const link = {
    destinationMac: macToText(frame.subarray(0, 6)),
    sourceMac: macToText(frame.subarray(6, 12)),
    vlans,
    etherType,
  };
  const ipStart = start + 2;
  if (etherType === ETHERTYPE.ipv4 && frame.length >= ipStart + 20) {
    return { ...link, ...decodeIpv4(view, frame, ipStart) };
  }
  if (etherType === ETHERTYPE.ipv6 && frame.length >= ipStart + 40) {
    return { ...link, ...decodeIpv6(view, frame, ipStart) };
  }
  return link;
}

function decodeIpv4(view: DataView, frame: Uint8Array, ipStart: number): Partial<Decoded> {
  const ipPayloadStart = ipStart + (view.getUint8(ipStart) & 0x0f) * 4;
  const end = Math.min(frame.length, ipStart + view.getUint16(ipStart + 2, false));
  const fragmentField = view.getUint16(ipStart + 6, false);
  const protocol = view.getUint8(ipStart + 9);
  const ipPayload = frame.slice(ipPayloadStart, end);
  return {
    source: addressToText(frame.subarray(ipStart + 12, ipStart + 16)),
    destination: addressToText(frame.subarray(ipStart + 16, ipStart + 20)),
    protocol,
    ipStart,
    ipPayloadStart,
    ipPayload,
    fragmentField,
    ...((fragmentField & 0x1fff) === 0 ? decodeTransport(protocol, ipPayload) : {}),
  };
}

function decodeIpv6(view: DataView, frame: Uint8Array, ipStart: number): Partial<Decoded> {
  const ipPayloadStart = ipStart + 40;
  const end = Math.min(frame.length, ipPayloadStart + view.getUint16(ipStart + 4, false));
  const protocol = view.getUint8(ipStart + 6);
  const ipPayload = frame.slice(ipPayloadStart, end);
  return {
    source: addressToText(frame.slice(ipStart + 8, ipStart + 24)),
    destination: addressToText(frame.slice(ipStart + 24, ipStart + 40)),
    protocol,
    ipStart,
    ipPayloadStart,
    ipPayload,
    ...decodeTransport(protocol, ipPayload),
  };
}

function decodeTransport(protocol: number, bytes: Uint8Array): Partial<Decoded> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (protocol === PROTOCOL.tcp && bytes.length >= 20) {
    return {
      sourcePort: view.getUint16(0, false),
      destinationPort: view.getUint16(2, false),
      sequence: view.getUint32(4, false),
      acknowledgement: view.getUint32(8, false),
      tcpFlags: view.getUint8(13),
      payload: bytes.subarray((view.getUint8(12) >>> 4) * 4),
    };
  }
  if (protocol === PROTOCOL.udp && bytes.length >= 8) {
    const ports = {
      sourcePort: view.getUint16(0, false),
      destinationPort: view.getUint16(2, false),
    };
    return { ...ports, payload: bytes.subarray(8) };
  }
  if ((protocol === PROTOCOL.icmp || protocol === PROTOCOL.icmpv6) && bytes.length >= 8) {
    return { payload: bytes.subarray(8) };
  }
  return {};
}
