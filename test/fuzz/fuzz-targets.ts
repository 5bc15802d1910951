/**
 * What the packet fuzzer feeds: each packet parser with its seeds, the drop reasons it must be
 * able to give, and the checks that a slice of the packets undergoes.
 */
import { transportChecksum, writeTransportChecksum } from "../../src/dataplane/checksum.ts";
import { DROP, DROP_CODES } from "../../src/dataplane/drop-reasons.ts";
import { NeighbourGuard } from "../../src/dataplane/neighbour-guard.ts";
import { NeighbourMessage } from "../../src/dataplane/neighbour-message.ts";
import { parseIpAt, parsePacket, parseRestored } from "../../src/dataplane/parse-packet.ts";
import { parseQuoted } from "../../src/dataplane/parse-quoted.ts";
import { PARSED, ParsedPacket } from "../../src/dataplane/parsed-packet.ts";
import { clampMss, SYN_FAST_OPEN, SynOptions } from "../../src/dataplane/tcp-options.ts";
import { type Bytes, OWN_IP, OWN_IP6, OWN_MAC, PEER_IP, PEER_IP6, PEER_MAC } from "./frames.ts";
import type { Mutator } from "./mutator.ts";
import { type OracleAnswer, oracleFrame, oracleIp } from "./packet-oracle.ts";
import { frameSeeds, ipSeeds, neighbourSeeds, type Seed } from "./seeds.ts";

/** Answer of a target whose input an earlier parser refused; outside the codes of DROP. */
export const EARLIER = DROP_CODES - 1;

export interface FuzzTarget {
  name: string;
  seeds: readonly Seed[];
  reasons: readonly (keyof typeof DROP)[];
  /** Parses one packet, as the data plane does: 0 or a code of DROP. */
  parse(memory: DataView, start: number, end: number): number;
  /** The slow checks; throws on a fault. `code` is what `parse` just gave for the same packet. */
  check(mutator: Mutator, code: number): void;
}

type Parser = (memory: DataView, start: number, end: number, out: ParsedPacket) => number;

const TRANSPORT_REASONS = [
  "tcpTruncated",
  "tcpHeaderLength",
  "tcpFlags",
  "udpTruncated",
  "udpLength",
  "icmpTruncated",
  "fragmentFirstShort",
  "fragmentTcpOffset",
  "fragmentLength",
  "fragmentPastEnd",
] as const;
const CHAIN_REASONS = ["ipv6ExtensionCount", "ipv6ExtensionOrder", "ipv6SourceRoute"] as const;
const IP_REASONS = [
  ...TRANSPORT_REASONS,
  ...CHAIN_REASONS,
  "ipVersion",
  "ipv4Truncated",
  "ipv4HeaderLength",
  "ipv4TotalLength",
  "ipv4Options",
  "ipv4SourceRoute",
  "ipv4ReservedFlag",
  "ipv6Truncated",
  "ipv6PayloadLength",
  "ipv6ExtensionTruncated",
] as const;
const LINK_REASONS = ["linkTruncated", "vlanTruncated", "vlanDepth", "etherType"] as const;

const OFFSET_FIELDS = new Set([
  "linkStart",
  "ipStart",
  "ipPayloadStart",
  "ipEnd",
  "transportStart",
  "payloadStart",
  "payloadEnd",
  "fragmentDataStart",
]);
const FIELDS = Object.keys(new ParsedPacket()).filter((field) => field !== "plain");

function fail(mutator: Mutator, what: string): never {
  const bytes = mutator.pool.slice(mutator.start, mutator.end).toHex();
  throw new Error(`${what}; seed packet "${mutator.nameOfSeed()}", input ${bytes}`);
}

