/** The parsers and checksums against real frames and what tshark says about them. */
import { describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { checksumOf, transportChecksum } from "../src/dataplane/checksum.ts";
import { parsePacket } from "../src/dataplane/parse-packet.ts";
import { PARSED, ParsedPacket } from "../src/dataplane/parsed-packet.ts";
import frames from "./data/frames.json" with { type: "json" };
import { oracleFrame } from "./fuzz/packet-oracle.ts";

type Fields = Record<string, string | undefined>;

const ETHERNET = 1;
const CHECKSUM_ABSENT = "3";

function number(text: string | undefined): number {
  return text === undefined ? Number.NaN : Number(text);
}

function ipv4Text(address: number): string {
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 0xff).join(".");
}

/** Pairs of [ours, tshark's], wherever tshark has an opinion on the outermost IP packet. */
function pairs(packet: ParsedPacket, fields: Fields): [string, number | string, number | string][] {
  const v4 = packet.ipVersion === 4;
  const list: [string, number | string, string | undefined][] = [
    ["life", packet.timeToLive, fields[v4 ? "ip.ttl" : "ipv6.hlim"]],
    ["protocol", packet.ipProtocol, fields[v4 ? "ip.proto" : "ipv6.nxt"]],
    ["vlan", packet.vlanCount === 2 ? packet.vlanOuterId : packet.vlanId, fields["vlan.id"]],
  ];
  if (v4) {
    list.push(
      ["source", ipv4Text(packet.source3), fields["ip.src"]],
      ["destination", ipv4Text(packet.destination3), fields["ip.dst"]],
      ["ip length", packet.ipEnd - packet.ipStart, fields["ip.len"]],
      ["ip header", packet.ipPayloadStart - packet.ipStart, fields["ip.hdr_len"]],
      ["identification", packet.identification, fields["ip.id"]],
      ["do not fragment", packet.dontFragment, fields["ip.flags.df"]],
      ["more fragments", packet.moreFragments, fields["ip.flags.mf"]],
      ["fragment offset", packet.fragmentOffsetBytes / 8, fields["ip.frag_offset"]],
    );
  } else {
    list.push(["length", packet.ipEnd - packet.ipPayloadStart, fields["ipv6.plen"]]);
  }
  const tcp = packet.transportProtocol === 6 && packet.transportStart > 0;
  const udp = packet.transportProtocol === 17 && packet.transportStart > 0;
  if (tcp || udp) {
    list.push(["source port", packet.sourcePort, fields[tcp ? "tcp.srcport" : "udp.srcport"]]);
    const port = fields[tcp ? "tcp.dstport" : "udp.dstport"];
    list.push(["destination port", packet.destinationPort, port]);
  }
  if (tcp) {
    list.push(["flags", packet.tcpFlags, fields["tcp.flags"]]);
    list.push(["sequence", packet.tcpSequence, fields["tcp.seq_raw"]]);
    list.push(["acknowledgement", packet.tcpAcknowledgement, fields["tcp.ack_raw"]]);
    list.push(["payload bytes", packet.payloadEnd - packet.payloadStart, fields["tcp.len"]]);
  }
  if (udp) list.push(["datagram", packet.payloadEnd - packet.transportStart, fields["udp.length"]]);
  if (packet.transportProtocol === 1 || packet.transportProtocol === 58) {
    list.push(["icmp type", packet.icmpType, fields[v4 ? "icmp.type" : "icmpv6.type"]]);
    list.push(["icmp code", packet.icmpCode, fields[v4 ? "icmp.code" : "icmpv6.code"]]);
  }
  return list.flatMap(([name, ours, theirs]) =>
    theirs === undefined ? [] : [[name, ours, typeof ours === "string" ? theirs : number(theirs)]],
  );
}

describe("frames with tshark's word for them", () => {
  const counts = { parsed: 0, tcp: 0, udp: 0, checksums: 0 };
  test(`${frames.length} frames: fields and checksums`, () => {
    const packet = new ParsedPacket();
    for (const { source, hex, tshark } of frames) {
      const fields: Fields = tshark;
      const bytes = Uint8Array.fromHex(hex);
      const memory = new DataView(bytes.buffer);
      const code = parsePacket(memory, 0, bytes.length, packet);
      expect(code).toBe(oracleFrame(bytes).code);
      if (code !== PARSED || packet.ipVersion === 0) continue;
      counts.parsed++;
      for (const [name, ours, theirs] of pairs(packet, fields)) {
        expect([source, name, ours]).toEqual([source, name, theirs]);
      }
      checkSums(memory, packet, fields, source, counts);
    }
    expect(counts.parsed).toBeGreaterThan(250);
    expect(counts.checksums).toBeGreaterThan(400);
  });
});

function checkSums(
  memory: DataView,
  packet: ParsedPacket,
  fields: Fields,
  source: string,
  counts: { checksums: number },
): void {
  const header = fields["ip.checksum.status"];
  if (header !== undefined && packet.ipVersion === 4) {
    const ours = checksumOf(memory, packet.ipStart, packet.ipPayloadStart) === 0 ? "1" : "0";
    expect([source, "ip checksum", ours]).toEqual([source, "ip checksum", header]);
    counts.checksums++;
  }
  const protocol = packet.transportProtocol;
  const name = new Map([
    [6, "tcp"],
    [17, "udp"],
    [1, "icmp"],
    [58, "icmpv6"],
  ]).get(protocol);
  const status = fields[`${name}.checksum.status`];
  if (status === undefined || status === CHECKSUM_ABSENT || packet.transportStart === 0) return;
  const end = protocol === 17 ? packet.payloadEnd : packet.ipEnd;
  const { ipVersion, ipStart, transportStart } = packet;
  const sum = transportChecksum(memory, ipVersion, ipStart, protocol, transportStart, end);
  expect([source, name, sum === 0 ? "1" : "0"]).toEqual([source, name, status]);
  counts.checksums++;
}

/** Frames of a classic Ethernet pcap file of either byte order; none of any other file. */
function framesOf(file: Uint8Array): Uint8Array[] {
  if (file.length < 24) return [];
  const view = new DataView(file.buffer, file.byteOffset, file.length);
  const magic = view.getUint32(0, true);
  const little = magic === 0xa1b2_c3d4 || magic === 0xa1b2_3c4d;
  if (!little && magic !== 0xd4c3_b2a1 && magic !== 0x4d3c_b2a1) return [];
  if (view.getUint32(20, little) !== ETHERNET) return [];
  const list: Uint8Array[] = [];
  for (let at = 24; at + 16 <= file.length; ) {
    const sizeBytes = view.getUint32(at + 8, little);
    if (at + 16 + sizeBytes > file.length) break;
    list.push(file.subarray(at + 16, at + 16 + sizeBytes));
    at += 16 + sizeBytes;
  }
  return list;
}

// The whole corpus lies beside the repository on development machines only; the frames above are
// taken from it.
const corpus = join(import.meta.dir, "../../shared/captures");
const files = existsSync(corpus) ? readdirSync(corpus) : [];
test(`all Ethernet captures of the corpus (${files.length} files) agree with the oracle`, () => {
  const packet = new ParsedPacket();
  for (const name of files) {
    for (const frame of framesOf(readFileSync(join(corpus, name)))) {
      const bytes = Uint8Array.from(frame);
      const code = parsePacket(new DataView(bytes.buffer), 0, bytes.length, packet);
      const wanted = oracleFrame(bytes);
      expect(code).toBe(wanted.code);
      if (code === PARSED) expect(packet.payloadEnd).toBe(wanted.packet.payloadEnd);
    }
  }
});
