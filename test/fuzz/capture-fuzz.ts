/**
 * Fuzzes the capture readers and the flow tracker: captures of good packets, altered where a format
 * or a protocol has a field, cut, joined, or noise. Every failure is replayed by its seed. Run:
 *     [SEED=n] [CAPTURE_SECONDS=n] bun test/fuzz/capture-fuzz.ts
 * Exit code 1 and a message when anything but an AbsError is thrown, a capture takes longer than
 * its limit, a payload was never in the capture, counts do not add up, a fault has no words, fewer
 * than a fifth of the packets reach a flow, or the process grows.
 */
import { concat } from "../../src/bytes.ts";
import { type CaptureReader, readerOf } from "../../src/capture/capture-reader.ts";
import { CaptureWindow, captureOf } from "../../src/capture/capture-window.ts";
import { type FlowJudge, FlowTracker, JUDGED, MORE } from "../../src/capture/flow-tracker.ts";
import { PacketPath } from "../../src/capture/packet-path.ts";
import { PACKET, WANT } from "../../src/capture/record-codes.ts";
import { AbsError } from "../../src/errors.ts";
import {
  BACK,
  BIG,
  enhanced,
  ethernet,
  FORWARD,
  fragmentOf,
  interfaceBlock,
  LITTLE,
  obsolete,
  pcap,
  SYN,
  SYN_ACK,
  section,
  simple,
  tcp,
  u16,
  u32,
  udp,
} from "../sig/capture-bytes.ts";
import { Prng, seedOfRun } from "./prng.ts";

const SECONDS = Number(process.env["CAPTURE_SECONDS"] ?? 20);
/** A capture of a few kilobytes; generous, for a machine that is busy. */
const LIMIT_MS = 500;
const GROWTH_BYTES_MAX = 30_000_000;
const FLOW_SHARE_MIN = 0.2;
const WARM_UP_SHARE = 0.5;

const LINK_TYPES = [0, 1, 1, 1, 1, 9, 12, 101, 104, 108, 113, 228, 276, 147];
/** Values that lengths, offsets and types are tried with. */
const NOTABLE = [0, 1, 3, 4, 8, 12, 20, 28, 40, 0x7f, 0x80, 0xff, 0x0800, 0x8100, 0x86dd, 0x8847];
const LARGE = [0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_fffc, 0xffff_ffff, 1 << 19, (1 << 19) + 1];
const V6 = { ...FORWARD, source: "2001:db8::1", destination: "2001:db8::2" };

/** Good packets of everything that is parsed: what is altered begins as something that works. */
function packetsOf(prng: Prng): Uint8Array[] {
  const text = "GET / HTTP/1.1 and what follows it ".repeat(1 + prng.below(20));
  const inner = tcp({ payload: text });
  const vxlan = concat(u32(0x0800_0000), u32(0x100), ethernet(inner));
  const gtp = concat(u32(0x30ff_0032), u32(1), inner);
  const datagram = udp(text, prng.below(2) === 0 ? FORWARD : V6);
  const label = Uint8Array.of(0, 0x10, 0x11, 64);
  return [
    ethernet(tcp({ flags: SYN, sequence: 99 })),
    ethernet(tcp({ ends: BACK, flags: SYN_ACK, sequence: 5, acknowledgement: 100 })),
    ethernet(tcp({ sequence: 100 + prng.below(9), payload: text.slice(0, prng.below(40)) })),
    ethernet(tcp({ sequence: 100, payload: text })),
    ethernet(tcp({ ends: BACK, sequence: 6, payload: "HTTP/1.1 200" })),
    ethernet(datagram),
    ethernet(udp(vxlan, { ...FORWARD, destinationPort: 4789 })),
    ethernet(udp(gtp, { ...FORWARD, destinationPort: 2152 })),
    ethernet(concat(u16(5), u16(0x0800), inner), 0x8100),
    ethernet(concat(label, inner), 0x8847),
    ethernet(fragmentOf(datagram, 0, 8 * (1 + prng.below(4)))),
    ethernet(fragmentOf(datagram, 8 * prng.below(4), 8 * (4 + prng.below(20)))),
  ];
}

function captureFrom(prng: Prng): Uint8Array {
  const frames = packetsOf(prng).filter(() => prng.below(4) > 0);
  for (const frame of frames) if (prng.below(3) === 0) alter(prng, frame);
  const order = prng.below(2) === 0 ? LITTLE : BIG;
  const linkType = LINK_TYPES[prng.below(LINK_TYPES.length)];
  let capture: Uint8Array;
  if (prng.below(2) === 0) {
    const snap = prng.below(3) === 0 ? prng.below(120) : 4096;
    capture = pcap(frames, { ...order, linkType, nanos: prng.below(2) === 0, snap });
  } else {
    const makers = [enhanced, enhanced, obsolete];
    const blocks = frames.map((frame) =>
      prng.below(5) === 0
        ? simple(frame, order)
        : makers[prng.below(3)](frame, prng.below(8) === 0 ? 1 : 0, order),
    );
    const head = concat(section(order), interfaceBlock(1, order, prng.below(256)));
    capture = concat(head, interfaceBlock(linkType, order), ...blocks);
  }
  for (let changes = prng.below(4); changes > 0; changes--) alter(prng, capture);
  const way = prng.below(12);
  if (way === 0) return capture.slice(0, prng.below(capture.length + 1));
  if (way === 1) return concat(capture, capture);
  return capture;
}

