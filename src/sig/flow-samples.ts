/**
 * First payloads of the flows of captures, kept to learn from and to measure with: at most
 * SAMPLE_BYTES of each side and FLOWS_KEPT flows, so that memory is bounded.
 */
import { readerOf } from "../capture/capture-reader.ts";
import { CaptureWindow, openCapture } from "../capture/capture-window.ts";
import { type FlowJudge, FlowTracker, JUDGED, MORE } from "../capture/flow-tracker.ts";
import { PacketPath } from "../capture/packet-path.ts";
import { PACKET, WANT } from "../capture/record-codes.ts";
import { FLOWS_MAX, type TrackedFlows } from "../capture/tracked-flows.ts";
import type { FlowRecord } from "./flow-record.ts";
import { InitiatorNumbers } from "./initiator-numbers.ts";

const SAMPLE_BYTES = 2048;
/** A payload of TCP that is shorter is put together with the next segment. */
const ENOUGH_BYTES = 64;
const FLOWS_KEPT = 100_000;
const NOTHING = new Uint8Array(0);

export interface FlowSample {
  readonly file: string;
  readonly numbers: InitiatorNumbers;
  /** What was captured of the first payload; empty when there is none. */
  readonly request: Uint8Array;
  readonly response: Uint8Array;
  /** Of the initiator's first payload on the wire. */
  readonly requestBytes: number;
}

class SampleJudge implements FlowJudge {
  readonly samples: FlowSample[] = [];
  file = "";
  flows: TrackedFlows | undefined;
  /** By 2 * flow + side. */
  readonly #payload: Uint8Array[] = new Array(2 * FLOWS_MAX).fill(NOTHING);
  readonly #wireBytes = new Uint32Array(2 * FLOWS_MAX);

  begin(flow: number): void {
    for (const slot of [2 * flow, 2 * flow + 1]) {
      this.#payload[slot] = NOTHING;
      this.#wireBytes[slot] = 0;
    }
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
    if (final === 0 && end - start < ENOUGH_BYTES) return MORE;
    this.#payload[2 * flow + side] = bytes.slice(start, Math.min(end, start + SAMPLE_BYTES));
    this.#wireBytes[2 * flow + side] = wireBytes;
    return JUDGED;
  }

  end(flow: number): void {
    if (this.flows === undefined || this.samples.length === FLOWS_KEPT) return;
    const numbers = new InitiatorNumbers();
    numbers.read(this.flows, flow);
    const slot = 2 * flow + numbers.initiator;
    const other = 2 * flow + 1 - numbers.initiator;
    this.samples.push({
      file: this.file,
      numbers,
      request: this.#payload[slot],
      response: this.#payload[other],
      requestBytes: this.#wireBytes[slot],
    });
  }
}

/** Flows of the captures, in order. Throws AbsError when one cannot be read. */
export function readFlowSamples(files: readonly string[]): FlowSample[] {
  const window = new CaptureWindow();
  const judge = new SampleJudge();
  const tracker = new FlowTracker(judge);
  judge.flows = tracker.flows;
  const path = new PacketPath(window, tracker, 0);
  for (const file of files) {
    const source = openCapture(file);
    try {
      window.open(source);
      judge.file = file;
      const reader = readerOf(window, source.name);
      path.clear();
      tracker.clear();
      for (let code = reader.next(); code >= WANT; code = reader.next()) {
        if (code === PACKET) path.take(reader);
        else window.fill();
      }
      path.finish();
    } finally {
      source.close();
    }
  }
  return judge.samples;
}

/** The flow as Labels.take() asks for it. */
export function labelRecord(sample: FlowSample): FlowRecord {
  const { numbers, request, response } = sample;
  const payload = (bytes: Uint8Array) =>
    bytes.length === 0 ? undefined : { bytes: bytes.length, head: bytes, spot: undefined };
  return {
    file: sample.file,
    firstPacket: 0,
    protocol: numbers.transportProtocol,
    source: numbers.source,
    sourcePort: numbers.sourcePort,
    destination: numbers.destination,
    destinationPort: numbers.destinationPort,
    packets: 0,
    bytes: 0,
    midStream: false,
    request: payload(request),
    response: payload(response),
    identity: undefined,
    unknown: "no-match",
    nearest: undefined,
  };
}
