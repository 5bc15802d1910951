import { describe, expect, test } from "bun:test";
import {
  type Bytes,
  ethernet,
  extension,
  filler,
  fragmentHeader,
  icmp,
  ipv4,
  ipv6,
  tcp,
  udp,
} from "../../test/fuzz/frames.ts";
import { oracleFrame, oracleIp } from "../../test/fuzz/packet-oracle.ts";
import { frameSeeds, ipSeeds, neighbourSeeds } from "../../test/fuzz/seeds.ts";
import { DROP, DROP_NAMES } from "./drop-reasons.ts";
import { parseIpAt, parsePacket, parseRestored } from "./parse-packet.ts";
import { PARSED, ParsedPacket } from "./parsed-packet.ts";

const ROOM_BYTES = 64; // rubbish around the packet

interface Parse {
  code: number;
  packet: ParsedPacket;
}

/** Parses with rubbish on both sides; offsets in the answer are from the packet's start. */
function parse(bytes: Bytes | Uint8Array, out = new ParsedPacket(), ip = false): Parse {
  const pool = new Uint8Array(bytes.length + 2 * ROOM_BYTES).fill(0xee);
  pool.set(bytes, ROOM_BYTES);
  const memory = new DataView(pool.buffer, ROOM_BYTES, bytes.length);
  const code = (ip ? parseIpAt : parsePacket)(memory, 0, bytes.length, out);
  return { code, packet: out };
}

function withoutPlain(packet: ParsedPacket): Partial<ParsedPacket> {
  const { plain: _, ...fields } = packet;
  return fields;
}