/** Writes something notable, or noise, where a field of 1, 2 or 4 bytes may stand. */
function alter(prng: Prng, bytes: Uint8Array): void {
  if (bytes.length < 4) return;
  // Headers are at the front: half of the changes go there.
  const reach = prng.below(2) === 0 ? Math.min(bytes.length, 96) : bytes.length;
  const at = prng.below(Math.min(reach, 65_535) - 3);
  const way = prng.below(5);
  const value = way === 0 ? LARGE[prng.below(LARGE.length)] : NOTABLE[prng.below(NOTABLE.length)];
  if (way < 2) bytes.set(u32(value, prng.below(2) === 0 ? LITTLE : BIG), at);
  else if (way === 2) bytes.set(u16(value & 0xffff), at);
  else if (way === 3) bytes[at] = value;
  else bytes[at] ^= 1 << prng.below(8);
}

/** Wants more of most payloads, and checks what it is given. */
class StrictJudge implements FlowJudge {
  begun = 0;
  ended = 0;
  fault = "";
  sum = 0;

  begin(): void {
    this.begun++;
  }

  judge(
    _flow: number,
    side: number,
    bytes: Uint8Array,
    start: number,
    end: number,
    wireBytes: number,
    final: number,
  ): number {
    if (side !== 0 && side !== 1) this.fault = `side ${side}`;
    if (start < 0 || end <= start || end > bytes.length) this.fault = `payload ${start} to ${end}`;
    if (wireBytes < 1) this.fault = `a payload of ${wireBytes} bytes on the wire`;
    for (let i = start; i < end; i++) this.sum += bytes[i];
    return final === 0 && end - start < 100 ? MORE : JUDGED;
  }

  end(): void {
    this.ended++;
  }
}

const seed = seedOfRun();
const prng = new Prng(seed);
const window = new CaptureWindow();
const judges = [new StrictJudge(), new StrictJudge()];
const trackers = judges.map((judge) => new FlowTracker(judge));
const paths = trackers.map((tracker, inner) => new PacketPath(window, tracker, inner));
const counts = { captures: 0, refused: 0, packets: 0, inFlows: 0, faults: 0, skipped: 0 };

/** Throws on a fault. */
function feed(capture: Uint8Array, way: number): void {
  const path = paths[way];
  const tracker = trackers[way];
  const judge = judges[way];
  window.open(captureOf("fuzz", capture));
  path.clear();
  tracker.clear();
  judge.begun = 0;
  judge.ended = 0;
  const reader: CaptureReader = readerOf(window, "fuzz");
  for (let code = reader.next(); code >= WANT; code = reader.next()) {
    if (code !== PACKET) {
      window.fill();
      continue;
    }
    const { packetStart, packetEnd } = reader;
    if (packetStart > packetEnd || packetEnd > window.end || packetStart < 0) {
      throw new Error(`packet ${packetStart} to ${packetEnd} of ${window.end}`);
    }
    path.take(reader);
    if (path.flow >= 0) counts.inFlows++;
  }
  path.finish();
  counts.packets += path.packets;
  counts.skipped += reader.skipped;
  if (reader.fault !== "") counts.faults++;
  if (judge.fault !== "") throw new Error(judge.fault);
  if (tracker.ended !== judge.ended || judge.begun !== judge.ended) {
    throw new Error(`${judge.begun} flows began, ${judge.ended} ended`);
  }
  if (reader.fault !== "" && !/at byte \d+/.test(reader.fault)) throw new Error(reader.fault);
}

function turn(): void {
  const capture = captureFrom(prng);
  const way = prng.below(2);
  const begin = performance.now();
  counts.captures++;
  try {
    feed(capture, way);
  } catch (thrown) {
    if (!(thrown instanceof AbsError)) {
      console.error(
        `SEED=${seed}, capture ${counts.captures}: ${Buffer.from(capture).toString("hex")}`,
      );
      throw thrown;
    }
    if (thrown.code !== "CAPTURE_FORMAT" || thrown.remedy === "") throw thrown;
    counts.refused++;
  }
  const took = performance.now() - begin;
  if (took > LIMIT_MS) throw new Error(`SEED=${seed}: a capture took ${took.toFixed(0)} ms`);
}

const begin = performance.now();
let residentBytes = 0;
while (performance.now() - begin < SECONDS * 1000) {
  for (let i = 0; i < 200; i++) turn();
  const isWarm = performance.now() - begin > SECONDS * 1000 * WARM_UP_SHARE;
  if (isWarm && residentBytes === 0) residentBytes = process.memoryUsage().rss;
}
const growth = process.memoryUsage().rss - residentBytes;
console.log(
  `SEED=${seed}: ${JSON.stringify(counts)}, ${(growth / 1e6).toFixed(1)} MB more at the end`,
);
if (growth > GROWTH_BYTES_MAX) throw new Error(`the process grew by ${growth} bytes`);
if (counts.inFlows < counts.packets * FLOW_SHARE_MIN) throw new Error("too few packets in flows");
if (counts.refused === 0 || counts.faults === 0 || counts.skipped === 0) {
  throw new Error("a way of refusing was never reached");
}
