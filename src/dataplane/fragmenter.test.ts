import { describe, expect, test } from "bun:test";
import { type Bytes, ethernet, filler, ipv4, ipv6, udp } from "../../test/fuzz/frames.ts";
import { checksumOf } from "./checksum.ts";
import { FRAGMENTS_MAX, fragmentCount, writeFragment } from "./fragmenter.ts";
import { parsePacket } from "./parse-packet.ts";
import { PARSED, ParsedPacket } from "./parsed-packet.ts";

const BUFFER_BYTES = 16_384;

interface Fragment {
  offset: number;
  more: number;
  data: Uint8Array;
  header: Uint8Array;
}

/** Splits a frame as the data plane does and reads the fragments back. */
function split(frame: Bytes, mtu: number): Fragment[] {
  const pool = new Uint8Array(BUFFER_BYTES * (FRAGMENTS_MAX + 1)).fill(0xee);
  const memory = new DataView(pool.buffer);
  pool.set(frame, 100);
  const packet = new ParsedPacket();
  expect(parsePacket(memory, 100, 100 + frame.length, packet)).toBe(PARSED);
  const count = fragmentCount(packet, mtu);
  const fragments: Fragment[] = [];
  for (let i = count - 1; i >= 0; i--) {
    const at = i === 0 ? packet.linkStart : BUFFER_BYTES * i + 50;
    const sizeBytes = writeFragment(memory, packet, i, mtu, at);
    const part = new ParsedPacket();
    expect(parsePacket(memory, at, at + sizeBytes, part)).toBe(PARSED);
    expect(part.ipEnd).toBe(at + sizeBytes);
    expect(part.ipEnd - part.ipStart).toBeLessThanOrEqual(mtu);
    expect(checksumOf(memory, part.ipStart, part.ipPayloadStart)).toBe(0);
    expect(part.identification).toBe(packet.identification);
    fragments.unshift({
      offset: part.fragmentOffsetBytes,
      more: part.moreFragments,
      data: pool.slice(part.ipPayloadStart, part.ipEnd),
      header: pool.slice(part.linkStart, part.ipStart),
    });
  }
  return fragments;
}

describe("an oversize packet", () => {
  for (const mtu of [576, 1_468, 1_460, 1_280]) {
    for (const payloadBytes of [mtu - 27, 1_472, 2_000, 4_000]) {
      test(`${payloadBytes} bytes of UDP payload at MTU ${mtu} can be put together again`, () => {
        const datagram = udp(filler(payloadBytes));
        const tags = [[0x8100, 7]] as const;
        const frame = ethernet(ipv4(datagram, { protocol: 17, fragment: 0 }), { tags });
        const fragments = split(frame, mtu);
        let offset = 0;
        fragments.forEach((fragment, i) => {
          expect(fragment.offset).toBe(offset);
          expect(fragment.more).toBe(i + 1 < fragments.length ? 1 : 0);
          expect([...fragment.header]).toEqual(frame.slice(0, 18));
          offset += fragment.data.length;
        });
        expect(fragments.flatMap((fragment) => [...fragment.data])).toEqual(datagram);
        const fewest = Math.ceil(datagram.length / ((mtu - 20) & ~7));
        expect(fragments.length).toBe(fewest);
      });
    }
  }

  test("a fragment is split further: offset and flag carry on", () => {
    const middle = ethernet(ipv4(filler(1_480), { protocol: 17, fragment: 0x2000 | 185 }));
    const parts = split(middle, 1_000);
    expect(parts.map(({ offset, more }) => [offset, more])).toEqual([
      [1_480, 1],
      [2_456, 1],
    ]);
  });
});

describe("fragmentCount", () => {
  const count = (frame: Bytes, mtu: number): number => {
    const packet = new ParsedPacket();
    const memory = new DataView(Uint8Array.from(frame).buffer);
    expect(parsePacket(memory, 0, frame.length, packet)).toBe(PARSED);
    return fragmentCount(packet, mtu);
  };
  const fields = { protocol: 17, fragment: 0 };
  const cases = [
    { name: "fits exactly", frame: ipv4(udp(filler(972)), fields), mtu: 1_000, wanted: 1 },
    { name: "one byte more", frame: ipv4(udp(filler(973)), fields), mtu: 1_000, wanted: 2 },
    {
      name: "fits although DF is set",
      frame: ipv4(udp(), { protocol: 17 }),
      mtu: 1_000,
      wanted: 1,
    },
    { name: "DF", frame: ipv4(udp(filler(973)), { protocol: 17 }), mtu: 1_000, wanted: 0 },
    {
      name: "options",
      frame: ipv4(udp(filler(973)), { ...fields, options: [7, 3, 4, 0] }),
      mtu: 1_000,
      wanted: 0,
    },
    { name: "IPv6", frame: ipv6(udp(filler(1_300)), { next: 17 }), mtu: 1_280, wanted: 0 },
    { name: "no room for data", frame: ipv4(udp(filler(973)), fields), mtu: 27, wanted: 0 },
    { name: "too many", frame: ipv4(udp(filler(973)), fields), mtu: 68, wanted: 0 },
  ];
  test.each(cases)("$name: $wanted", ({ frame, mtu, wanted }) => {
    expect(count(ethernet(frame), mtu)).toBe(wanted);
  });
});