/** Compares two parses of one packet at two places; an offset of 0 means "none" in some fields. */
function compare(
  mutator: Mutator,
  what: string,
  got: ParsedPacket,
  gotStart: number,
  wanted: ParsedPacket,
  wantedStart: number,
): void {
  const left = got as unknown as Record<string, number>;
  const right = wanted as unknown as Record<string, number>;
  for (const field of FIELDS) {
    let difference = left[field] - right[field];
    if (OFFSET_FIELDS.has(field)) {
      if (left[field] === 0 && right[field] === 0) continue;
      difference -= gotStart - wantedStart;
    }
    if (difference !== 0) {
      fail(mutator, `${what}: ${field} is ${left[field]}, not ${right[field]}`);
    }
  }
}

/** Same answer in a view that holds the packet and nothing else, and with other surroundings. */
function checkBounds(mutator: Mutator, parser: Parser, code: number, out: ParsedPacket): void {
  const { start, end, pool } = mutator;
  const sizeBytes = end - start;
  const other = new ParsedPacket();
  const exact = new DataView(pool.buffer, start, sizeBytes);
  if (parser(exact, 0, sizeBytes, other) !== code) fail(mutator, "another answer in an exact view");
  mutator.flipSurroundings();
  const again = parser(mutator.memory, start, end, other);
  mutator.flipSurroundings();
  if (again !== code) fail(mutator, "the answer depends on bytes around the packet");
  compare(mutator, "a field depends on bytes around the packet", other, start, out, start);
  if (code === PARSED) checkOffsets(mutator, out);
}

function checkOffsets(mutator: Mutator, out: ParsedPacket): void {
  const { start, end } = mutator;
  if (out.ipVersion === 0) return;
  const ordered =
    start <= out.ipStart &&
    out.ipStart < out.ipPayloadStart &&
    out.ipPayloadStart <= out.payloadStart &&
    out.payloadStart <= out.payloadEnd &&
    out.payloadEnd <= out.ipEnd &&
    out.ipEnd <= end;
  if (!ordered) fail(mutator, "offsets are not in order");
}

function packetTarget(
  name: string,
  parser: Parser,
  oracle: (bytes: Uint8Array) => OracleAnswer,
  seeds: readonly Seed[],
  reasons: FuzzTarget["reasons"],
): FuzzTarget {
  const out = new ParsedPacket();
  return {
    name,
    seeds,
    reasons,
    parse: (memory, start, end) => parser(memory, start, end, out),
    check: (mutator, code) => {
      const wanted = oracle(mutator.pool.slice(mutator.start, mutator.end));
      if (wanted.code !== code) fail(mutator, `answered ${code}, the oracle ${wanted.code}`);
      if (code === PARSED) compare(mutator, "oracle", out, mutator.start, wanted.packet, 0);
      checkBounds(mutator, parser, code, out);
    },
  };
}

/** Quotes: what is cut off must not matter to what is there. */
function quotedTarget(): FuzzTarget {
  const out = new ParsedPacket();
  const whole = new ParsedPacket();
  return {
    name: "parseQuoted",
    seeds: ipSeeds(),
    reasons: [
      ...CHAIN_REASONS,
      "quoteTruncated",
      "ipVersion",
      "ipv4HeaderLength",
      "ipv4TotalLength",
    ],
    parse: (memory, start, end) => parseQuoted(memory, start, end, out),
    check: (mutator, code) => {
      const { memory, start, end } = mutator;
      checkBounds(mutator, parseQuoted, code, out);
      if (parseIpAt(memory, start, end, whole) !== PARSED) return;
      if (code === DROP.quoteTruncated && whole.ipEnd - whole.payloadStart < 8) return;
      if (code !== PARSED) fail(mutator, "a whole packet is refused as a quote");
      const same =
        out.sourcePort === whole.sourcePort &&
        out.destinationPort === whole.destinationPort &&
        out.transportProtocol === whole.transportProtocol &&
        out.transportStart === whole.transportStart &&
        out.destination3 === whole.destination3 &&
        out.source0 === whole.source0 &&
        out.fragmentOffsetBytes === whole.fragmentOffsetBytes;
      if (!same) fail(mutator, "a quote names another flow than the packet");
    },
  };
}

