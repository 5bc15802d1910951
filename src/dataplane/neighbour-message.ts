/**
 * ARP (RFC 826) and neighbour discovery (RFC 4861): what a message claims about a neighbour, and
 * the questions the agent asks itself when it must learn a peer's MAC.
 * Hot path. A MAC is two numbers: bytes 0-1 and bytes 2-5.
 */
import { DROP } from "./drop-reasons.ts";
import { ETHERTYPE_ARP, PARSED, type ParsedPacket, PROTOCOL_ICMPV6 } from "./parsed-packet.ts";

export const NO_NEIGHBOUR = 0;
export const ARP_REQUEST = 1;
export const ARP_REPLY = 2;
export const ROUTER_SOLICITATION = 133;
export const ROUTER_ADVERTISEMENT = 134;
export const NEIGHBOUR_SOLICITATION = 135;
export const NEIGHBOUR_ADVERTISEMENT = 136;
export const ND_REDIRECT = 137;

const ARP_BYTES = 28;
const ARP_ETHERNET_IPV4_HIGH = 0x0001_0800; // hardware type 1, protocol type IPv4
const ARP_LENGTHS = 0x0604;
const OPTION_SOURCE_MAC = 1;
const OPTION_TARGET_MAC = 2;
const ND_HOP_LIMIT = 255;

export class NeighbourMessage {
  /** NO_NEIGHBOUR, ARP_…, or the ICMPv6 type. */
  kind = 0;
  /** Source MAC of the frame. */
  linkMacHigh = 0;
  linkMacLow = 0;
  /** 1 when the message names a MAC for `address`; the MAC. */
  hasMac = 0;
  macHigh = 0;
  macLow = 0;
  /**
   * The address the claim is about: ARP sender; ND: IP source, of adverts and redirects the target.
   */
  address0 = 0;
  address1 = 0;
  address2 = 0;
  address3 = 0;
  /** The address asked for (ARP target, solicitation's target); else 0. */
  target0 = 0;
  target1 = 0;
  target2 = 0;
  target3 = 0;
}

/**
 * Reads an ARP or ND message from a parsed frame that ends at `end`. `kind` is NO_NEIGHBOUR for any
 * other packet. Returns PARSED, DROP.arpMalformed or DROP.neighbourMalformed.
 */
export function parseNeighbour(
  memory: DataView,
  packet: ParsedPacket,
  end: number,
  out: NeighbourMessage,
): number {
  out.kind = NO_NEIGHBOUR;
  if (packet.etherType === ETHERTYPE_ARP) return parseArp(memory, packet, end, out);
  const type = packet.icmpType;
  if (packet.transportProtocol !== PROTOCOL_ICMPV6 || packet.ipVersion !== 6) return PARSED;
  if (type < ROUTER_SOLICITATION || type > ND_REDIRECT) return PARSED;
  return parseDiscovery(memory, packet, out);
}

function clear(memory: DataView, packet: ParsedPacket, out: NeighbourMessage): void {
  const link = packet.linkStart;
  const hasLink = packet.ipStart > link;
  out.linkMacHigh = hasLink ? memory.getUint16(link + 6, false) : 0;
  out.linkMacLow = hasLink ? memory.getUint32(link + 8, false) : 0;
  out.hasMac = 0;
  out.macHigh = 0;
  out.macLow = 0;
  out.address0 = 0;
  out.address1 = 0;
  out.address2 = 0;
  out.address3 = 0;
  out.target0 = 0;
  out.target1 = 0;
  out.target2 = 0;
  out.target3 = 0;
}

