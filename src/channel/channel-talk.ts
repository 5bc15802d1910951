/** The agent's end of a frame channel, as a talk: send one, wait for the next. */
import type { Duplex } from "node:stream";
import type { JsonFields } from "../chain/json-fields.ts";
import { AbsError } from "../errors.ts";
import { FrameChannel } from "../ssh/frame-channel.ts";
import { SSH_LIMITS } from "../ssh/ssh-settings.ts";
import { MANAGER_FRAME_BODY_BYTES_MAX, type ManagerFrame } from "../wire/manager-frame.ts";
import { ENROLMENT, type MessageRead, readMessage, readRefused } from "./message-reading.ts";

const ANSWER_MS = 30_000;
const FRAMES_WAITING_MAX = 64;
/** Of setTimeout(). */
const TIMER_MS_MAX = 2 ** 31 - 1;

export class ChannelTalk {
  readonly #channel: FrameChannel;
  readonly #frames: ManagerFrame[] = [];
  #wake: (() => void) | undefined;
  #endedWhy: string | undefined;

  constructor(stream: Duplex, tag: Uint8Array) {
    const { waitingBytesMax, stallMs } = SSH_LIMITS;
    this.#channel = new FrameChannel(stream, { tag, waitingBytesMax, stallMs });
    this.#channel.open({
      frame: (frame) => {
        this.#frames.push(frame);
        // The oldest leaves: what is announced anew is what counts.
        if (this.#frames.length > FRAMES_WAITING_MAX) this.#frames.shift();
        this.#wake?.();
      },
      ended: (why) => {
        this.#endedWhy = why;
        this.#wake?.();
      },
    });
  }

  send(frame: ManagerFrame): void {
    this.#channel.send(frame);
  }

  close(): void {
    this.#channel.close();
  }

  /**
   * The next message, which must be of `type`.
   * @throws AbsError what the manager refused with, MANAGER_SILENT, MANAGER_ANSWER_WRONG
   */
  async next<T>(flag: number, type: number, read: (fields: JsonFields) => T): Promise<T> {
    await this.nextType();
    const frame = this.#frames.shift() as ManagerFrame;
    if (frame.flag === flag && frame.type === ENROLMENT.refused) throw refusalOf(frame);
    const result: MessageRead<T> =
      frame.flag === flag && frame.type === type
        ? readMessage(frame.body, MANAGER_FRAME_BODY_BYTES_MAX, read)
        : { complaint: `a frame ${frame.flag}/${frame.type} came in place of ${flag}/${type}` };
    if ("message" in result) return result.message;
    throw new AbsError(
      "MANAGER_ANSWER_WRONG",
      `The manager's answer is not understood: ${result.complaint}.`,
      "Use the same version of `abs` here and there.",
    );
  }

  /**
   * The newest of what the manager announces by itself, whenever that is; what else comes meanwhile
   * answers nothing, and is passed over.
   * @throws AbsError MANAGER_SILENT when the channel ends, MANAGER_ANSWER_WRONG
   */
  async announced<T>(flag: number, type: number, read: (fields: JsonFields) => T): Promise<T> {
    for (;;) {
      await this.nextType(Number.POSITIVE_INFINITY);
      const last = this.#frames.findLastIndex((one) => one.flag === flag && one.type === type);
      this.#frames.splice(0, last < 0 ? this.#frames.length : last);
      if (last >= 0) return this.next(flag, type, read);
    }
  }

  /** Type of the next message, which is not taken yet. @throws AbsError MANAGER_SILENT */
  async nextType(waitMs = ANSWER_MS): Promise<number> {
    const endMs = performance.now() + waitMs;
    for (;;) {
      const [frame] = this.#frames;
      if (frame !== undefined) return frame.type;
      const leftMs = endMs - performance.now();
      if (this.#endedWhy !== undefined || leftMs <= 0) break;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.min(leftMs, TIMER_MS_MAX));
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    const why = this.#endedWhy ?? `no answer in ${waitMs / 1000} s`;
    const remedy = "Try again; look at the events of `abs manager serve` if it goes on.";
    throw new AbsError("MANAGER_SILENT", `The manager gave no answer: ${why}.`, remedy);
  }
}

function refusalOf(frame: ManagerFrame): AbsError {
  const read = readMessage(frame.body, MANAGER_FRAME_BODY_BYTES_MAX, readRefused);
  if ("complaint" in read) return new AbsError("MANAGER_REFUSED", "The manager refuses.", "");
  const { code, what, remedy } = read.message;
  return new AbsError(code, what, remedy);
}