describe("refusals", () => {
  const v4 = (ip: Parameters<typeof ipv4>[1], payload: Bytes = udp()): number[] =>
    ethernet(ipv4(payload, { protocol: 17, ...ip }));
  const v4Byte = (offset: number, value: number): number[] => {
    const frame = ethernet(ipv4(udp(filler(4)), { protocol: 17 }));
    frame[14 + offset] = value;
    return frame;
  };
  const segment = (fields: Parameters<typeof tcp>[1]): number[] => ethernet(ipv4(tcp([], fields)));
  const chain = (count: number): number[] => {
    let packet = extension(17, 8, udp());
    for (let i = 1; i < count; i++) packet = extension(60, 8, packet);
    return ethernet(ipv6(packet, { next: 60 }));
  };
  const routing = extension(17, 8, udp());
  routing[3] = 1;
  const twice = fragmentHeader(44, 0, 0, 1, fragmentHeader(17, 0, 0, 1, udp()));
  const cases: readonly (readonly [string, Bytes, keyof typeof DROP | "parsed"])[] = [
    ["13 bytes", filler(13), "linkTruncated"],
    ["no bytes", [], "linkTruncated"],
    ["tag without type", ethernet([0, 1, 8], { type: 0x8100 }), "vlanTruncated"],
    ["LLC", ethernet(filler(60), { type: 38 }), "etherType"],
    ["LLDP", ethernet(filler(60), { type: 0x88cc }), "etherType"],
    ["IPv6 under the IPv4 type", ethernet(ipv6(udp()), { type: 0x0800 }), "ipVersion"],
    ["IPv4 under the IPv6 type", ethernet(ipv4(filler(40)), { type: 0x86dd }), "ipVersion"],
    ["IHL 4", v4Byte(0, 0x44), "ipv4HeaderLength"],
    ["IHL 15 in 32 bytes", v4Byte(0, 0x4f), "ipv4Truncated"],
    ["total length 19", v4({ totalBytes: 19 }), "ipv4TotalLength"],
    ["total length 20", v4({ totalBytes: 20 }), "udpTruncated"],
    ["total length one more than there is", v4({ totalBytes: 29 }), "ipv4TotalLength"],
    ["padding", [...v4({}), 0, 0, 0], "parsed"],
    ["option of length 1", v4({ options: [7, 1, 0, 0] }), "ipv4Options"],
    ["option past the header", v4({ options: [1, 7, 4, 0] }), "ipv4Options"],
    ["option without length", v4({ options: [1, 1, 1, 7] }), "ipv4Options"],
    ["rubbish after the end of options", v4({ options: [0, 7, 99, 0] }), "parsed"],
    ["loose source route", v4({ options: [131, 3, 4, 0] }), "ipv4SourceRoute"],
    ["strict source route", v4({ options: [137, 3, 4, 0] }), "ipv4SourceRoute"],
    ["record route", v4({ options: [7, 3, 4, 0] }), "parsed"],
    ["reserved flag", v4({ fragment: 0x8000 }), "ipv4ReservedFlag"],
    ["first fragment with 7 bytes of UDP", v4({ fragment: 0x2000 }, filler(7)), "fragmentLength"],
    ["first fragment, whole UDP header", v4({ fragment: 0x2000 }), "parsed"],
    [
      "first fragment, 16 bytes of TCP",
      v4({ fragment: 0x2000, protocol: 6 }, filler(16)),
      "fragmentFirstShort",
    ],
    [
      "first fragment without the TCP options",
      v4({ fragment: 0x2000, protocol: 6 }, tcp([], { options: filler(40) }).slice(0, 56)),
      "fragmentFirstShort",
    ],
    ["TCP at offset 8", v4({ fragment: 1, protocol: 6 }, filler(64)), "fragmentTcpOffset"],
    ["TCP at offset 16", v4({ fragment: 2, protocol: 6 }, filler(64)), "fragmentTcpOffset"],
    ["TCP at offset 24", v4({ fragment: 3, protocol: 6 }, filler(64)), "parsed"],
    ["UDP at offset 8", v4({ fragment: 1 }, filler(64)), "parsed"],
    ["last fragment without data", v4({ fragment: 9 }, []), "fragmentLength"],
    ["middle fragment of 12 bytes", v4({ fragment: 0x2009 }, filler(12)), "fragmentLength"],
    ["ends at 65,535", v4({ fragment: 8186 }, filler(27)), "parsed"],
    ["ends at 65,536", v4({ fragment: 8186 }, filler(28)), "fragmentPastEnd"],
    ["20 bytes of IPv6", ethernet([0x60, ...filler(19)]), "ipv6Truncated"],
    [
      "payload length too great",
      ethernet(ipv6(udp(), { next: 17, payloadBytes: 9 })),
      "ipv6PayloadLength",
    ],
    [
      "jumbogram",
      ethernet(ipv6(extension(17, 8, udp()), { next: 0, payloadBytes: 0 })),
      "ipv6ExtensionTruncated",
    ],
    ["extension of 7 bytes", ethernet(ipv6(filler(7), { next: 60 })), "ipv6ExtensionTruncated"],
    [
      "extension past the end",
      ethernet(ipv6([17, 1, ...filler(6)], { next: 60 })),
      "ipv6ExtensionTruncated",
    ],
    ["8 extensions", chain(8), "parsed"],
    ["9 extensions", chain(9), "ipv6ExtensionCount"],
    [
      "hop-by-hop second",
      ethernet(ipv6(extension(0, 8, extension(17, 8, udp())), { next: 60 })),
      "ipv6ExtensionOrder",
    ],
    ["two fragment headers", ethernet(ipv6(twice, { next: 44 })), "ipv6ExtensionOrder"],
    ["segments left", ethernet(ipv6(routing, { next: 43 })), "ipv6SourceRoute"],
    ["no segments left", ethernet(ipv6(extension(17, 8, udp()), { next: 43 })), "parsed"],
    [
      "first IPv6 fragment without the chain's end",
      ethernet(ipv6(fragmentHeader(60, 0, 1, 1, [6, 1, ...filler(6)]), { next: 44 })),
      "fragmentFirstShort",
    ],
    ["data offset 4", segment({ options: [] }).with(46, 0x40), "tcpHeaderLength"],
    ["data offset 6 in 20 bytes", segment({}).with(46, 0x60), "tcpHeaderLength"],
    ["19 bytes of TCP", ethernet(ipv4(tcp().slice(0, 19))), "tcpTruncated"],
    ["UDP length 7", v4({}, udp().with(5, 7)), "udpLength"],
    ["UDP length 9 of 8", v4({}, udp().with(5, 9)), "udpLength"],
    ["UDP length 8 of 12", v4({}, udp(filler(4)).with(5, 8)), "parsed"],
    ["7 bytes of ICMP", v4({ protocol: 1 }, icmp(8, 0, 1).slice(0, 7)), "icmpTruncated"],
    ["ICMPv6 in IPv4 is nothing known", v4({ protocol: 58 }, [1]), "parsed"],
    ["no next header", ethernet(ipv6([], { next: 59 })), "parsed"],
  ];
  test.each(cases.map(([name, bytes, wanted]) => ({ name, bytes, wanted })))(
    "$name: $wanted",
    ({ bytes, wanted }) => {
      const { code } = parse(bytes);
      expect(DROP_NAMES[code] || "parsed").toBe(
        wanted === "parsed" ? wanted : DROP_NAMES[DROP[wanted]],
      );
      expect(oracleFrame(Uint8Array.from(bytes)).code).toBe(code);
    },
  );
});

const seeds = [...frameSeeds(), ...neighbourSeeds()];

test("every seed at every length agrees with the oracle and with what came before", () => {
  const reused = new ParsedPacket();
  for (const { name, bytes } of seeds) {
    for (let length = 0; length <= bytes.length; length++) {
      const cut = bytes.slice(0, length);
      const wanted = oracleFrame(cut);
      const { code } = parse(cut, reused);
      expect([name, length, code]).toEqual([name, length, wanted.code]);
      const fresh = parse(cut);
      expect(withoutPlain(reused)).toEqual(withoutPlain(fresh.packet));
      if (code === PARSED) expect(withoutPlain(fresh.packet)).toEqual(withoutPlain(wanted.packet));
    }
  }
});