/** Payloads behind an ABS header: must be read as behind their own IP header. */
function restoredTarget(): FuzzTarget {
  const out = new ParsedPacket();
  const whole = new ParsedPacket();
  const parser: Parser = (memory, start, end, packet) => {
    packet.ipStart = start;
    packet.ipVersion = 4;
    packet.plain = 0;
    packet.identification = 0;
    const room = end - start;
    const version = room > 0 ? memory.getUint8(start) >>> 4 : 4;
    if (version !== 6 && room >= 20) {
      const field = memory.getUint16(start + 6, false);
      return parseRestored(memory, memory.getUint8(start + 9), field, start + 20, end, packet);
    }
    packet.ipVersion = 6;
    if (room < 40) return parseRestored(memory, 17, 0, start, end, packet);
    return parseRestored(memory, memory.getUint8(start + 6), 0, start + 40, end, packet);
  };
  return {
    name: "parseRestored",
    seeds: ipSeeds(),
    reasons: [...TRANSPORT_REASONS, ...CHAIN_REASONS, "ipv4ReservedFlag", "ipv6ExtensionTruncated"],
    parse: (memory, start, end) => parser(memory, start, end, out),
    check: (mutator, code) => {
      const { memory, start, end } = mutator;
      const wanted = parseIpAt(memory, start, end, whole);
      const plain = whole.ipOptions === 0 && whole.ipEnd === end;
      if (plain && wanted !== code) fail(mutator, `answered ${code}, parseIpAt ${wanted}`);
      if (plain && code === PARSED) {
        out.linkStart = whole.linkStart;
        for (const field of FIELDS) {
          if (/^(source|destination)\d|etherType|timeToLive|identification/.test(field)) {
            Object.assign(out, { [field]: whole[field as keyof ParsedPacket] });
          }
        }
        compare(mutator, "parseIpAt", out, start, whole, start);
      }
    },
  };
}

function guardTarget(): FuzzTarget {
  const guard = new NeighbourGuard();
  const packet = new ParsedPacket();
  const message = new NeighbourMessage();
  loadGuard(guard);
  const parser: Parser = (memory, start, end, out) => {
    if (parsePacket(memory, start, end, out) !== PARSED) return EARLIER;
    const vlan = guard.checkVlan(out);
    if (vlan !== PARSED) return vlan;
    // As neighbourSeeds says; the fuzzer leaves the destination MAC alone.
    return (memory.getUint8(start + 5) & 1) === 1
      ? guard.checkIncoming(memory, out, end, message)
      : guard.checkOutgoing(memory, out, end, message);
  };
  return {
    name: "ARP, ND guard",
    seeds: neighbourSeeds(),
    reasons: [
      "arpMalformed",
      "arpSpoofed",
      "arpForged",
      "neighbourMalformed",
      "neighbourSpoofed",
      "neighbourForged",
      "vlanUnexpected",
      "vlanDouble",
      "sourceMac",
      "sourceAddress",
    ],
    parse: (memory, start, end) => parser(memory, start, end, packet),
    check: (mutator, code) => checkBounds(mutator, parser, code, packet),
  };
}

function loadGuard(guard: NeighbourGuard): void {
  const macOf = (bytes: Bytes): number[] => [
    bytes[0] * 256 + bytes[1],
    new DataView(Uint8Array.from(bytes).buffer).getUint32(2, false),
  ];
  const row = (address: Bytes, mac: Bytes): number[] => {
    const bytes = [...new Array<number>(16 - address.length).fill(0), ...address];
    const words = new DataView(Uint8Array.from(bytes).buffer);
    return [0, 4, 8, 12].map((at) => words.getUint32(at, false)).concat(macOf(mac));
  };
  guard.bindings.load(Uint32Array.from([...row(PEER_IP, PEER_MAC), ...row(PEER_IP6, PEER_MAC)]), 2);
  guard.own.load(Uint32Array.from([...row(OWN_IP, OWN_MAC), ...row(OWN_IP6, OWN_MAC)]), 2);
  [guard.ownMacHigh, guard.ownMacLow] = macOf(OWN_MAC);
  for (const id of [100, 300]) guard.allowedVlans[id >>> 5] |= 1 << (id & 31);
  guard.allowedOuterVlans[200 >>> 5] |= 1 << (200 & 31);
}

