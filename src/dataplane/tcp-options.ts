/**
 * TCP options that concern an agent: the maximum segment size of a SYN is lowered so that segments
 * fit with the ABS header (docs/wire.md "Carriers"), and Fast Open is recognised (RFC 7413), since
 * it would carry payload before a handshake. RFC 9293 §3.1: options fill at most 40 bytes.
 * Hot path. Only segments with SYN are looked at; other flags pass at the cost of one test.
 */
import { replaceWord } from "./checksum.ts";
import { DROP } from "./drop-reasons.ts";
import { PARSED, type ParsedPacket, PROTOCOL_TCP, TCP_SYN } from "./parsed-packet.ts";

const TCP_HEADER_BYTES_MIN = 20;
const CHECKSUM_OFFSET = 16;

const OPTION_END = 0;
const OPTION_NOP = 1;
const OPTION_MSS = 2;
const OPTION_FAST_OPEN = 34;
const OPTION_EXPERIMENT = 254; // RFC 6994; 0xF989 is the number of the Fast Open experiment
const MSS_BYTES = 4;
const FAST_OPEN_EXPERIMENT = 0xf989;

/** A SYN carries a Fast Open option: a cookie, or the request for one. */
export const SYN_FAST_OPEN = 1;
/** A SYN carries payload. */
export const SYN_DATA = 2;

/** Findings in the last SYN that `inspectSyn` was given. */
export class SynOptions {
  /** SYN_FAST_OPEN and SYN_DATA, or 0. */
  findings = 0;
  /** Position of the MSS value in the pool, 0 when the option is absent. */
  mssAt = 0;
  /** Bytes, 0 when absent. */
  mss = 0;
}

/**
 * Walks the options of a SYN or SYN-ACK. Returns PARSED, or DROP.tcpOptions when an option's
 * length is wrong. Anything that is not a parsed TCP header with SYN gives PARSED and no findings.
 */
export function inspectSyn(memory: DataView, packet: ParsedPacket, out: SynOptions): number {
  out.findings = 0;
  out.mssAt = 0;
  out.mss = 0;
  if (packet.transportProtocol !== PROTOCOL_TCP || packet.transportStart === 0) return PARSED;
  if ((packet.tcpFlags & TCP_SYN) === 0) return PARSED;
  const end = packet.payloadStart;
  if (packet.payloadEnd > end) out.findings = SYN_DATA;
  let position = packet.transportStart + TCP_HEADER_BYTES_MIN;
  while (position < end) {
    const kind = memory.getUint8(position);
    if (kind === OPTION_END) return PARSED;
    if (kind === OPTION_NOP) {
      position += 1;
      continue;
    }
    if (position + 2 > end) return DROP.tcpOptions;
    const optionBytes = memory.getUint8(position + 1);
    if (optionBytes < 2 || position + optionBytes > end) return DROP.tcpOptions;
    if (kind === OPTION_MSS) {
      if (optionBytes !== MSS_BYTES) return DROP.tcpOptions;
      out.mssAt = position + 2;
      out.mss = memory.getUint16(position + 2, false);
    } else if (isFastOpen(memory, kind, position, optionBytes)) {
      out.findings |= SYN_FAST_OPEN;
    }
    position += optionBytes;
  }
  return PARSED;
}

/**
 * Lowers the MSS of a SYN or SYN-ACK to `mssMax` and mends the checksum. A segment without the
 * option means 536 or 1,220 bytes, which always fit: it is left alone.
 * Returns PARSED or DROP.tcpOptions; `out` holds the findings, `out.mss` the value as sent on.
 */
export function clampMss(
  memory: DataView,
  packet: ParsedPacket,
  mssMax: number,
  out: SynOptions,
): number {
  const inspected = inspectSyn(memory, packet, out);
  if (inspected !== PARSED || out.mss <= mssMax) return inspected;
  const start = packet.transportStart;
  replaceWord(memory, out.mssAt, mssMax, start, start + CHECKSUM_OFFSET);
  out.mss = mssMax;
  return PARSED;
}

function isFastOpen(
  memory: DataView,
  kind: number,
  position: number,
  optionBytes: number,
): boolean {
  if (kind === OPTION_FAST_OPEN) return true;
  return (
    kind === OPTION_EXPERIMENT &&
    optionBytes >= 4 &&
    memory.getUint16(position + 2, false) === FAST_OPEN_EXPERIMENT
  );
}
