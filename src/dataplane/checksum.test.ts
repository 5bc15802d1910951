import { describe, expect, test } from "bun:test";
import {
  filler,
  icmp,
  ipv4,
  ipv6,
  slowChecksum,
  tcp,
  udp,
  withChecksum,
} from "../../test/fuzz/frames.ts";
import { Prng, seedOfRun } from "../../test/fuzz/prng.ts";
import {
  addRange,
  adjustChecksum,
  checksumOf,
  fold,
  replaceWord,
  transportChecksum,
  writeIpv4Checksum,
  writeTransportChecksum,
} from "./checksum.ts";

function viewOf(bytes: readonly number[]): DataView {
  return new DataView(Uint8Array.from(bytes).buffer);
}

const seed = seedOfRun();

test("RFC 1071 section 3: the example's sum is ddf2", () => {
  const memory = viewOf([0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
  expect(fold(addRange(memory, 0, 8, 0))).toBe(0xddf2);
  expect(checksumOf(memory, 0, 8)).toBe(0x220d);
});

test("every length and alignment agrees with word-by-word addition", () => {
  const bytes = filler(80).map((byte) => (byte * 37) & 0xff);
  const memory = viewOf(bytes);
  for (let start = 0; start < 9; start++) {
    for (let end = start; end <= bytes.length; end++) {
      expect(checksumOf(memory, start, end)).toBe(slowChecksum(bytes.slice(start, end)));
    }
  }
});

test("the greatest packet of ones does not overflow", () => {
  const memory = new DataView(new Uint8Array(65_536).fill(0xff).buffer);
  expect(fold(addRange(memory, 0, 65_536, 0xffff * 20))).toBe(0xffff);
});

test("RFC 1624 section 4: equation 3 gives 0000 where equation 2 gave ffff", () => {
  expect(adjustChecksum(0xdd2f, 0x5555, 0x3285)).toBe(0x0000);
});

test(`incremental change agrees with a fresh checksum (SEED=${seed})`, () => {
  const prng = new Prng(seed);
  for (let run = 0; run < 2_000; run++) {
    const packet = withChecksum(ipv4(tcp(filler(21))), 20, 16);
    const memory = viewOf(packet);
    // Any place of the segment but its checksum, at odd distances too.
    let at = 20 + prng.below(39);
    if (at > 34 && at < 38) at = 38;
    replaceWord(memory, at, prng.below(65_536), 20, 36);
    expect(transportChecksum(memory, 4, 0, 6, 20, packet.length)).toBe(0);
  }
});

describe("writing checksums", () => {
  const cases = [
    { name: "TCP", packet: ipv4(tcp(filler(9))), at: 20, offset: 16 },
    { name: "UDP", packet: ipv4(udp(filler(8)), { protocol: 17 }), at: 20, offset: 6 },
    { name: "ICMP", packet: ipv4(icmp(8, 0, 5, filler(3)), { protocol: 1 }), at: 20, offset: 2 },
    { name: "TCP over IPv6", packet: ipv6(tcp(filler(9))), at: 40, offset: 16 },
    { name: "UDP over IPv6", packet: ipv6(udp(filler(1)), { next: 17 }), at: 40, offset: 6 },
    { name: "ICMPv6", packet: ipv6(icmp(128, 0, 5), { next: 58 }), at: 40, offset: 2 },
  ];
  test.each(cases)("$name", ({ packet, at, offset }) => {
    const memory = viewOf(packet);
    const version = packet[0] >>> 4;
    const protocol = version === 4 ? packet[9] : packet[6];
    memory.setUint16(at + offset, 0x1234, false); // what was there does not matter
    writeTransportChecksum(memory, version, 0, protocol, at, packet.length);
    const wanted = withChecksum(packet, at, offset);
    expect([...new Uint8Array(memory.buffer)]).toEqual(wanted);
    expect(transportChecksum(memory, version, 0, protocol, at, packet.length)).toBe(0);
  });

  test("a UDP checksum of 0 is written as ffff", () => {
    const packet = ipv4(udp([0, 0]), { protocol: 17 });
    const memory = viewOf(packet);
    writeTransportChecksum(memory, 4, 0, 17, 20, 30);
    const word = memory.getUint16(26, false); // makes the sum of all else ffff
    memory.setUint16(28, word, false);
    writeTransportChecksum(memory, 4, 0, 17, 20, 30);
    expect(memory.getUint16(26, false)).toBe(0xffff);
    expect(transportChecksum(memory, 4, 0, 17, 20, 30)).toBe(0);
  });

  test("IPv4 header, with options", () => {
    const packet = ipv4(udp(), { options: [7, 3, 4, 0], protocol: 17 });
    const memory = viewOf(packet);
    memory.setUint16(10, 0xdead, false);
    writeIpv4Checksum(memory, 0, 24);
    expect([...new Uint8Array(memory.buffer)]).toEqual(packet);
    expect(checksumOf(memory, 0, 24)).toBe(0);
  });

  test("a protocol without a checksum is left alone", () => {
    const memory = viewOf(ipv4(filler(20), { protocol: 50 }));
    const before = [...new Uint8Array(memory.buffer)];
    writeTransportChecksum(memory, 4, 0, 50, 20, 40);
    expect([...new Uint8Array(memory.buffer)]).toEqual(before);
  });
});
