/** The agent's end of a frame channel, as a talk: send one, wait for the next. */
import type { Duplex } from "node:stream";
import type { JsonFields } from "../chain/json-fields.ts";
import { AbsError } from "../errors.ts";
import { FrameChannel } from "../ssh/frame-channel.ts";
import { SSH_LIMITS } from "../ssh/ssh-settings.ts";
import {
  MANAGER_FLAG,
  MANAGER_FRAME_BODY_BYTES_MAX,
  type ManagerFrame,
} from "../wire/manager-frame.ts";
import { ENROLMENT, readMessage, readRefused, UPDATE } from "./message-reading.ts";

const ANSWER_MS = 30_000;
const FRAMES_WAITING_MAX = 64;
const COUNT_MAX = 2 ** 32 - 1;
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
        // Of announcements the newest counts.
        const old = isAnnouncement(frame) ? this.#frames.findIndex(isAnnouncement) : -1;
        if (old >= 0) this.#frames[old] = frame;
        else if (this.#frames.length < FRAMES_WAITING_MAX) this.#frames.push(frame);
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
   * The next answer, which must be of `type`; what is announced waits in its place.
   * @throws AbsError what the manager refused with, MANAGER_SILENT, MANAGER_ANSWER_WRONG
   */
  async next<T>(flag: number, type: number, read: (fields: JsonFields) => T): Promise<T> {
    const at = await this.#wait((frame) => !isAnnouncement(frame), ANSWER_MS);
    const [frame] = this.#frames.splice(at, 1) as [ManagerFrame];
    if (frame.flag === flag && frame.type === ENROLMENT.refused) throw refusalOf(frame);
    if (frame.flag === flag && frame.type === type) return readFrame(frame, read);
    throw misunderstood(`a frame ${frame.flag}/${frame.type} came in place of ${flag}/${type}`);
  }

  /** Type of the next answer, which is not taken yet. @throws AbsError MANAGER_SILENT */
  async nextType(): Promise<number> {
    const at = await this.#wait((frame) => !isAnnouncement(frame), ANSWER_MS);
    return (this.#frames[at] as ManagerFrame).type;
  }

  /**
   * The newest version that the manager announces by itself, whenever that is.
   * @throws AbsError MANAGER_SILENT when the channel ends, MANAGER_ANSWER_WRONG
   */
  async announced(): Promise<number> {
    const at = await this.#wait(isAnnouncement, TIMER_MS_MAX);
    const [frame] = this.#frames.splice(at, 1) as [ManagerFrame];
    return readFrame(frame, (fields) => fields.integer("version", 1, COUNT_MAX));
  }

  /** Where the first such frame waits. */
  async #wait(isWanted: (frame: ManagerFrame) => boolean, waitMs: number): Promise<number> {
    const endMs = performance.now() + waitMs;
    for (;;) {
      const at = this.#frames.findIndex(isWanted);
      if (at >= 0) return at;
      const leftMs = endMs - performance.now();
      if (this.#endedWhy !== undefined || leftMs <= 0) break;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, leftMs);
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

/** It answers nothing: it comes whenever something changed. */
function isAnnouncement({ flag, type }: ManagerFrame): boolean {
  return flag === MANAGER_FLAG.update && type === UPDATE.changed;
}

function readFrame<T>({ body }: ManagerFrame, read: (fields: JsonFields) => T): T {
  const result = readMessage(body, MANAGER_FRAME_BODY_BYTES_MAX, read);
  if ("message" in result) return result.message;
  throw misunderstood(result.complaint);
}

function misunderstood(why: string): AbsError {
  const remedy = "Use the same version of `abs` here and there.";
  return new AbsError(
    "MANAGER_ANSWER_WRONG",
    `The manager's answer is not understood: ${why}.`,
    remedy,
  );
}

function refusalOf(frame: ManagerFrame): AbsError {
  const read = readMessage(frame.body, MANAGER_FRAME_BODY_BYTES_MAX, readRefused);
  if ("complaint" in read) return new AbsError("MANAGER_REFUSED", "The manager refuses.", "");
  const { code, what, remedy } = read.message;
  return new AbsError(code, what, remedy);
}
