/**
 * Frames of the manager channel: length 4 | flag 1 | type 1 | masterTenant 16 | masterApp 16 |
 * body, the length that of the body. Paper §3.6: the flag says what to do, and a packet of the
 * manager holds a special management frame tag. docs/manager-channel.md "Frames". They follow each
 * other in the stream of the SSH subsystem, cut anywhere. The reader judges length and tag before
 * it keeps a byte of the body, and never holds more than twice of what was received.
 */
import { createHash } from "node:crypto";
import { FLAG } from "./header.ts";

export const MANAGER_FRAME_BODY_BYTES_MAX = 4 * 1024 * 1024;
export const MANAGER_FRAME_HEADER_BYTES = 38;

/** The paper's flags, as far as they travel on this channel. Others are of a later version. */
export const MANAGER_FLAG = {
  enrolment: FLAG.enrolment,
  discovery: FLAG.discovery,
  update: FLAG.update,
} as const;

const NO_BODY = new Uint8Array(0);
const TAG_OFFSET = 6;
const TAG_BYTES = 32;
/** Each half of the tag. */
const HALF_BYTES = 16;

export type ManagerFrame = {
  readonly flag: number;
  readonly type: number;
  readonly body: Uint8Array;
};

/** Why nothing more can be read; the channel ends. */
export const MANAGER_FRAME_FAULTS = ["length", "tag"] as const;
export type ManagerFrameFault = (typeof MANAGER_FRAME_FAULTS)[number];

/** masterTenant and masterApp of a manager, 32 bytes; `publicKey` is its identity key's bytes. */
export function managementTag(publicKey: Uint8Array): Uint8Array {
  const half = (word: string): Buffer =>
    createHash("sha256").update(`${word}\0`).update(publicKey).digest().subarray(0, HALF_BYTES);
  return new Uint8Array(Buffer.concat([half("abs/masterTenant"), half("abs/masterApp")]));
}

export function encodeManagerFrame(
  { flag, type, body }: ManagerFrame,
  tag: Uint8Array,
): Uint8Array {
  const bytes = new Uint8Array(MANAGER_FRAME_HEADER_BYTES + body.length);
  const memory = new DataView(bytes.buffer);
  memory.setUint32(0, body.length, false);
  memory.setUint8(4, flag);
  memory.setUint8(5, type);
  bytes.set(tag, TAG_OFFSET);
  bytes.set(body, MANAGER_FRAME_HEADER_BYTES);
  return bytes;
}

/** Puts frames together from a stream of bytes. */
export class ManagerFrameReader {
  /** Set once something cannot be right: nothing after it is read. */
  fault: ManagerFrameFault | undefined;
  private readonly header = new Uint8Array(MANAGER_FRAME_HEADER_BYTES);
  private readonly memory = new DataView(this.header.buffer);
  private headerEnd = 0;
  /** Grows with what comes: a length that is only said takes no memory, nor do bytes one by one. */
  private body = NO_BODY;
  private bodyEnd = 0;
  private missing = 0;

  /**
   * @param tag the management frame tag that every frame must bear, 32 bytes
   * @param bodyBytesMax of one frame; less where the other end is hardly known
   */
  constructor(
    private readonly tag: Uint8Array,
    private readonly bodyBytesMax = MANAGER_FRAME_BODY_BYTES_MAX,
  ) {}

  /** Frames that `chunk` completes, in order. */
  take(chunk: Uint8Array): ManagerFrame[] {
    const frames: ManagerFrame[] = [];
    let offset = 0;
    while (offset < chunk.length && this.fault === undefined) {
      offset += this.isInBody() ? this.takeBody(chunk, offset) : this.takeHeader(chunk, offset);
      const isComplete = this.isInBody() && this.missing === 0 && this.fault === undefined;
      if (isComplete) frames.push(this.finish());
    }
    return frames;
  }

  private isInBody(): boolean {
    return this.headerEnd === MANAGER_FRAME_HEADER_BYTES;
  }

  private takeHeader(chunk: Uint8Array, offset: number): number {
    const part = chunk.subarray(offset, offset + MANAGER_FRAME_HEADER_BYTES - this.headerEnd);
    this.header.set(part, this.headerEnd);
    this.headerEnd += part.length;
    if (this.isInBody()) {
      this.missing = this.memory.getUint32(0, false);
      if (this.missing > this.bodyBytesMax) this.fault = "length";
      else if (!this.hasTag()) this.fault = "tag";
    }
    return part.length;
  }

  /** The tag is no secret: it tells a frame of this manager from one of another. */
  private hasTag(): boolean {
    for (let i = 0; i < TAG_BYTES; i++) {
      if (this.header[TAG_OFFSET + i] !== this.tag[i]) return false;
    }
    return true;
  }

  private takeBody(chunk: Uint8Array, offset: number): number {
    // A copy: the chunk is the channel's.
    const part = chunk.subarray(offset, offset + this.missing);
    const end = this.bodyEnd + part.length;
    if (end > this.body.length) {
      const larger = new Uint8Array(Math.min(2 * end, this.bodyEnd + this.missing));
      larger.set(this.body.subarray(0, this.bodyEnd));
      this.body = larger;
    }
    this.body.set(part, this.bodyEnd);
    this.bodyEnd = end;
    this.missing -= part.length;
    return part.length;
  }

  private finish(): ManagerFrame {
    const body = this.body.subarray(0, this.bodyEnd);
    this.body = NO_BODY;
    this.bodyEnd = 0;
    this.headerEnd = 0;
    return { flag: this.memory.getUint8(4), type: this.memory.getUint8(5), body };
  }
}
