/**
 * Reads captures from end to end: records to packets, packets to flows, flows to the judge. One
 * window and one flow table serve all captures in turn, so that memory does not grow with them.
 */
import { readerOf } from "../capture/capture-reader.ts";
import { type CaptureSource, CaptureWindow, openCapture } from "../capture/capture-window.ts";
import { FlowTracker } from "../capture/flow-tracker.ts";
import { PacketPath } from "../capture/packet-path.ts";
import type { PcapngWriter } from "../capture/pcapng-writer.ts";
import { PACKET, WANT } from "../capture/record-codes.ts";
import { FLOWS_MAX } from "../capture/tracked-flows.ts";
import { type FlowSink, SignatureJudge } from "./signature-judge.ts";
import type { SignatureSet } from "./signature-set.ts";
import { VerdictComments } from "./verdict-comments.ts";

/** What was read of one capture. */
export interface CaptureCounts {
  readonly file: string;
  readonly packets: number;
  /** Packets without an IP packet, or of a link type that is not known. */
  readonly notIp: number;
  /** Packets whose headers are wrong or were cut off. */
  readonly malformed: number;
  readonly fragments: number;
  /** Fragmented packets that never became whole. */
  readonly lostFragments: number;
  /** Records of packets larger than any packet, or of an interface that was not described. */
  readonly skipped: number;
  readonly flows: number;
  /** Flows that ended early because the table was full. */
  readonly evicted: number;
  /** Why it was not read to its end; empty when it was. */
  readonly fault: string;
}

export interface RunOptions {
  /**
   * Records tell where signatures matched and which came near, which takes long. A flow takes three
   * times the memory, so that half as many are followed at once.
   */
  readonly explain: boolean;
  /** Look inside tunnels. */
  readonly inner: boolean;
  /** Hears how many bytes of the capture at hand were read, once a window. */
  readonly progress?: (bytes: number) => void;
  /** Gets every packet with what is known of its flow by then. */
  readonly writer?: PcapngWriter;
}

export class CaptureRun {
  readonly #window = new CaptureWindow();
  readonly #judge: SignatureJudge;
  readonly #tracker: FlowTracker;
  readonly #path: PacketPath;
  readonly #comments: VerdictComments;

  constructor(
    set: SignatureSet,
    sink: FlowSink,
    private readonly options: RunOptions,
  ) {
    const flowsMax = options.explain ? FLOWS_MAX / 2 : FLOWS_MAX;
    this.#judge = new SignatureJudge(set, this.#window, options.explain, sink, flowsMax);
    this.#tracker = new FlowTracker(this.#judge, flowsMax);
    this.#judge.watch(this.#tracker.flows);
    this.#comments = new VerdictComments(this.#judge);
    this.#path = new PacketPath(this.#window, this.#tracker, options.inner ? 1 : 0);
  }

  /** Throws AbsError when `file` is no capture; what is wrong within one is a `fault`. */
  read(file: string): CaptureCounts {
    const source = openCapture(file);
    try {
      return this.readSource(source);
    } finally {
      source.close();
    }
  }

  readSource(source: CaptureSource): CaptureCounts {
    const window = this.#window;
    window.open(source);
    const reader = readerOf(window, source.name);
    const path = this.#path;
    const tracker = this.#tracker;
    const { writer } = this.options;
    const comments = this.#comments;
    path.clear();
    tracker.clear();
    this.#judge.file = source.name;
    for (let code = reader.next(); code >= WANT; code = reader.next()) {
      if (code === PACKET) {
        path.take(reader);
        writer?.write(reader, window.bytes, comments.of(path.flow));
        continue;
      }
      window.fill();
      this.options.progress?.(window.base + window.end);
    }
    path.finish();
    return {
      file: source.name,
      packets: path.packets,
      notIp: path.notIp,
      malformed: path.malformed,
      fragments: path.fragments,
      lostFragments: path.lostFragments,
      skipped: reader.skipped,
      flows: tracker.ended,
      evicted: tracker.evicted,
      fault: reader.fault,
    };
  }
}
