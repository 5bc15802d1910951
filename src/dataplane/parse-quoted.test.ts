import { describe, expect, test } from "bun:test";
import {
  extension,
  filler,
  fragmentHeader,
  icmp,
  ipv4,
  ipv6,
  tcp,
  udp,
} from "../../test/fuzz/frames.ts";
import { ipSeeds } from "../../test/fuzz/seeds.ts";
import { DROP } from "./drop-reasons.ts";
import { parseIpAt } from "./parse-packet.ts";
import { parseQuoted } from "./parse-quoted.ts";
import { PARSED, ParsedPacket } from "./parsed-packet.ts";

const out = new ParsedPacket();

function quoted(bytes: readonly number[], length = bytes.length): number {
  const pool = Uint8Array.from([...bytes.slice(0, length), ...filler(64)]);
  return parseQuoted(new DataView(pool.buffer), 0, length, out);
}

describe("a quote names the flow by its first 8 bytes of payload", () => {
  const cases = [
    { name: "TCP", packet: ipv4(tcp(filler(900))), at: 20, ports: [40_000, 6_379], protocol: 6 },
    {
      name: "UDP",
      packet: ipv4(udp(filler(9)), { protocol: 17 }),
      at: 20,
      ports: [5_353, 53],
      protocol: 17,
    },
    {
      name: "SCTP",
      packet: ipv4([0x13, 0x89, 0, 80, ...filler(12)], { protocol: 132 }),
      at: 20,
      ports: [5_001, 80],
      protocol: 132,
    },
    {
      name: "echo",
      packet: ipv4(icmp(8, 0, 0x1234_0001), { protocol: 1 }),
      at: 20,
      ports: [0x1234, 0x1234],
      protocol: 1,
    },
    { name: "TCP 6", packet: ipv6(tcp(filler(900))), at: 40, ports: [40_000, 6_379], protocol: 6 },
    {
      name: "echo 6",
      packet: ipv6(icmp(128, 0, 7 << 16), { next: 58 }),
      at: 40,
      ports: [7, 7],
      protocol: 58,
    },
    {
      name: "ABS",
      packet: ipv4(filler(64), { protocol: 253 }),
      at: 20,
      ports: [0, 0],
      protocol: 253,
    },
    {
      name: "behind options",
      packet: ipv6(extension(17, 16, udp()), { next: 60 }),
      at: 56,
      ports: [5_353, 53],
      protocol: 17,
    },
    {
      name: "first fragment",
      packet: ipv6(fragmentHeader(17, 0, 1, 3, udp(filler(16))), { next: 44 }),
      at: 48,
      ports: [5_353, 53],
      protocol: 17,
    },
  ];
  test.each(cases)("$name", ({ packet, at, ports, protocol }) => {
    for (let length = 0; length <= packet.length; length++) {
      const code = quoted(packet, length);
      expect(code).toBe(length < at + 8 ? DROP.quoteTruncated : PARSED);
      if (code !== PARSED) continue;
      expect([out.sourcePort, out.destinationPort]).toEqual(ports);
      expect([out.transportProtocol, out.transportStart, out.payloadEnd]).toEqual([
        protocol,
        at,
        length,
      ]);
    }
  });

  test("a later fragment names none", () => {
    expect(quoted(ipv4(filler(8), { fragment: 5 }))).toBe(PARSED);
    expect([out.transportStart, out.isFragment, out.fragmentOffsetBytes]).toEqual([0, 1, 40]);
  });
});

test("refusals", () => {
  expect(quoted(ipv4(udp()).with(0, 0x55))).toBe(DROP.ipVersion);
  expect(quoted(ipv4(udp()).with(0, 0x44))).toBe(DROP.ipv4HeaderLength);
  expect(quoted(ipv4(udp(), { totalBytes: 19 }))).toBe(DROP.ipv4TotalLength);
  const route = extension(17, 8, udp());
  route[3] = 2;
  expect(quoted(ipv6(route, { next: 43 }))).toBe(DROP.ipv6SourceRoute);
});

test("what is whole reads like a whole packet", () => {
  const whole = new ParsedPacket();
  for (const { name, bytes } of ipSeeds()) {
    const memory = new DataView(bytes.slice().buffer);
    if (parseIpAt(memory, 0, bytes.length, whole) !== PARSED) continue;
    if (whole.ipEnd - whole.payloadStart < 8) continue;
    expect([name, quoted([...bytes])]).toEqual([name, PARSED]);
    expect(out.transportStart).toBe(whole.transportStart);
    expect(out.source3).toBe(whole.source3);
  }
});
