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
import { type RenewalWish, readRenew } from "./renewal-messages.ts";

const ANSWER_MS = 30_000;
const FRAMES_WAITING_MAX = 64;
const COUNT_MAX = 2 ** 32 - 1;
/** Of setTimeout(). */
const TIMER_MS_MAX = 2 ** 31 - 1;

/** What the manager says by itself: the version that the agent should have, or that it renews. */
export type Announcement =
  | { readonly kind: "changed"; readonly version: number }
  | { readonly kind: "renew"; readonly wish: RenewalWish };

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
        // Of announcements of a kind the newest counts.
        const isSame = (one: ManagerFrame) => isAnnouncement(one) && one.type === frame.type;
        const old = isAnnouncement(frame) ? this.#frames.findIndex(isSame) : -1;
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

  /** What the manager says next by itself, whenever that is. */
  async announced(): Promise<Announcement>;
  /**
   * The same; undefined when none comes in this time.
   * @throws AbsError MANAGER_SILENT when the channel ends, MANAGER_ANSWER_WRONG
   */
  async announced(withinMs: number | undefined): Promise<Announcement | undefined>;
  async announced(withinMs = TIMER_MS_MAX): Promise<Announcement | undefined> {
    const at = await this.#place(isAnnouncement, withinMs);
    if (at < 0 && this.#endedWhy === undefined) return undefined;
    if (at < 0) throw silent(this.#endedWhy);
    const [frame] = this.#frames.splice(at, 1) as [ManagerFrame];
    if (frame.type === UPDATE.renew) {
      return readFrame(frame, (fields) => ({ kind: "renew", wish: readRenew(fields) }));
    }
    return readFrame(frame, (fields) => ({
      ...{ kind: "changed", version: fields.integer("version", 1, COUNT_MAX) },
    }));
  }

  /** Where the first such frame waits. @throws AbsError MANAGER_SILENT */
  async #wait(isWanted: (frame: ManagerFrame) => boolean, waitMs: number): Promise<number> {
    const at = await this.#place(isWanted, waitMs);
    if (at >= 0) return at;
    throw silent(this.#endedWhy ?? `no answer in ${waitMs / 1000} s`);
  }

  /** The same; negative: none came, or the channel has ended. */
  async #place(isWanted: (frame: ManagerFrame) => boolean, waitMs: number): Promise<number> {
    const endMs = performance.now() + waitMs;
    for (;;) {
      const at = this.#frames.findIndex(isWanted);
      const leftMs = endMs - performance.now();
      if (at >= 0 || this.#endedWhy !== undefined || leftMs <= 0) return at;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, leftMs);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }
}

function silent(why: string | undefined): AbsError {
  const remedy = "Try again; look at the events of `abs manager serve` if it goes on.";
  return new AbsError("MANAGER_SILENT", `The manager gave no answer: ${why}.`, remedy);
}

/** It answers nothing: it comes whenever something changed. */
function isAnnouncement({ flag, type }: ManagerFrame): boolean {
  return flag === MANAGER_FLAG.update && (type === UPDATE.changed || type === UPDATE.renew);
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
