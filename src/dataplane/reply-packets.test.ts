import { describe, expect, test } from "bun:test";
import {
  type Bytes,
  ethernet,
  filler,
  icmp,
  ipv4,
  ipv6,
  OWN_IP6,
  OWN_MAC,
  PEER_IP6,
  PEER_MAC,
  tcp,
  udp,
} from "../../test/fuzz/frames.ts";
import { checksumOf, transportChecksum } from "./checksum.ts";
import { parsePacket } from "./parse-packet.ts";
import { parseQuoted } from "./parse-quoted.ts";
import { PARSED, ParsedPacket } from "./parsed-packet.ts";
import { REPLY_BYTES_MAX, writeProhibited, writeReset, writeTooBig } from "./reply-packets.ts";

type Write = (memory: DataView, packet: ParsedPacket, target: number) => number;

const TARGET = 8_192;
const prohibited: Write = writeProhibited;
const reset: Write = writeReset;
const tooBig: Write = (memory, packet, target) => writeTooBig(memory, packet, 1_408, target);

interface Answer {
  memory: DataView;
  sizeBytes: number;
  /** Parse of the answer, which starts at TARGET. */
  packet: ParsedPacket;
  bytes: number[];
}

/** Parses a frame, answers it, and checks what must hold for every answer. */
function answer(frame: Bytes, write: Write): Answer {
  const pool = new Uint8Array(TARGET * 2).fill(0xee);
  const memory = new DataView(pool.buffer);
  pool.set(frame, 40);
  const asked = new ParsedPacket();
  parsePacket(memory, 40, 40 + frame.length, asked);
  const sizeBytes = write(memory, asked, TARGET);
  const packet = new ParsedPacket();
  expect([...pool.subarray(40, 40 + frame.length)]).toEqual([...frame]);
  expect(pool.subarray(TARGET + sizeBytes).every((byte) => byte === 0xee)).toBe(true);
  if (sizeBytes > 0) {
    expect(sizeBytes).toBeLessThanOrEqual(REPLY_BYTES_MAX);
    expect(parsePacket(memory, TARGET, TARGET + sizeBytes, packet)).toBe(PARSED);
    expect(packet.ipEnd).toBe(TARGET + sizeBytes);
    expect([packet.source3, packet.destination3]).toEqual([asked.destination3, asked.source3]);
    expect([packet.source0, packet.destination0]).toEqual([asked.destination0, asked.source0]);
    const { ipVersion, ipStart, ipPayloadStart, transportProtocol, transportStart, ipEnd } = packet;
    if (ipVersion === 4) expect(checksumOf(memory, ipStart, ipPayloadStart)).toBe(0);
    expect(
      transportChecksum(memory, ipVersion, ipStart, transportProtocol, transportStart, ipEnd),
    ).toBe(0);
  }
  return { memory, sizeBytes, packet, bytes: [...pool.subarray(TARGET, TARGET + sizeBytes)] };
}

describe("link header", () => {
  const tags = [
    [],
    [[0x8100, 0x6064]],
    [
      [0x88a8, 200],
      [0x8100, 300],
    ],
  ] as const;
  test.each(tags.map((list) => ({ list })))("turned round, with tags: $list", ({ list }) => {
    const { bytes } = answer(ethernet(ipv4(tcp()), { tags: list }), reset);
    const sizeBytes = 14 + 4 * list.length;
    const wanted = ethernet(ipv4([]), { tags: list, to: OWN_MAC, from: PEER_MAC });
    expect(bytes.slice(0, sizeBytes)).toEqual(wanted.slice(0, sizeBytes));
  });
});