function parseArp(
  memory: DataView,
  packet: ParsedPacket,
  end: number,
  out: NeighbourMessage,
): number {
  const start = packet.ipStart;
  if (end - start < ARP_BYTES) return DROP.arpMalformed;
  if (memory.getUint32(start, false) !== ARP_ETHERNET_IPV4_HIGH) return DROP.arpMalformed;
  if (memory.getUint16(start + 4, false) !== ARP_LENGTHS) return DROP.arpMalformed;
  const operation = memory.getUint16(start + 6, false);
  if (operation !== ARP_REQUEST && operation !== ARP_REPLY) return DROP.arpMalformed;
  clear(memory, packet, out);
  out.kind = operation;
  out.hasMac = 1;
  out.macHigh = memory.getUint16(start + 8, false);
  out.macLow = memory.getUint32(start + 10, false);
  out.address3 = memory.getUint32(start + 14, false);
  out.target3 = memory.getUint32(start + 24, false);
  // A group address cannot be anybody's MAC (RFC 1812 §3.3.2).
  return (out.macHigh & 0x0100) === 0 ? PARSED : DROP.arpMalformed;
}

function parseDiscovery(memory: DataView, packet: ParsedPacket, out: NeighbourMessage): number {
  // RFC 4861 §7.1 and, against evasion by fragments and extension headers, RFC 6980 and 7113.
  const start = packet.transportStart;
  const type = packet.icmpType;
  const bytes = packet.ipEnd - start;
  if (packet.isFragment === 1 || packet.ipProtocol !== PROTOCOL_ICMPV6) {
    return DROP.neighbourMalformed;
  }
  if (packet.timeToLive !== ND_HOP_LIMIT || packet.icmpCode !== 0) return DROP.neighbourMalformed;
  const fixedBytes = fixedBytesOf(type);
  if (bytes < fixedBytes) return DROP.neighbourMalformed;
  clear(memory, packet, out);
  out.address0 = packet.source0;
  out.address1 = packet.source1;
  out.address2 = packet.source2;
  out.address3 = packet.source3;
  if (type >= NEIGHBOUR_SOLICITATION) {
    out.target0 = memory.getUint32(start + 8, false);
    out.target1 = memory.getUint32(start + 12, false);
    out.target2 = memory.getUint32(start + 16, false);
    out.target3 = memory.getUint32(start + 20, false);
    if (out.target0 >>> 24 === 0xff) return DROP.neighbourMalformed;
  }
  if (type >= NEIGHBOUR_ADVERTISEMENT) {
    out.address0 = out.target0;
    out.address1 = out.target1;
    out.address2 = out.target2;
    out.address3 = out.target3;
  }
  const wanted = type >= NEIGHBOUR_ADVERTISEMENT ? OPTION_TARGET_MAC : OPTION_SOURCE_MAC;
  if (!readMacOption(memory, start + fixedBytes, packet.ipEnd, wanted, out)) {
    return DROP.neighbourMalformed;
  }
  if (out.hasMac === 1 && type === NEIGHBOUR_SOLICITATION && isUnspecified(packet)) {
    return DROP.neighbourMalformed;
  }
  if ((out.macHigh & 0x0100) !== 0) return DROP.neighbourMalformed;
  out.kind = type;
  return PARSED;
}

function fixedBytesOf(type: number): number {
  if (type === ROUTER_SOLICITATION) return 8;
  if (type === ROUTER_ADVERTISEMENT) return 16;
  return type === ND_REDIRECT ? 40 : 24;
}

/** Walks the options, each a multiple of 8 bytes; false when one has a wrong length. */
function readMacOption(
  memory: DataView,
  start: number,
  end: number,
  wanted: number,
  out: NeighbourMessage,
): boolean {
  let position = start;
  while (position < end) {
    if (position + 8 > end) return false;
    const optionBytes = memory.getUint8(position + 1) * 8;
    if (optionBytes === 0 || position + optionBytes > end) return false;
    if (memory.getUint8(position) === wanted) {
      // A second one would let two readers believe two different things.
      if (out.hasMac === 1 || optionBytes !== 8) return false;
      out.hasMac = 1;
      out.macHigh = memory.getUint16(position + 2, false);
      out.macLow = memory.getUint32(position + 4, false);
    }
    position += optionBytes;
  }
  return true;
}

function isUnspecified(packet: ParsedPacket): boolean {
  return (
    packet.source0 === 0 && packet.source1 === 0 && packet.source2 === 0 && packet.source3 === 0
  );
}
