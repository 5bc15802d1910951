/**
 * The capture readers on captures built byte by byte: both formats, byte orders and resolutions,
 * and what must not be believed: lengths, magics, ends. draft-ietf-opsawg-pcap and -pcapng.
 */
import { expect, test } from "bun:test";
import { ascii, concat } from "../../src/bytes.ts";
import { WINDOW_BYTES } from "../../src/capture/capture-window.ts";
import { AbsError } from "../../src/errors.ts";
import {
  BIG,
  block,
  enhanced,
  ethernet,
  interfaceBlock,
  LITTLE,
  obsolete,
  pcap,
  section,
  simple,
  u32,
  udp,
} from "./capture-bytes.ts";
import { readAll } from "./recorder.ts";

const FRAMES = ["one", "two two", "three three three"].map((text) => ethernet(udp(text)));
const RAW = 101;

/** Times of the first packet, of 2^32 + 2 ticks. */
const TICKS = 2 ** 32 + 2;

const formats = [
  { name: "pcap, little-endian", bytes: pcap(FRAMES), seconds: 5e-6 },
  { name: "pcap, big-endian", bytes: pcap(FRAMES, BIG), seconds: 5e-6 },
  { name: "pcap of ns, little-endian", bytes: pcap(FRAMES, { nanos: true }), seconds: 5e-9 },
  { name: "pcap of ns, big-endian", bytes: pcap(FRAMES, { ...BIG, nanos: true }), seconds: 5e-9 },
  ...[LITTLE, BIG].flatMap((order) => {
    const name = order.littleEndian ? "little-endian" : "big-endian";
    const head = (resolution?: number) =>
      concat(section(order), interfaceBlock(1, order, resolution));
    const body = concat(...FRAMES.map((frame) => enhanced(frame, 0, order)));
    const old = concat(...FRAMES.map((frame) => obsolete(frame, 0, order)));
    const plain = concat(...FRAMES.map((frame) => simple(frame, order)));
    return [
      { name: `pcapng, ${name}`, bytes: concat(head(), body), seconds: TICKS / 1e6 },
      { name: `pcapng of ns, ${name}`, bytes: concat(head(9), body), seconds: TICKS / 1e9 },
      {
        name: `pcapng of 2^-20 s, ${name}`,
        bytes: concat(head(0x94), body),
        seconds: TICKS / 2 ** 20,
      },
      {
        name: `pcapng, obsolete blocks, ${name}`,
        bytes: concat(head(), old),
        seconds: TICKS / 1e6,
      },
      { name: `pcapng, simple blocks, ${name}`, bytes: concat(head(), plain), seconds: 0 },
    ];
  }),
];

test.each(formats)("$name: all packets, whatever the reads give", ({ bytes, seconds }) => {
  for (const atOnce of [WINDOW_BYTES, 1, 7]) {
    const { packets, fault, skipped } = readAll(bytes, atOnce);
    expect(packets.map((packet) => packet.bytes)).toEqual(FRAMES);
    expect(packets.map(({ wireBytes }) => wireBytes)).toEqual(FRAMES.map(({ length }) => length));
    expect(packets.map(({ linkType }) => linkType)).toEqual([1, 1, 1]);
    expect(packets[0].seconds).toBeCloseTo(seconds, 9);
    expect({ fault, skipped }).toEqual({ fault: "", skipped: 0 });
  }
});

test.each(formats)("$name: cut anywhere, it gives its whole packets and says so", ({ bytes }) => {
  for (let length = 0; length < bytes.length; length++) {
    let read: ReturnType<typeof readAll>;
    try {
      read = readAll(bytes.slice(0, length));
    } catch (error) {
      expect(error).toBeInstanceOf(AbsError);
      expect((error as AbsError).code).toBe("CAPTURE_FORMAT");
      continue;
    }
    const { packets, fault } = read;
    expect(packets.map((packet) => packet.bytes)).toEqual(FRAMES.slice(0, packets.length));
    const isBoundary = fault === "";
    // Without a fault what was read must be the whole of a shorter capture.
    if (isBoundary) expect(readAll(bytes.slice(0, length + 1)).fault).not.toBe("");
    else expect(fault).toContain("cut short");
  }
});

test("a packet that was captured in part keeps its length on the wire", () => {
  const { packets } = readAll(pcap(FRAMES, { snap: 20 }));
  expect(packets.map(({ bytes }) => bytes.length)).toEqual([20, 20, 20]);
  expect(packets.map(({ wireBytes }) => wireBytes)).toEqual(FRAMES.map(({ length }) => length));
});

test("the snap length of the interface bounds a simple packet block", () => {
  const head = concat(section(), interfaceBlock(1, LITTLE, undefined, 24));
  const { packets } = readAll(concat(head, simple(FRAMES[2], LITTLE, 24)));
  expect(packets.map(({ bytes, wireBytes }) => [bytes.length, wireBytes])).toEqual([
    [24, FRAMES[2].length],
  ]);
});