describe("writeReset: RFC 9293 §3.5.2", () => {
  const cases = [
    { name: "SYN", fields: { flags: 2, sequence: 100 }, flags: 0x14, sequence: 0, ack: 101 },
    {
      name: "SYN with data",
      fields: { flags: 2, sequence: 100 },
      payload: filler(5),
      flags: 0x14,
      sequence: 0,
      ack: 106,
    },
    {
      name: "sequence wraps",
      fields: { flags: 2, sequence: 0xffff_ffff },
      flags: 0x14,
      sequence: 0,
      ack: 0,
    },
    {
      name: "data",
      fields: { flags: 0x18, acknowledgement: 0xfedc_ba98 },
      payload: filler(7),
      flags: 4,
      sequence: 0xfedc_ba98,
      ack: 0,
    },
    {
      name: "FIN+ACK",
      fields: { flags: 0x11, acknowledgement: 77 },
      flags: 4,
      sequence: 77,
      ack: 0,
    },
    {
      name: "SYN-ACK",
      fields: { flags: 0x12, acknowledgement: 9 },
      flags: 4,
      sequence: 9,
      ack: 0,
    },
  ];
  for (const make of [ipv4, ipv6]) {
    test.each(cases)(`${make.name}: $name`, ({ fields, payload = [], flags, sequence, ack }) => {
      const { packet } = answer(ethernet(make(tcp(payload, fields))), reset);
      expect(packet.tcpFlags).toBe(flags);
      expect([packet.tcpSequence, packet.tcpAcknowledgement]).toEqual([sequence, ack]);
      expect([packet.sourcePort, packet.destinationPort]).toEqual([6_379, 40_000]);
      expect(packet.payloadStart).toBe(packet.payloadEnd);
    });
  }

  const none = [
    { name: "reset", frame: ipv4(tcp([], { flags: 4 })) },
    { name: "reset with ACK", frame: ipv4(tcp([], { flags: 0x14 })) },
    { name: "first fragment", frame: ipv4(tcp(filler(20)), { fragment: 0x2000 }) },
    { name: "later fragment", frame: ipv4(filler(24), { fragment: 5 }) },
    { name: "UDP", frame: ipv4(udp(), { protocol: 17 }) },
    { name: "from a group", frame: ipv4(tcp(), { source: [224, 0, 0, 1] }) },
    { name: "from 0.0.0.0", frame: ipv4(tcp(), { source: [0, 0, 0, 0] }) },
    { name: "to broadcast", frame: ipv4(tcp(), { destination: [255, 255, 255, 255] }) },
    { name: "from ::", frame: ipv6(tcp(), { source: new Array<number>(16).fill(0) }) },
    { name: "to an IPv6 group", frame: ipv6(tcp(), { destination: PEER_IP6.with(0, 0xff) }) },
  ];
  test.each(none)("$name: no answer", ({ frame }) => {
    expect(answer(ethernet(frame), reset).sizeBytes).toBe(0);
  });
});

describe("ICMP errors", () => {
  const cases = [
    { name: "v4 too big", ip: ipv4, write: tooBig, type: 3, code: 4, parameter: 1_408 },
    { name: "v6 too big", ip: ipv6, write: tooBig, type: 2, code: 0, parameter: 1_408 },
    { name: "v4 prohibited", ip: ipv4, write: prohibited, type: 3, code: 13, parameter: 0 },
    { name: "v6 prohibited", ip: ipv6, write: prohibited, type: 1, code: 1, parameter: 0 },
  ];
  for (const payloadBytes of [0, 1, 528, 529, 1_211, 1_212, 1_213, 3_000]) {
    test.each(cases)(`$name, ${payloadBytes} bytes`, ({ ip, write, type, code, parameter }) => {
      const original = ip(tcp(filler(payloadBytes)));
      const { memory, packet } = answer(ethernet([...original, 0, 0]), write);
      expect([packet.icmpType, packet.icmpCode, packet.icmpQuotes]).toEqual([type, code, 1]);
      expect(memory.getUint32(packet.transportStart + 4, false)).toBe(parameter);
      const quote = [...new Uint8Array(memory.buffer, packet.payloadStart)];
      const room = ip === ipv4 ? 576 - 28 : 1_280 - 48;
      const quotedBytes = Math.min(original.length, room);
      expect(packet.payloadEnd - packet.payloadStart).toBe(quotedBytes);
      expect(quote.slice(0, quotedBytes)).toEqual(original.slice(0, quotedBytes));
      const quoted = new ParsedPacket();
      expect(parseQuoted(memory, packet.payloadStart, packet.payloadEnd, quoted)).toBe(PARSED);
      expect([quoted.sourcePort, quoted.destinationPort]).toEqual([40_000, 6_379]);
    });
  }

  const none = [
    { name: "an ICMP error", frame: ipv4(icmp(3, 1, 0, filler(28)), { protocol: 1 }) },
    { name: "an ICMPv6 error", frame: ipv6(icmp(3, 0, 0, filler(48)), { next: 58 }) },
    { name: "a later fragment", frame: ipv4(filler(24), { fragment: 5, protocol: 17 }) },
    { name: "multicast", frame: ipv4(udp(), { protocol: 17, destination: [239, 1, 1, 1] }) },
    { name: "loopback", frame: ipv4(udp(), { protocol: 17, source: [127, 0, 0, 1] }) },
    { name: "IPv6 multicast", frame: ipv6(udp(), { next: 17, destination: OWN_IP6.with(0, 255) }) },
  ];
  test.each(none)("$name is not answered", ({ frame }) => {
    for (const write of [tooBig, prohibited]) {
      expect(answer(ethernet(frame), write).sizeBytes).toBe(0);
    }
  });

  test("echo requests and first fragments are answered", () => {
    for (const frame of [
      ipv4(icmp(8, 0, 1), { protocol: 1 }),
      ipv4(udp(filler(16)), { protocol: 17, fragment: 0x2000 }),
    ]) {
      expect(answer(ethernet(frame), prohibited).packet.icmpCode).toBe(13);
    }
  });
});
