/**
 * IPv4 header of any shape (RFC 791 §3.1): options, fragments, all protocols.
 * Hot path. parse-packet.ts has a shorter way for headers without options and fragments.
 */
import { DROP } from "./drop-reasons.ts";
import { parseFragment } from "./parse-fragment.ts";
import { parseTransport } from "./parse-transport.ts";
import { PARSED, type ParsedPacket } from "./parsed-packet.ts";

export const IPV4_HEADER_BYTES_MIN = 20;
export const IPV4_RESERVED = 0x8000;
export const IPV4_DONT_FRAGMENT = 0x4000;
export const IPV4_MORE_FRAGMENTS = 0x2000;
export const IPV4_OFFSET_MASK = 0x1fff;

const OPTION_END = 0;
const OPTION_NOP = 1;
const OPTION_LOOSE_SOURCE_ROUTE = 131;
const OPTION_STRICT_SOURCE_ROUTE = 137;

/** Reads the packet at `start`; everything in `out` but the link fields is 0 on entry. */
export function parseIpv4(memory: DataView, start: number, end: number, out: ParsedPacket): number {
  out.plain = 0;
  out.ipStart = start;
  out.ipVersion = 4;
  if (end - start < IPV4_HEADER_BYTES_MIN) return DROP.ipv4Truncated;
  const versionAndWords = memory.getUint8(start);
  if (versionAndWords >>> 4 !== 4) return DROP.ipVersion;
  const headerBytes = (versionAndWords & 0x0f) * 4;
  if (headerBytes < IPV4_HEADER_BYTES_MIN) return DROP.ipv4HeaderLength;
  if (end - start < headerBytes) return DROP.ipv4Truncated;
  const protocol = memory.getUint8(start + 9);
  const field = memory.getUint16(start + 6, false);
  out.ipProtocol = protocol;
  out.transportProtocol = protocol;
  out.timeToLive = memory.getUint8(start + 8);
  out.identification = memory.getUint16(start + 4, false);
  out.fragmentField = field;
  out.dontFragment = (field >>> 14) & 1;
  out.source3Word = memory.getInt32(start + 12, false);
  out.destination3Word = memory.getInt32(start + 16, false);
  const payloadStart = start + headerBytes;
  out.ipPayloadStart = payloadStart;
  const totalBytes = memory.getUint16(start + 2, false);
  if (totalBytes < headerBytes || totalBytes > end - start) return DROP.ipv4TotalLength;
  const ipEnd = start + totalBytes;
  out.ipEnd = ipEnd;
  if (headerBytes > IPV4_HEADER_BYTES_MIN) {
    out.ipOptions = 1;
    const options = checkOptions(memory, start + IPV4_HEADER_BYTES_MIN, payloadStart);
    if (options !== PARSED) return options;
  }
  return parseIpv4Payload(memory, protocol, headerBytes, payloadStart, ipEnd, out);
}

/**
 * The payload of an IPv4 packet behind a header of `headerBytes`; `out.fragmentField` holds its
 * flags and offset. Shared with packets whose header is carried in an ABS header.
 */
export function parseIpv4Payload(
  memory: DataView,
  protocol: number,
  headerBytes: number,
  payloadStart: number,
  end: number,
  out: ParsedPacket,
): number {
  const field = out.fragmentField;
  if ((field & ~IPV4_DONT_FRAGMENT) === 0) {
    return parseTransport(memory, protocol, payloadStart, end, out);
  }
  if ((field & IPV4_RESERVED) !== 0) return DROP.ipv4ReservedFlag;
  out.plain = 0;
  out.isFragment = 1;
  out.moreFragments = (field >>> 13) & 1;
  out.fragmentOffsetBytes = (field & IPV4_OFFSET_MASK) * 8;
  out.fragmentDataStart = payloadStart;
  const fragment = parseFragment(protocol, headerBytes, end, out);
  if (fragment !== PARSED || out.fragmentOffsetBytes !== 0) return fragment;
  return parseTransport(memory, protocol, payloadStart, end, out);
}

/** Walks the options: at most 40 bytes, each step at least one. */
function checkOptions(memory: DataView, start: number, end: number): number {
  let position = start;
  while (position < end) {
    const kind = memory.getUint8(position);
    if (kind === OPTION_END) return PARSED;
    if (kind === OPTION_NOP) {
      position += 1;
      continue;
    }
    if (position + 2 > end) return DROP.ipv4Options;
    const optionBytes = memory.getUint8(position + 1);
    if (optionBytes < 2 || position + optionBytes > end) return DROP.ipv4Options;
    if (kind === OPTION_LOOSE_SOURCE_ROUTE || kind === OPTION_STRICT_SOURCE_ROUTE) {
      return DROP.ipv4SourceRoute;
    }
    position += optionBytes;
  }
  return PARSED;
}
