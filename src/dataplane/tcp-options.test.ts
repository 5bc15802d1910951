import { describe, expect, test } from "bun:test";
import {
  type Bytes,
  ethernet,
  filler,
  ipv4,
  ipv6,
  tcp,
  udp,
  withChecksum,
} from "../../test/fuzz/frames.ts";
import { SYN_OPTIONS } from "../../test/fuzz/seeds.ts";
import { transportChecksum } from "./checksum.ts";
import { DROP } from "./drop-reasons.ts";
import { parsePacket } from "./parse-packet.ts";
import { PARSED, ParsedPacket } from "./parsed-packet.ts";
import { clampMss, inspectSyn, SYN_DATA, SYN_FAST_OPEN, SynOptions } from "./tcp-options.ts";

const SYN = 2;
const SYN_ACK = 0x12;
const ACK = 0x10;

function parsed(frame: Bytes): { memory: DataView; packet: ParsedPacket } {
  const memory = new DataView(Uint8Array.from(frame).buffer);
  const packet = new ParsedPacket();
  expect(parsePacket(memory, 0, frame.length, packet)).toBe(PARSED);
  return { memory, packet };
}

function segment(options: Bytes, flags = SYN, payload: Bytes = []): Bytes {
  return ethernet(withChecksum(ipv4(tcp(payload, { flags, options })), 20, 16));
}

describe("inspectSyn", () => {
  const cases = [
    { name: "Linux SYN", options: SYN_OPTIONS, mss: 1460 },
    { name: "no options", options: [] },
    { name: "MSS last, odd place", options: [1, 1, 1, 2, 4, 5, 0, 0], mss: 1280 },
    { name: "end of options before MSS", options: [0, 2, 4, 5, 180, 0, 0, 0] },
    { name: "Fast Open request", options: [34, 2, 1, 1], findings: SYN_FAST_OPEN },
    { name: "Fast Open cookie", options: [34, 6, 1, 2, 3, 4, 1, 1], findings: SYN_FAST_OPEN },
    { name: "its experiment", options: [254, 4, 0xf9, 0x89], findings: SYN_FAST_OPEN },
    { name: "another experiment", options: [254, 4, 0xf9, 0x88] },
    { name: "an experiment without number", options: [254, 2, 1, 1] },
    { name: "MSS of 3 bytes", options: [2, 3, 5, 1], code: DROP.tcpOptions },
    { name: "length 0", options: [8, 0, 1, 1], code: DROP.tcpOptions },
    { name: "length 1", options: [8, 1, 1, 1], code: DROP.tcpOptions },
    { name: "length past the header", options: [1, 1, 8, 3], code: DROP.tcpOptions },
    { name: "kind without length", options: [1, 1, 1, 8], code: DROP.tcpOptions },
    { name: "not a SYN", options: [8, 0, 1, 1], flags: ACK },
  ];
  test.each(cases)("$name", ({ options, mss = 0, findings = 0, flags = SYN, code = PARSED }) => {
    const { memory, packet } = parsed(segment(options, flags));
    const out = new SynOptions();
    expect(inspectSyn(memory, packet, out)).toBe(code);
    expect([out.mss, out.findings]).toEqual([mss, findings]);
  });

  test("payload on a SYN or SYN-ACK is found, on an ACK it is normal", () => {
    for (const [flags, findings] of [
      [SYN, SYN_DATA],
      [SYN_ACK, SYN_DATA],
      [ACK, 0],
    ]) {
      const { memory, packet } = parsed(segment([], flags, [1]));
      const out = new SynOptions();
      expect(inspectSyn(memory, packet, out)).toBe(PARSED);
      expect(out.findings).toBe(findings);
    }
  });

  test("UDP and later fragments are passed by", () => {
    const out = new SynOptions();
    const fragment = ethernet(ipv4(filler(64), { fragment: 5 }));
    for (const frame of [ethernet(ipv4(udp(), { protocol: 17 })), fragment]) {
      const { memory, packet } = parsed(frame);
      expect(inspectSyn(memory, packet, out)).toBe(PARSED);
    }
  });
});

describe("clampMss", () => {
  const cases = [
    { name: "IPv4", frame: segment(SYN_OPTIONS), at: 56 },
    { name: "SYN-ACK", frame: segment(SYN_OPTIONS, SYN_ACK), at: 56 },
    { name: "odd place", frame: segment([1, 2, 4, 5, 180, 1, 1, 1]), at: 57 },
    {
      name: "IPv6 in a tag",
      frame: ethernet(withChecksum(ipv6(tcp([], { flags: SYN, options: SYN_OPTIONS })), 40, 16), {
        tags: [[0x8100, 9]],
      }),
      at: 80,
    },
  ];
  test.each(cases)("$name: lowered, checksum right, nothing else changed", ({ frame, at }) => {
    const { memory, packet } = parsed(frame);
    const out = new SynOptions();
    expect(clampMss(memory, packet, 1_408, out)).toBe(PARSED);
    expect([out.mss, out.mssAt]).toEqual([1_408, at]);
    const { ipVersion, ipStart, transportStart, ipEnd } = packet;
    expect(transportChecksum(memory, ipVersion, ipStart, 6, transportStart, ipEnd)).toBe(0);
    const after = [...new Uint8Array(memory.buffer)];
    const wanted = [...frame];
    for (const place of [at, at + 1, transportStart + 16, transportStart + 17]) {
      wanted[place] = after[place];
    }
    expect(after).toEqual(wanted);
    expect(memory.getUint16(at, false)).toBe(1_408);
  });

  test("a value that fits, or no option, is left alone", () => {
    for (const options of [SYN_OPTIONS, []]) {
      const frame = segment(options);
      const { memory, packet } = parsed(frame);
      expect(clampMss(memory, packet, 1_460, new SynOptions())).toBe(PARSED);
      expect([...new Uint8Array(memory.buffer)]).toEqual([...frame]);
    }
  });
});
