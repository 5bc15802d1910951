/**
 * What `parsePacket` costs, in ns a packet: bursts of 64 packets, buffers 2,432 bytes apart as in
 * the mbuf pool, over a pool larger than the second-level cache or small enough to stay in it;
 * with one kind of packet alone, and again after the parser has met every kind there is.
 * Run with `bun bench/parse.ts`; prints the median and the best of 7 turns per case.
 */

import { parsePacket } from "../src/dataplane/parse-packet.ts";
import { PARSED, ParsedPacket } from "../src/dataplane/parsed-packet.ts";
import { Mutator } from "../test/fuzz/mutator.ts";
import { Prng } from "../test/fuzz/prng.ts";
import { frameSeeds } from "../test/fuzz/seeds.ts";

const STRIDE_BYTES = 2_432;
const HEADROOM_BYTES = 128;
const BURST = 64;
const TURNS = 7;
const PACKETS_PER_TURN = 4_000_000;

/** Frame bytes before the addresses vary, as hex: link and IP header, then transport header. */
const FRAMES: Record<string, string> = {
  "ipv4 tcp":
    "0200000000020200000000010800450000340001400040060000" +
    "0a0000010a0000029c4018eb00000001000000028010ffff000000000101080a0000000100000002",
  "ipv4 udp":
    "0200000000020200000000010800450000320001400040110000" +
    "0a0000010a0000029c4018eb001e0000" +
    "00".repeat(22),
  "ipv4 abs":
    "0200000000020200000000010800450000480001400040fd0000" +
    "0a0000010a000002" +
    "150600000000aabb".padEnd(104, "0"),
  "vlan ipv4 tcp":
    "0200000000020200000000018100000508004500002800014000400600000a0000010a000002" +
    "9c4018eb00000001000000025010ffff00000000",
  "ipv6 tcp":
    "02000000000202000000000186dd6000000000140640fd000000000000000000000000000001" +
    "fd0000000000000000000000000000029c4018eb00000001000000025010ffff00000000",
};

/**
 * Lays `frame` into every buffer. IPv4 frames get a sender on each second buffer whose address,
 * read as a number, is above 2^31: the engine keeps those as doubles, the others as integers.
 */
function fill(pool: Uint8Array, frame: string, buffers: number, sourceAt: number): number {
  const bytes = Uint8Array.fromHex(frame);
  for (let i = 0; i < buffers; i++) {
    const at = i * STRIDE_BYTES + HEADROOM_BYTES;
    pool.set(bytes, at);
    pool[at + sourceAt] = i % 2 === 0 ? 10 : 192;
    pool[at + sourceAt + 2] = i & 0xff;
  }
  return bytes.length;
}

/** Traffic of all kinds, malformed too, so that the engine has seen every branch taken. */
function parseMixed(packets: number): void {
  const mutator = new Mutator(new Prng(1), frameSeeds());
  const out = new ParsedPacket();
  for (let i = 0; i < packets; i++) {
    mutator.next();
    parsePacket(mutator.memory, mutator.start, mutator.end, out);
  }
}

function parseBursts(memory: DataView, sizeBytes: number, buffers: number): number {
  const out = new ParsedPacket();
  const starts = new Uint32Array(BURST);
  let checksum = 0;
  for (let done = 0, first = 0; done < PACKETS_PER_TURN; done += BURST) {
    for (let i = 0; i < BURST; i++)
      starts[i] = ((first + i) % buffers) * STRIDE_BYTES + HEADROOM_BYTES;
    first = (first + BURST) % buffers;
    for (let i = 0; i < BURST; i++) {
      const start = starts[i];
      if (parsePacket(memory, start, start + sizeBytes, out) !== PARSED) return Number.NaN;
      checksum = (checksum + out.source3 + out.destinationPort + out.payloadStart) | 0;
    }
  }
  return checksum;
}

/** Where the sender's address begins, when not as in an untagged IPv4 frame. */
const SOURCE_AT: Record<string, number> = { "vlan ipv4 tcp": 30, "ipv6 tcp": 22 };

function median(values: number[]): number {
  return values.sort((left, right) => left - right)[values.length >>> 1];
}

function bench(pool: Uint8Array, buffers: number, note: string): void {
  const memory = new DataView(pool.buffer);
  for (const [name, frame] of Object.entries(FRAMES)) {
    const sizeBytes = fill(pool, frame, buffers, SOURCE_AT[name] ?? 26);
    const turns: number[] = [];
    for (let turn = 0; turn < TURNS; turn++) {
      const begin = Bun.nanoseconds();
      const checksum = parseBursts(memory, sizeBytes, buffers);
      turns.push((Bun.nanoseconds() - begin) / PACKETS_PER_TURN);
      if (Number.isNaN(checksum)) throw new Error(`${name} did not parse`);
    }
    const ns = `${median(turns).toFixed(1)} (best ${Math.min(...turns).toFixed(1)})`;
    console.log(
      `${name.padEnd(14)} ${String(buffers).padStart(5)} buffers ${note} ${ns} ns/packet`,
    );
  }
}

for (const buffers of [64, 8_192]) {
  const pool = new Uint8Array(buffers * STRIDE_BYTES);
  bench(pool, buffers, "alone      ");
  parseMixed(2_000_000);
  bench(pool, buffers, "after mixed");
}