test("interfaces of different link types, sections of different byte orders", () => {
  const packet = udp("raw");
  const bytes = concat(
    section(LITTLE),
    interfaceBlock(1),
    interfaceBlock(RAW),
    enhanced(FRAMES[0], 0),
    enhanced(packet, 1),
    section(BIG),
    interfaceBlock(RAW, BIG),
    enhanced(packet, 0, BIG),
  );
  expect(readAll(bytes).packets.map(({ linkType }) => linkType)).toEqual([1, RAW, RAW]);
});

test("blocks of other kinds are skipped, of any length", () => {
  const large = block(0x0bad, new Uint8Array(3 * WINDOW_BYTES));
  const bytes = concat(section(), large, interfaceBlock(1), large, enhanced(FRAMES[0]));
  expect(readAll(bytes)).toMatchObject({ fault: "", skipped: 0, packets: { length: 1 } });
  expect(readAll(bytes.slice(0, 2 * WINDOW_BYTES)).fault).toContain("cut short");
});

test("packets of no interface, and larger than packets are, are skipped and counted", () => {
  const giant = enhanced(new Uint8Array(WINDOW_BYTES));
  const bytes = concat(
    section(),
    interfaceBlock(1),
    enhanced(FRAMES[0], 7),
    giant,
    enhanced(FRAMES[1]),
  );
  expect(readAll(bytes)).toMatchObject({ fault: "", skipped: 2, packets: [{ bytes: FRAMES[1] }] });
});

const damaged = [
  {
    name: "pcap: a record of 4 GB",
    bytes: concat(
      pcap(FRAMES),
      u32(1, LITTLE),
      u32(1, LITTLE),
      u32(0xffff_ffff, LITTLE),
      u32(9, LITTLE),
    ),
    whole: 3,
    fault: "claims 4294967295 bytes",
  },
  {
    name: "pcapng: a block of 4 GB",
    bytes: concat(
      section(),
      interfaceBlock(1),
      enhanced(FRAMES[0]),
      u32(6, LITTLE),
      u32(0xffff_fffc, LITTLE),
      new Uint8Array(40),
    ),
    whole: 1,
    fault: "cut short",
  },
  {
    name: "pcapng: a block of 8 bytes",
    bytes: concat(
      section(),
      interfaceBlock(1),
      enhanced(FRAMES[0]),
      u32(6, LITTLE),
      u32(8, LITTLE),
      new Uint8Array(40),
    ),
    whole: 1,
    fault: "shorter than a block",
  },
  {
    name: "pcapng: lengths that differ",
    bytes: (() => {
      const bytes = concat(section(), interfaceBlock(1), enhanced(FRAMES[0]), enhanced(FRAMES[1]));
      bytes[bytes.length - 4] ^= 4;
      return bytes;
    })(),
    whole: 1,
    fault: "does not end with its length",
  },
  {
    name: "pcapng: a packet longer than its block",
    bytes: (() => {
      const packet = enhanced(FRAMES[0]);
      packet[20] = 0xff;
      return concat(section(), interfaceBlock(1), packet);
    })(),
    whole: 0,
    fault: "holds less than its packet",
  },
  {
    name: "pcapng: a section of no byte order",
    bytes: concat(
      section(),
      interfaceBlock(1),
      enhanced(FRAMES[0]),
      block(0x0a0d0d0a, new Uint8Array(16)),
    ),
    whole: 1,
    fault: "without a byte order",
  },
];

test.each(damaged)("$name: what lies before it is read", ({ bytes, whole, fault }) => {
  const read = readAll(bytes);
  expect(read.packets.length).toBe(whole);
  expect(read.fault).toContain(fault);
  expect(read.fault).toMatch(/at byte \d+/);
});

const refused = [
  { name: "an empty file", bytes: new Uint8Array(0), message: "is empty" },
  { name: "three bytes", bytes: Uint8Array.of(0xd4, 0xc3, 0xb2), message: "3 bytes only" },
  { name: "text", bytes: ascii("file,proto,src_ip"), message: "begins with 0x66696c65" },
  { name: "a gzip file", bytes: Uint8Array.of(0x1f, 0x8b, 8, 0, 0, 0), message: "0x1f8b0800" },
  { name: "half a pcap header", bytes: pcap([]).slice(0, 20), message: "ends in its header" },
];

test.each(refused)("$name is refused with a reason and a remedy", ({ bytes, message }) => {
  expect(() => readAll(bytes)).toThrow(message);
  try {
    readAll(bytes);
  } catch (error) {
    expect(error).toMatchObject({ code: "CAPTURE_FORMAT", remedy: expect.stringMatching(/\w/) });
  }
});
