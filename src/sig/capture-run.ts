/**
 * Reads captures from end to end: records to packets, packets to flows, flows to the judge. One
 * window and one flow table serve all captures in turn, so that memory does not grow with them.
 */
import { readerOf } from "../capture/capture-reader.ts";
import { type CaptureSource, CaptureWindow, openCapture } from "../capture/capture-window.ts";
import { FlowTracker } from "../capture/flow-tracker.ts";
import { findIp } from "../capture/link-layer.ts";
import { HEADERS, PacketHeaders, parseHeaders } from "../capture/packet-headers.ts";
import { PACKET, WANT } from "../capture/record-codes.ts";
import type { FlowRecord } from "./flow-record.ts";
import { SignatureJudge } from "./signature-judge.ts";
import type { SignatureSet } from "./signature-set.ts";

/** What was read of one capture. */
export interface CaptureCounts {
  readonly file: string;
  packets: number;
  /** Packets that hold no IP packet that can be read. */
  notIp: number;
  malformed: number;
  flows: number;
  evicted: number;
  /** Why it was not read to its end; empty when it was. */
  fault: string;
}

export class CaptureRun {
  readonly #window = new CaptureWindow();
  readonly #judge: SignatureJudge;
  readonly #tracker: FlowTracker;
  readonly #headers = new PacketHeaders();
  #flows = 0;

  constructor(set: SignatureSet, onFlow: (record: FlowRecord) => void) {
    this.#judge = new SignatureJudge(set, this.#window, (record) => {
      this.#flows++;
      onFlow(record);
    });
    this.#tracker = new FlowTracker(this.#window, this.#judge);
    this.#judge.watch(this.#tracker.flows);
  }

  /** `progress` hears how many bytes were read, once a window. Throws AbsError. */
  read(file: string, progress: (bytes: number) => void = () => {}): CaptureCounts {
    const source = openCapture(file);
    try {
      return this.readSource(source, progress);
    } finally {
      source.close();
    }
  }

  readSource(source: CaptureSource, progress: (bytes: number) => void): CaptureCounts {
    const window = this.#window;
    window.open(source);
    const reader = readerOf(window, source.name);
    const tracker = this.#tracker;
    const headers = this.#headers;
    this.#judge.file = source.name;
    this.#flows = 0;
    tracker.evicted = 0;
    const { name: file } = source;
    const counts = { file, packets: 0, notIp: 0, malformed: 0, flows: 0, evicted: 0, fault: "" };
    for (let code = reader.next(); code >= WANT; code = reader.next()) {
      if (code !== PACKET) {
        window.fill();
        progress(window.base + window.end);
        continue;
      }
      counts.packets++;
      const at = findIp(window.memory, reader.linkType, reader.packetStart, reader.packetEnd);
      if (at < 0) {
        counts.notIp++;
        continue;
      }
      const parsed = parseHeaders(window.memory, at, reader.packetEnd, headers);
      if (parsed === HEADERS) tracker.take(headers, counts.packets, reader.wireBytes);
      else counts.malformed++;
    }
    tracker.finish();
    counts.flows = this.#flows;
    counts.evicted = tracker.evicted;
    counts.fault = reader.fault;
    return counts;
  }
}
