import { expect, test } from "bun:test";
import { ethernet, filler, ipv4, tcp, udp } from "../../test/fuzz/frames.ts";
import { FlowHash } from "./flow-hash.ts";
import { parsePacket } from "./parse-packet.ts";
import { PARSED, ParsedPacket, TCP_FIN, TCP_RST, TCP_SYN } from "./parsed-packet.ts";
import { classifyPlain, wordsOf } from "./plain-ipv4.ts";

const START = 64;
const memory = new DataView(new ArrayBuffer(4096));
const bytes = new Uint8Array(memory.buffer);
const words = wordsOf(memory);
const hash = new FlowHash(new Uint32Array([0x9e3779b1, 0x85ebca6b, 0xc2b2ae35, 7919, 104729, 5]));
const offset = new Uint32Array(1);
const length = new Uint32Array(1);
const protocols = new Int32Array(1);
const hashes = new Int32Array(1);

function classify(frame: Uint8Array, start = START): number {
  bytes.fill(0xee);
  bytes.set(frame, start);
  offset[0] = start;
  length[0] = frame.length;
  const plain = classifyPlain(memory, words, hash, offset, length, 1, protocols, hashes);
  const [protocol = 0] = protocols;
  expect(plain).toBe(protocol === 0 ? 0 : 1);
  return protocol;
}

const SEEDS = [
  ethernet(ipv4(udp(filler(40)), { protocol: 17 })),
  ethernet(ipv4(udp([]), { protocol: 17 })),
  ethernet(ipv4(tcp(filler(12), { flags: 0x10 }), { protocol: 6 })),
  ethernet(ipv4(tcp([], { flags: 0x18 }), { protocol: 6 })),
].map((seed) => Uint8Array.from(seed));

/** What classifyPlain() says of a frame, held against parsePacket(). Returns its answer. */
function compare(frame: Uint8Array): number {
  const protocol = classify(frame);
  if (protocol === 0) return 0;
  const packet = new ParsedPacket();
  expect(parsePacket(memory, START, START + frame.length, packet)).toBe(PARSED);
  const { vlanCount, ipVersion, isFragment, ipOptions, ipProtocol, ipPayloadStart } = packet;
  expect({ vlanCount, ipVersion, isFragment, ipOptions, ipProtocol, ipPayloadStart }).toEqual({
    vlanCount: 0,
    ipVersion: 4,
    isFragment: 0,
    ipOptions: 0,
    ipProtocol: protocol,
    ipPayloadStart: START + 34,
  });
  expect(packet.tcpFlags & (TCP_SYN | TCP_FIN | TCP_RST)).toBe(0);
  const local = memory.getInt32(START + 26, false);
  const remote = memory.getInt32(START + 30, false);
  const ports = (packet.sourcePort << 16) | packet.destinationPort;
  expect(hashes[0]).toBe(hash.of4(local, remote, ports, protocol));
  return protocol;
}

test("UDP and TCP in mid-flow are plain", () => {
  expect(SEEDS.map(compare)).toEqual([17, 17, 6, 6]);
});

test("a frame that does not begin at a whole word is not plain", () => {
  expect(SEEDS.map((seed) => classify(seed, START + 2))).toEqual([0, 0, 0, 0]);
});

test.each([0, 1, 2, 3])(
  "whatever one byte of seed %p says, plain is what the parser reads so",
  (which) => {
    const seed = SEEDS[which] ?? new Uint8Array();
    let plain = 0;
    for (let at = 0; at < Math.min(seed.length, 60); at++) {
      for (let value = 0; value < 256; value++) {
        const frame = seed.slice();
        frame[at] = value;
        if (compare(frame) !== 0) plain++;
      }
    }
    expect(plain).toBeGreaterThan(1000);
  },
);

test.each([0, 1, 2, 3])("seed %p cut short or padded is what the parser reads so", (which) => {
  const seed = SEEDS[which] ?? new Uint8Array();
  for (let end = 0; end <= seed.length; end++) {
    expect(compare(seed.slice(0, end))).toBe(end < seed.length ? 0 : (seed[23] ?? 0));
  }
  const padded = new Uint8Array(seed.length + 20);
  padded.set(seed);
  expect(compare(padded)).toBe(seed[23] ?? 0);
});
