/**
 * The rules for a single fragment (docs/wire.md "Fragments and ICMP", RFC 791, 8200 §4.5, 3128).
 * Hot path. What concerns several fragments of one packet (verdicts, overlaps) is
 * fragment-table.ts.
 */
import { DROP } from "./drop-reasons.ts";
import { TCP_HEADER_BYTES_MIN } from "./parse-transport.ts";
import { PARSED, type ParsedPacket, PROTOCOL_TCP } from "./parsed-packet.ts";

const PACKET_BYTES_MAX = 65_535;

/**
 * Checks a fragment whose offset, flag and data start are in `out`; its data ends at `end`.
 * `headerBytes` is what counts towards the reassembled length before the data: the IPv4 header,
 * or the IPv6 extension headers before the fragment header. For a later fragment the transport
 * fields are written too, since nothing parses them after this.
 */
export function parseFragment(
  protocol: number,
  headerBytes: number,
  end: number,
  out: ParsedPacket,
): number {
  const dataBytes = end - out.fragmentDataStart;
  out.transportProtocol = protocol;
  out.payloadStart = out.fragmentDataStart;
  out.payloadEnd = end;
  if (dataBytes === 0) return DROP.fragmentLength;
  if (out.moreFragments === 1 && (dataBytes & 7) !== 0) return DROP.fragmentLength;
  if (headerBytes + out.fragmentOffsetBytes + dataBytes > PACKET_BYTES_MAX) {
    return DROP.fragmentPastEnd;
  }
  // RFC 3128 names offset 8. A first fragment here always holds the whole TCP header, so data at
  // 16 overwrites it just as well.
  if (
    protocol === PROTOCOL_TCP &&
    out.fragmentOffsetBytes !== 0 &&
    out.fragmentOffsetBytes < TCP_HEADER_BYTES_MIN
  ) {
    return DROP.fragmentTcpOffset;
  }
  return PARSED;
}
