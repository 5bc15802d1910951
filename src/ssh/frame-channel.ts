/**
 * Frames of the manager channel over one SSH channel, at either end. docs/manager-channel.md
 * "Frames". What waits for a slow reader is bounded, in bytes and in time; frames that come too
 * fast are not read until their debt is paid, and SSH's window slows the sender.
 */
import type { Duplex } from "node:stream";
import {
  encodeManagerFrame,
  type ManagerFrame,
  ManagerFrameReader,
} from "../wire/manager-frame.ts";

/** What a role gives: how many milliseconds to wait after `count` frames. */
export type FrameRate = { readonly take: (count: number, nowMs: number) => number };

export type FrameChannelOptions = {
  /** The management frame tag, 32 bytes. */
  readonly tag: Uint8Array;
  readonly bodyBytesMax?: number;
  readonly rate?: FrameRate;
  readonly waitingBytesMax: number;
  readonly stallMs: number;
};

export type FrameHandlers = {
  readonly frame: (frame: ManagerFrame) => void;
  /** Once; nothing comes after it. */
  readonly ended: (why: string) => void;
};

export class FrameChannel {
  #reader: ManagerFrameReader;
  #handlers: FrameHandlers | undefined;
  #stall: Timer | undefined;
  #pause: Timer | undefined;
  #endedWhy: string | undefined;

  constructor(
    private readonly stream: Duplex,
    private readonly options: FrameChannelOptions,
  ) {
    this.#reader = new ManagerFrameReader(options.tag, options.bodyBytesMax);
    stream.on("error", () => this.#end("the channel broke"));
    stream.on("close", () => this.#end("the other end closed"));
    stream.on("end", () => this.#end("the other end closed"));
  }

  get isOpen(): boolean {
    return this.#endedWhy === undefined;
  }

  /** From now on frames are read. */
  open(handlers: FrameHandlers): void {
    this.#handlers = handlers;
    if (this.#endedWhy !== undefined) return handlers.ended(this.#endedWhy);
    this.stream.on("data", (chunk: Uint8Array) => this.#take(chunk));
  }

  /** False: the channel has ended, or ends now because the other end reads too slowly. */
  send(frame: ManagerFrame): boolean {
    if (!this.isOpen) return false;
    const { waitingBytesMax, stallMs, tag } = this.options;
    if (this.stream.writableLength > waitingBytesMax) {
      this.#end("the other end reads too slowly");
      return false;
    }
    this.stream.write(encodeManagerFrame(frame, tag), () => this.#taken());
    this.#stall ??= setTimeout(() => this.#end("the other end reads nothing"), stallMs);
    return true;
  }

  close(): void {
    this.#end("closed here");
  }

  /** Something was taken: the rest has its time again. */
  #taken(): void {
    clearTimeout(this.#stall);
    this.#stall = undefined;
    if (!this.isOpen || this.stream.writableLength === 0) return;
    const { stallMs } = this.options;
    this.#stall = setTimeout(() => this.#end("the other end reads nothing"), stallMs);
  }

  #take(chunk: Uint8Array): void {
    if (!this.isOpen) return;
    const frames = this.#reader.take(chunk);
    for (const frame of frames) {
      if (this.isOpen) this.#handlers?.frame(frame);
    }
    const { fault } = this.#reader;
    if (fault !== undefined) return this.#end(`a frame had a wrong ${fault}`);
    const waitMs = this.options.rate?.take(frames.length, performance.now()) ?? 0;
    if (waitMs === 0 || !this.isOpen) return;
    this.stream.pause();
    this.#pause = setTimeout(() => this.stream.resume(), waitMs);
  }

  #end(why: string): void {
    if (this.#endedWhy !== undefined) return;
    this.#endedWhy = why;
    clearTimeout(this.#stall);
    clearTimeout(this.#pause);
    // What comes after the end is thrown away, so that the channel can close.
    this.stream.resume();
    this.stream.end();
    this.#handlers?.ended(why);
  }
}