test("every header byte with every value agrees with the oracle", () => {
  const reused = new ParsedPacket();
  for (const { name, bytes, ipStart } of frameSeeds()) {
    if (bytes.length > 110) continue;
    for (let at = 12; at < Math.min(bytes.length, ipStart + 64); at++) {
      const changed = bytes.slice();
      for (let value = at % 3; value < 256; value += 3) {
        changed[at] = value;
        const wanted = oracleFrame(changed).code;
        const { code } = parse(changed, reused);
        if (code !== wanted) expect([name, at, value, code]).toEqual([name, at, value, wanted]);
      }
    }
  }
});

test("IP packets without a link header, every length", () => {
  for (const { bytes } of ipSeeds()) {
    for (let length = 0; length <= bytes.length; length++) {
      const cut = bytes.slice(0, length);
      const wanted = oracleIp(cut);
      const { code, packet } = parse(cut, new ParsedPacket(), true);
      expect(code).toBe(wanted.code);
      if (code === PARSED) expect(withoutPlain(packet)).toEqual(withoutPlain(wanted.packet));
    }
  }
});

test("the 64 flag combinations of TCP", () => {
  const accepted: number[] = [];
  for (let flags = 0; flags < 256; flags++) {
    const { code } = parse(ethernet(ipv4(tcp([], { flags }))));
    expect([PARSED, DROP.tcpFlags] as number[]).toContain(code);
    if (code === PARSED && flags < 64 && (flags & 8) === 0) accepted.push(flags);
    // CWR and ECE are congestion control's; they make no combination valid or invalid.
    expect(parse(ethernet(ipv4(tcp([], { flags: flags ^ 0xc0 })))).code).toBe(code);
  }
  expect(accepted).toEqual([2, 4, 16, 17, 18, 20, 34, 48, 49]);
});

test("a refused packet leaves what was read of it and nothing of the one before", () => {
  const out = new ParsedPacket();
  parse(ethernet(ipv6(tcp(filler(9))), { tags: [[0x8100, 7]] }), out);
  expect(out.vlanId).toBe(7);
  const { code } = parse(ethernet(ipv4(udp([], [68, 67]).with(5, 99), { protocol: 17 })), out);
  expect(code).toBe(DROP.udpLength);
  expect([out.vlanId, out.vlanCount, out.source0, out.tcpSequence]).toEqual([0, 0, 0, 0]);
  expect([out.source3, out.sourcePort, out.destinationPort]).toEqual([0x0a00_0001, 68, 67]);
});

test("UDP payload ends where the datagram does", () => {
  const { packet } = parse(ethernet(ipv4(udp(filler(4)).with(5, 10), { protocol: 17 })));
  expect([packet.payloadStart, packet.payloadEnd, packet.ipEnd]).toEqual([42, 44, 46]);
});

test.each([33, 132, 136])("protocol %i begins with its ports, if they are there", (protocol) => {
  for (const wrap of [ipv4, (body: readonly number[]) => ipv6(body, { next: protocol })]) {
    const { packet } = parse(ethernet(wrap([0x13, 0x89, 0, 80, ...filler(12)], { protocol })));
    expect([packet.sourcePort, packet.destinationPort]).toEqual([5_001, 80]);
    const { code, packet: cut } = parse(ethernet(wrap([0x13, 0x89, 0], { protocol })));
    expect([code, cut.sourcePort, cut.destinationPort]).toEqual([PARSED, 0, 0]);
  }
});

test("parseRestored reads a payload behind an ABS header as behind its own IP header", () => {
  const inner = [...tcp(filler(7), { flags: 0x18, sourcePort: 1 })];
  const header = [0x15, 6, 0x40, 0, ...new Array<number>(28).fill(1)];
  const frame = ethernet(ipv4([...header, ...inner], { protocol: 253 }));
  const { code, packet } = parse(frame);
  expect([code, packet.transportProtocol, packet.payloadStart]).toEqual([PARSED, 253, 34]);
  const memory = new DataView(Uint8Array.from(frame).buffer);
  expect(parseRestored(memory, 6, 0x4000, 66, frame.length, packet)).toBe(PARSED);
  expect([packet.ipProtocol, packet.sourcePort, packet.destinationPort]).toEqual([6, 1, 6379]);
  expect([packet.ipPayloadStart, packet.payloadStart, packet.payloadEnd]).toEqual([66, 86, 93]);
  expect(packet.dontFragment).toBe(1);
  // The same bytes as a first fragment that lacks part of the TCP header, and as a later one.
  expect(parseRestored(memory, 6, 0x2000, 66, 82, packet)).toBe(DROP.fragmentFirstShort);
  expect(parseRestored(memory, 17, 0x0010, 66, 93, packet)).toBe(PARSED);
  expect([packet.isFragment, packet.fragmentOffsetBytes, packet.transportStart]).toEqual([
    1, 128, 0,
  ]);
  expect(parseRestored(memory, 6, 0, 66, 93, packet)).toBe(PARSED);
  expect([packet.isFragment, packet.fragmentOffsetBytes]).toEqual([0, 0]);
  expect(parseRestored(memory, 6, 0, 94, 93, packet)).toBe(DROP.ipv4Truncated);
});
