/**
 * Makes the capture that `abs bench dpi` measures with: flows of real captures, each repeated under
 * addresses of its own with correct checksums, thousands of them running at the same time. The
 * same seed gives the same file. Ethernet, microseconds; addresses are private ones.
 */
import { closeSync, mkdirSync, openSync, readdirSync, renameSync, writeSync } from "node:fs";
import { dirname, join } from "node:path";
import { readerOf } from "../capture/capture-reader.ts";
import { CaptureWindow, openCapture } from "../capture/capture-window.ts";
import { findIp } from "../capture/link-layer.ts";
import {
  HEADERS,
  PacketHeaders,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
  parseHeaders,
} from "../capture/packet-headers.ts";
import { PACKET, WANT } from "../capture/record-codes.ts";
import { AbsError } from "../errors.ts";
import { writeFrame } from "./dpi-frame.ts";

export interface CaptureWish {
  /** Directory of the captures that flows are taken from. */
  readonly captures: string;
  readonly file: string;
  readonly bytesMin: number;
  readonly flowsMin: number;
}

export interface MadeCapture {
  readonly bytes: number;
  readonly packets: number;
  readonly flows: number;
}

/** One flow of a capture: its IP packets, and which of them its first sender sent. */
export interface FlowTemplate {
  readonly version: number;
  readonly packets: { readonly bytes: Uint8Array; readonly forward: boolean }[];
}

/** Flows that run at the same time. */
const CONCURRENT = 4096;
/** A longer flow is cut here: few long transfers must not fill the capture. */
const PACKETS_OF_FLOW_MAX = 200;
const SEED = 20_260_101;
const BUFFER_BYTES = 4 << 20;
const RECORD_BYTES_MAX = 70_000;
const MICROS_BETWEEN = 7;

export function makeCapture(wish: CaptureWish): MadeCapture {
  const templates = readTemplates(wish.captures);
  mkdirSync(dirname(wish.file), { recursive: true });
  const unfinished = `${wish.file}.part`;
  const writer = new FrameWriter(unfinished);
  const random = prng(SEED);
  const running: { template: FlowTemplate; clone: number; next: number }[] = [];
  let flows = 0;
  const begin = () => ({
    template: templates[flows % templates.length] as FlowTemplate,
    clone: flows++,
    next: 0,
  });
  while (running.length < CONCURRENT) running.push(begin());
  while (running.length > 0) {
    const place = Math.floor(random() * running.length);
    const flow = running[place];
    const packet = flow.template.packets[flow.next++];
    writer.write(packet.bytes, packet.forward, flow.template.version, flow.clone);
    if (flow.next < flow.template.packets.length) continue;
    const isEnough = writer.bytes >= wish.bytesMin && flows >= wish.flowsMin;
    if (!isEnough) running[place] = begin();
    else {
      const last = running.pop();
      if (last !== undefined && place < running.length) running[place] = last;
    }
  }
  writer.close();
  renameSync(unfinished, wish.file);
  return { bytes: writer.bytes, packets: writer.packets, flows };
}

/** Whole TCP and UDP flows of all captures in `directory`, shuffled. */
function readTemplates(directory: string): FlowTemplate[] {
  const files = readdirSync(directory).filter((name) => /\.(pcap|pcapng|cap)$/.test(name));
  const window = new CaptureWindow();
  const templates: FlowTemplate[] = [];
  for (const file of files.sort()) templates.push(...templatesOf(join(directory, file), window));
  if (templates.length === 0) {
    const message = `${directory} holds no capture with whole TCP or UDP flows.`;
    throw new AbsError("BENCH_CAPTURES", message, "Name a directory of captures: --captures DIR.");
  }
  const random = prng(SEED);
  for (let i = templates.length - 1; i > 0; i--) {
    const other = Math.floor(random() * (i + 1));
    [templates[i], templates[other]] = [templates[other], templates[i]];
  }
  return templates;
}

function templatesOf(file: string, window: CaptureWindow): FlowTemplate[] {
  const source = openCapture(file);
  window.open(source);
  const reader = readerOf(window, file);
  const headers = new PacketHeaders();
  const flows = new Map<string, FlowTemplate & { readonly from: string }>();
  for (let code = reader.next(); code >= WANT; code = reader.next()) {
    if (code !== PACKET) {
      window.fill();
      continue;
    }
    const start = findIp(window.memory, reader.linkType, reader.packetStart, reader.packetEnd);
    if (start < 0) continue;
    const isRead = parseHeaders(window.memory, start, reader.packetEnd, headers) === HEADERS;
    const { protocol, wireEnd, version } = headers;
    if (!isRead || (protocol !== PROTOCOL_TCP && protocol !== PROTOCOL_UDP)) continue;
    if (wireEnd > reader.packetEnd || wireEnd === start) continue;
    const { from, to } = endsOf(headers);
    const key = from < to ? `${protocol} ${from} ${to}` : `${protocol} ${to} ${from}`;
    const flow = flows.get(key) ?? { version, from, packets: [] };
    flows.set(key, flow);
    if (flow.packets.length === PACKETS_OF_FLOW_MAX) continue;
    flow.packets.push({ bytes: window.bytes.slice(start, wireEnd), forward: flow.from === from });
  }
  source.close();
  return [...flows.values()];
}

function endsOf(headers: PacketHeaders): { from: string; to: string } {
  const { source0, source1, source2, source3, sourcePort } = headers;
  const { destination0, destination1, destination2, destination3, destinationPort } = headers;
  return {
    from: [source0, source1, source2, source3, sourcePort].join(" "),
    to: [destination0, destination1, destination2, destination3, destinationPort].join(" "),
  };
}

/** Writes pcap records through one buffer. */
class FrameWriter {
  bytes = 0;
  packets = 0;
  readonly #buffer = new Uint8Array(BUFFER_BYTES);
  readonly #memory = new DataView(this.#buffer.buffer);
  readonly #file: number;
  #end = 24;

  constructor(path: string) {
    this.#file = openSync(path, "w");
    const memory = this.#memory;
    memory.setUint32(0, 0xa1b2c3d4, true);
    memory.setUint16(4, 2, true);
    memory.setUint16(6, 4, true);
    memory.setUint32(16, 262_144, true);
    memory.setUint32(20, 1, true);
  }

  write(packet: Uint8Array, forward: boolean, version: number, clone: number): void {
    if (this.#end + RECORD_BYTES_MAX > BUFFER_BYTES) this.#flush();
    const memory = this.#memory;
    const at = this.#end;
    const micros = this.packets * MICROS_BETWEEN;
    const length = writeFrame(this.#buffer, memory, at + 16, { packet, forward, version, clone });
    memory.setUint32(at, 1_767_225_600 + Math.floor(micros / 1e6), true);
    memory.setUint32(at + 4, micros % 1e6, true);
    memory.setUint32(at + 8, length, true);
    memory.setUint32(at + 12, length, true);
    this.#end = at + 16 + length;
    this.bytes += 16 + length;
    this.packets++;
  }

  close(): void {
    this.#flush();
    closeSync(this.#file);
  }

  #flush(): void {
    let done = 0;
    while (done < this.#end) done += writeSync(this.#file, this.#buffer, done, this.#end - done);
    this.#end = 0;
  }
}

/** Mulberry32: numbers in [0, 1) from a seed. */
function prng(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let word = Math.imul(state ^ (state >>> 15), state | 1);
    word ^= word + Math.imul(word ^ (word >>> 7), word | 61);
    return ((word ^ (word >>> 14)) >>> 0) / 2 ** 32;
  };
}