function optionsTarget(): FuzzTarget {
  const packet = new ParsedPacket();
  const syn = new SynOptions();
  const mssMax = 1_200;
  const parser: Parser = (memory, start, end, out) => {
    if (parsePacket(memory, start, end, out) !== PARSED) return EARLIER;
    return clampMss(memory, out, mssMax, syn);
  };
  return {
    name: "TCP options",
    seeds: frameSeeds().filter((seed) => seed.name.includes("syn")),
    reasons: ["tcpOptions"],
    parse: (memory, start, end) => parser(memory, start, end, packet),
    check: (mutator, code) => {
      checkBounds(mutator, parser, code, packet);
      if (code === EARLIER || packet.transportStart === 0) return;
      const { memory } = mutator;
      const wanted = oracleOptions(mutator.pool, packet);
      if (wanted.wrong !== (code === DROP.tcpOptions)) fail(mutator, `options: answered ${code}`);
      if (code !== PARSED) return;
      if (wanted.fastOpen !== ((syn.findings & SYN_FAST_OPEN) !== 0)) {
        fail(mutator, "Fast Open is not seen, or seen where it is not");
      }
      if (wanted.mssAt !== syn.mssAt || syn.mss > mssMax) fail(mutator, "MSS not found or clamped");
      if (syn.mssAt === 0) return;
      memory.setUint16(syn.mssAt, mssMax + 1 + (mutator.start & 0xfff), false);
      const { ipVersion, ipStart, transportStart, ipEnd } = packet;
      writeTransportChecksum(memory, ipVersion, ipStart, 6, transportStart, ipEnd);
      if (clampMss(memory, packet, mssMax, syn) !== PARSED) fail(mutator, "clamped once only");
      if (transportChecksum(memory, ipVersion, ipStart, 6, transportStart, ipEnd) !== 0) {
        fail(mutator, "the checksum is wrong after the clamp");
      }
    },
  };
}

/** The options of a SYN: RFC 9293 §3.1, RFC 7413 §4.1.1. */
function oracleOptions(
  pool: Uint8Array,
  packet: ParsedPacket,
): { wrong: boolean; fastOpen: boolean; mssAt: number } {
  const found = { wrong: false, fastOpen: false, mssAt: 0 };
  if (packet.transportProtocol !== 6 || (packet.tcpFlags & 2) === 0) return found;
  const bytes = pool.slice(packet.transportStart + 20, packet.payloadStart);
  let at = 0;
  while (at < bytes.length && bytes[at] !== 0) {
    const option = bytes.subarray(at, bytes[at] === 1 ? at + 1 : at + Math.max(2, bytes[at + 1]));
    at += option.length;
    if (option[0] === 1) continue;
    const sizeBytes = option[1];
    found.wrong ||= option.length !== sizeBytes || (option[0] === 2 && sizeBytes !== 4);
    if (found.wrong) break;
    if (option[0] === 34) found.fastOpen = true;
    if (option[0] === 254 && option[2] === 0xf9 && option[3] === 0x89) found.fastOpen = true;
    if (option[0] === 2) found.mssAt = packet.transportStart + 20 + at - 2;
  }
  return found;
}

/** All parsers that read what a stranger sent, below the ABS header. */
export function targets(): FuzzTarget[] {
  const frameReasons = [...IP_REASONS, ...LINK_REASONS] as const;
  return [
    packetTarget("parsePacket", parsePacket, oracleFrame, frameSeeds(), frameReasons),
    packetTarget("parseIpAt", parseIpAt, oracleIp, ipSeeds(), IP_REASONS),
    quotedTarget(),
    restoredTarget(),
    guardTarget(),
    optionsTarget(),
  ];
}
