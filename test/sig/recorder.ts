/**
 * Runs captures through readers and tracker in tests, with a judge that writes down what it hears.
 */
import { type CaptureReader, readerOf } from "../../src/capture/capture-reader.ts";
import { type CaptureSource, CaptureWindow, captureOf } from "../../src/capture/capture-window.ts";
import { type FlowJudge, FlowTracker, JUDGED, MORE } from "../../src/capture/flow-tracker.ts";
import { PacketPath } from "../../src/capture/packet-path.ts";
import { PACKET, WANT } from "../../src/capture/record-codes.ts";
import {
  F_FLAGS,
  F_PACKETS,
  F_PORTS,
  FLOW_WORDS,
  FRAGMENTED,
  INITIATOR_IS_1,
  MID_STREAM,
  type TrackedFlows,
} from "../../src/capture/tracked-flows.ts";

/** A flow that ended, in words. */
export interface HeardFlow {
  /** First payloads, as text: of the initiator and of the responder; undefined: none came. */
  readonly request: string | undefined;
  readonly response: string | undefined;
  readonly requestBytes: number;
  readonly initiatorPort: number;
  readonly packets: number;
  readonly midStream: boolean;
  readonly fragmented: boolean;
}

export interface RecorderOptions {
  /** A payload shorter than this is answered with MORE. */
  readonly need: number;
  readonly inner: boolean;
}

export class Recorder implements FlowJudge {
  readonly ended: HeardFlow[] = [];
  /** Lengths that were judged, of all flows in turn; negative: with MORE. */
  readonly judged: number[] = [];
  readonly #payloads = new Map<number, { text: string; wireBytes: number }>();
  flows: TrackedFlows | undefined;

  constructor(private readonly need: number) {}

  begin(flow: number): void {
    this.#payloads.delete(2 * flow);
    this.#payloads.delete(2 * flow + 1);
  }

  judge(
    flow: number,
    side: number,
    bytes: Uint8Array,
    start: number,
    end: number,
    wireBytes: number,
    final: number,
  ): number {
    const isShort = end - start < this.need && final === 0;
    this.judged.push(isShort ? start - end : end - start);
    if (isShort) return MORE;
    const text = Buffer.from(bytes.subarray(start, end)).toString("latin1");
    this.#payloads.set(2 * flow + side, { text, wireBytes });
    return JUDGED;
  }

  end(flow: number): void {
    const words = this.flows?.words ?? new Int32Array(FLOW_WORDS);
    const at = flow * FLOW_WORDS;
    const flags = words[at + F_FLAGS];
    const initiator = flags & INITIATOR_IS_1;
    const ports = words[at + F_PORTS];
    const request = this.#payloads.get(2 * flow + initiator);
    this.ended.push({
      request: request?.text,
      response: this.#payloads.get(2 * flow + 1 - initiator)?.text,
      requestBytes: request?.wireBytes ?? 0,
      initiatorPort: initiator === 0 ? ports >>> 16 : ports & 0xffff,
      packets: words[at + F_PACKETS] + words[at + F_PACKETS + 1],
      midStream: (flags & MID_STREAM) !== 0,
      fragmented: (flags & FRAGMENTED) !== 0,
    });
  }
}

export interface Heard {
  readonly flows: HeardFlow[];
  readonly judged: readonly number[];
  readonly path: PacketPath;
  readonly tracker: FlowTracker;
  readonly reader: CaptureReader;
}

/** Reads a whole capture. */
export function hear(capture: Uint8Array, options: Partial<RecorderOptions> = {}): Heard {
  const recorder = new Recorder(options.need ?? 1);
  const tracker = new FlowTracker(recorder);
  recorder.flows = tracker.flows;
  const window = new CaptureWindow();
  const path = new PacketPath(window, tracker, options.inner === true ? 1 : 0);
  window.open(captureOf("test.pcap", capture));
  const reader = readerOf(window, "test.pcap");
  for (let code = reader.next(); code >= WANT; code = reader.next()) {
    if (code === PACKET) path.take(reader);
    else window.fill();
  }
  path.finish();
  return { flows: recorder.ended, judged: recorder.judged, path, tracker, reader };
}

/** What a reader gives of each packet, and how it ended. */
export interface ReadBack {
  readonly packets: {
    readonly bytes: Uint8Array;
    readonly linkType: number;
    readonly wireBytes: number;
    readonly seconds: number;
  }[];
  readonly fault: string;
  readonly skipped: number;
}

/** Reads all packets; `atOnce`: bytes that the source gives in one call. */
export function readAll(capture: Uint8Array, atOnce = 1 << 20): ReadBack {
  const window = new CaptureWindow();
  const whole = captureOf("test.pcap", capture);
  const source: CaptureSource = {
    ...whole,
    read: (into, at, room) => whole.read(into, at, Math.min(room, atOnce)),
  };
  window.open(source);
  const reader = readerOf(window, "test.pcap");
  const packets: ReadBack["packets"] = [];
  for (let code = reader.next(); code >= WANT; code = reader.next()) {
    if (code === PACKET) {
      packets.push({
        bytes: window.bytes.slice(reader.packetStart, reader.packetEnd),
        linkType: reader.linkType,
        wireBytes: reader.wireBytes,
        seconds: reader.timeInSeconds
          ? reader.timeHigh + reader.timeLow / reader.ticksPerSecond
          : ((reader.timeHigh >>> 0) * 2 ** 32 + (reader.timeLow >>> 0)) / reader.ticksPerSecond,
      });
    } else window.fill();
  }
  return { packets, fault: reader.fault, skipped: reader.skipped };
}
