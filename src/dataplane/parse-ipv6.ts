/**
 * IPv6 header and extension headers (RFC 8200 §3, §4; AH: RFC 4302).
 * Hot path. Walks hop-by-hop, routing, destination options, fragment and authentication headers,
 * at most EXTENSIONS_MAX of them; any other next header is the transport protocol.
 */
import { DROP } from "./drop-reasons.ts";
import { parseFragment } from "./parse-fragment.ts";
import { parseTcp, parseTransport, parseUdp } from "./parse-transport.ts";
import { PARSED, type ParsedPacket, PROTOCOL_TCP, PROTOCOL_UDP } from "./parsed-packet.ts";

export const IPV6_HEADER_BYTES = 40;
export const IPV6_FRAGMENT_HEADER_BYTES = 8;

/** Far more than real stacks send (RFC 8504 §5.3 lets a host set such a limit). */
export const EXTENSIONS_MAX = 8;

const HOP_BY_HOP = 0;
const ROUTING = 43;
const FRAGMENT = 44;
const AUTHENTICATION = 51;
const DESTINATION_OPTIONS = 60;

/** Reads the packet at `start`; everything in `out` but the link fields is 0 on entry. */
export function parseIpv6(memory: DataView, start: number, end: number, out: ParsedPacket): number {
  out.plain = 0;
  out.ipStart = start;
  out.ipVersion = 6;
  if (end - start < IPV6_HEADER_BYTES) return DROP.ipv6Truncated;
  if (memory.getUint8(start) >>> 4 !== 6) return DROP.ipVersion;
  const lengthAndNext = memory.getInt32(start + 4, false);
  const protocol = (lengthAndNext >>> 8) & 0xff;
  const payloadStart = start + IPV6_HEADER_BYTES;
  out.ipProtocol = protocol;
  out.transportProtocol = protocol;
  out.timeToLive = lengthAndNext & 0xff;
  out.source0Word = memory.getInt32(start + 8, false);
  out.source1Word = memory.getInt32(start + 12, false);
  out.source2Word = memory.getInt32(start + 16, false);
  out.source3Word = memory.getInt32(start + 20, false);
  out.destination0Word = memory.getInt32(start + 24, false);
  out.destination1Word = memory.getInt32(start + 28, false);
  out.destination2Word = memory.getInt32(start + 32, false);
  out.destination3Word = memory.getInt32(start + 36, false);
  out.ipPayloadStart = payloadStart;
  const ipEnd = payloadStart + (lengthAndNext >>> 16);
  if (ipEnd > end) return DROP.ipv6PayloadLength;
  out.ipEnd = ipEnd;
  if (protocol === PROTOCOL_TCP) return parseTcp(memory, payloadStart, ipEnd, out);
  if (protocol === PROTOCOL_UDP) return parseUdp(memory, payloadStart, ipEnd, out);
  return parseIpv6Payload(memory, protocol, payloadStart, ipEnd, out);
}

/** The payload of an IPv6 packet, beginning with a header of type `protocol`. */
export function parseIpv6Payload(
  memory: DataView,
  protocol: number,
  payloadStart: number,
  end: number,
  out: ParsedPacket,
): number {
  const walked = walkExtensions(memory, protocol, payloadStart, end, out);
  if (walked !== PARSED) return walked;
  const next = out.transportProtocol;
  const transportStart = out.payloadStart;
  if (out.isFragment === 1) {
    const bytesBefore = out.fragmentDataStart - IPV6_FRAGMENT_HEADER_BYTES - payloadStart;
    const fragment = parseFragment(next, bytesBefore, end, out);
    if (fragment !== PARSED || out.fragmentOffsetBytes !== 0) return fragment;
  }
  return parseTransport(memory, next, transportStart, end, out);
}

/**
 * Walks from a header of type `protocol` at `payloadStart` to the transport header: its type and
 * place go to `transportProtocol` and `payloadStart`. Stops at the data of a later fragment.
 */
export function walkExtensions(
  memory: DataView,
  protocol: number,
  payloadStart: number,
  end: number,
  out: ParsedPacket,
): number {
  let next = protocol;
  let position = payloadStart;
  let fragmentSeen = 0;
  for (let count = 0; isExtension(next); count++) {
    out.transportProtocol = next;
    if (count === EXTENSIONS_MAX) return DROP.ipv6ExtensionCount;
    if (next === HOP_BY_HOP && count > 0) return DROP.ipv6ExtensionOrder;
    if (end - position < IPV6_FRAGMENT_HEADER_BYTES) return truncated(out);
    const following = memory.getUint8(position);
    if (next === FRAGMENT) {
      if (fragmentSeen === 1) return DROP.ipv6ExtensionOrder;
      fragmentSeen = 1;
      readFragmentHeader(memory, position, out);
      position += IPV6_FRAGMENT_HEADER_BYTES;
    } else {
      const words = memory.getUint8(position + 1);
      const headerBytes = next === AUTHENTICATION ? (words + 2) * 4 : (words + 1) * 8;
      if (end - position < headerBytes) return truncated(out);
      if (next === ROUTING && memory.getUint8(position + 3) !== 0) return DROP.ipv6SourceRoute;
      position += headerBytes;
    }
    next = following;
    if (out.fragmentOffsetBytes !== 0) break;
  }
  out.transportProtocol = next;
  out.payloadStart = position;
  return PARSED;
}

/** Whether a next header value names an extension header rather than a transport. */
export function isExtension(next: number): boolean {
  return (
    next === HOP_BY_HOP ||
    next === FRAGMENT ||
    next === DESTINATION_OPTIONS ||
    next === ROUTING ||
    next === AUTHENTICATION
  );
}

/** Fragment header, RFC 8200 §4.5; one with offset 0 and nothing following makes no fragment. */
function readFragmentHeader(memory: DataView, position: number, out: ParsedPacket): void {
  const field = memory.getUint16(position + 2, false);
  out.plain = 0;
  out.identification = memory.getUint32(position + 4, false);
  if ((field & 0xfff9) === 0) return;
  out.isFragment = 1;
  out.moreFragments = field & 1;
  out.fragmentOffsetBytes = field & 0xfff8;
  out.fragmentDataStart = position + IPV6_FRAGMENT_HEADER_BYTES;
}

function truncated(out: ParsedPacket): number {
  return out.isFragment === 1 ? DROP.fragmentFirstShort : DROP.ipv6ExtensionTruncated;
}
