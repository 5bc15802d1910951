/**
 * `abs capture`: frames of the outside port as a stream of pcapng blocks, and, where the agent was
 * started with --allow-keylog, the keys of sessions made meanwhile. docs/wireshark.md.
 * One capture at a time. The worker copies frames into a ring (dataplane/frame-tap.ts); this drains
 * it as fast as its reader reads. A reader that is slower loses frames, which are counted.
 */
import {
  packetBlock,
  secretsBlock,
  sectionStart,
  statisticsBlock,
} from "../capture/pcapng-blocks.ts";
import { COMMAND } from "../dataplane/control-records.ts";
import { untilRecord } from "../dataplane/doorbell.ts";
import { FRAME_BYTES, FRAME_RECEIVED, FRAME_TIME } from "../dataplane/frame-tap.ts";
import type { Shim } from "../dataplane/shim.ts";
import { AbsError } from "../errors.ts";
import type { EventLog } from "../observe/event-log.ts";
import { CaptureFilter, type CaptureWords, type Carriers } from "./capture-filter.ts";
import type { SessionDriver } from "./session-driver.ts";
import type { WorkerLink } from "./worker-link.ts";

/** Blocks sent at one time. */
const CHUNK_BYTES = 256 * 1024;
/** A reader that is gone is noticed by this; and so long the end of a capture takes at most. */
const SIGN_OF_LIFE_MS = 200;
/** Key lines wait for their reader: of more sessions than there can be at one time. */
const KEY_LINES_MAX = 8_192;

export type CaptureParts = {
  readonly worker: WorkerLink;
  readonly shim: Shim;
  readonly driver: SessionDriver;
  readonly events: EventLog;
  readonly carriers: () => Carriers;
  /** The administrator allowed it when the agent was started. */
  readonly allowsKeyLog: boolean;
};

export type CaptureRequest = CaptureWords & {
  readonly keylog: boolean;
  /** Infinity: until it is ended. */
  readonly packets: number;
  readonly seconds: number;
};

export class OutsideCapture {
  #running: RunningCapture | undefined;

  constructor(readonly parts: CaptureParts) {}

  /** @throws AbsError CAPTURE_RUNNING, KEYLOG_NOT_ALLOWED, OPTION_INVALID */
  begin(request: CaptureRequest): ReadableStream<Uint8Array> {
    const { allowsKeyLog, carriers } = this.parts;
    if (this.#running !== undefined) {
      const what = "Another capture of this agent is running.";
      throw new AbsError("CAPTURE_RUNNING", what, "End it first.");
    }
    const filter = new CaptureFilter(request, carriers);
    if (request.keylog && !allowsKeyLog) {
      this.parts.events.write({ event: "keylog-refused" });
      const what = "This agent was not started with --allow-keylog: its keys stay with it.";
      const remedy = "Capture without --keylog, or start the agent with --allow-keylog.";
      throw new AbsError("KEYLOG_NOT_ALLOWED", what, remedy);
    }
    const running = new RunningCapture(this.parts, request, filter, () => {
      this.#running = undefined;
    });
    this.#running = running;
    return running.stream();
  }

  /** The agent ends: before its worker does. */
  close(): void {
    this.#running?.close();
  }

  /** What was captured so far is still sent. */
  end(): void {
    if (this.#running !== undefined) this.#running.isEnding = true;
  }
}

class RunningCapture {
  isEnding = false;
  readonly #timeOffsetUs: number;
  readonly #endUs: number;
  readonly #lostBefore: number;
  #lostTold = 0;
  #packets = 0;
  #keys: string[] = [];
  #isOver = false;

  constructor(
    readonly parts: CaptureParts,
    readonly request: CaptureRequest,
    readonly filter: CaptureFilter,
    readonly onEnd: () => void,
  ) {
    const { worker, driver, events } = parts;
    const { frames } = worker;
    while (frames.peek() >= 0) frames.release();
    this.#lostBefore = frames.lost;
    const nowUs = this.#nowUs;
    this.#timeOffsetUs = Date.now() * 1000 - nowUs;
    this.#endUs = nowUs + request.seconds * 1e6;
    worker.send(COMMAND.capture, 1);
    if (request.keylog) {
      driver.keyListener = (line) => {
        if (this.#keys.length < KEY_LINES_MAX) this.#keys.push(line);
      };
    }
    const { host, direction, kind, keylog } = request;
    events.write({ event: keylog ? "keylog-began" : "capture-began", host, direction, kind });
  }

  stream(): ReadableStream<Uint8Array> {
    let isFirst = true;
    return new ReadableStream({
      pull: async (controller) => {
        if (isFirst) controller.enqueue(sectionStart("outside"));
        isFirst = false;
        await untilRecord(this.parts.worker.frames, SIGN_OF_LIFE_MS);
        if (this.#isOver) return;
        controller.enqueue(Buffer.concat(this.#blocks()));
        if (!this.#isDone) return;
        this.close();
        controller.close();
      },
      cancel: () => this.close(),
    });
  }

  close(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const { worker, driver, events } = this.parts;
    worker.send(COMMAND.capture, 0);
    if (this.request.keylog) driver.keyListener = undefined;
    const event = this.request.keylog ? "keylog-over" : "capture-over";
    events.write({ event, packets: this.#packets, lost: this.#lostTold });
    this.onEnd();
  }

  get #nowUs(): number {
    return this.parts.shim.symbols.abs_now_us();
  }

  get #isDone(): boolean {
    return this.isEnding || this.#packets >= this.request.packets || this.#nowUs >= this.#endUs;
  }

  /** Keys first: a reader that stops has those of the packets it has. */
  #blocks(): Uint8Array[] {
    const blocks = [secretsBlock(this.#keys.splice(0).join("")), ...this.#packetBlocks()];
    const lost = this.parts.worker.frames.lost - this.#lostBefore;
    if (lost !== this.#lostTold || this.#isDone) {
      this.#lostTold = lost;
      blocks.push(statisticsBlock(this.#nowUs + this.#timeOffsetUs, lost));
    }
    return blocks;
  }

  #packetBlocks(): Uint8Array[] {
    const { frames } = this.parts.worker;
    const blocks: Uint8Array[] = [];
    let bytes = 0;
    while (bytes < CHUNK_BYTES && this.#packets < this.request.packets) {
      const at = frames.peek();
      if (at < 0) break;
      const start = at + FRAME_BYTES;
      const end = at + frames.length;
      const direction = frames.type === FRAME_RECEIVED ? "in" : "out";
      if (end > start && this.filter.takes(frames.memory, start, end, direction)) {
        const timeUs = frames.memory.getFloat64(at + FRAME_TIME, true) + this.#timeOffsetUs;
        const block = packetBlock(frames.bytes.subarray(start, end), timeUs, direction);
        blocks.push(block);
        bytes += block.length;
        this.#packets++;
      }
      frames.release();
    }
    return blocks;
  }
}
