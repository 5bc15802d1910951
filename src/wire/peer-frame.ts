/**
 * Frames of the peer channel: length 4 | flag 1 | type 1 | body, the length that of the body, at
 * most 1 MiB. design/manager.md "Channels"; docs/peer-channel.md. They follow each other in the
 * plaintext of the channel's records, cut anywhere. The reader judges a length before it keeps a
 * byte of the body, and never holds more than was received.
 */

import { concat } from "../bytes.ts";

export const PEER_FRAME_BODY_BYTES_MAX = 1024 * 1024;
export const PEER_FRAME_HEADER_BYTES = 6;

/** What a frame is about. Flags that are not known are skipped: they are of a later version. */
export const PEER_FLAG = {
  /** A message of the ledger; `type` is its code. */
  ledger: 1,
  /** Nothing, to show that one is there; the first of the initiator confirms the handshake. */
  alive: 2,
  /** Who the sender is, and who else is there. */
  discovery: 3,
  /** Whom the master has revoked. */
  revocation: 4,
} as const;

export type PeerFrame = { readonly flag: number; readonly type: number; readonly body: Uint8Array };

/** One after the other. Bytes are set one by one: a DataView makes a small array a slow one. */
export function encodePeerFrames(frames: readonly PeerFrame[]): Uint8Array {
  let sizeBytes = 0;
  for (const { body } of frames) sizeBytes += PEER_FRAME_HEADER_BYTES + body.length;
  const bytes = new Uint8Array(sizeBytes);
  let at = 0;
  for (const { flag, type, body } of frames) {
    bytes[at] = body.length >>> 24;
    bytes[at + 1] = body.length >>> 16;
    bytes[at + 2] = body.length >>> 8;
    bytes[at + 3] = body.length;
    bytes[at + 4] = flag;
    bytes[at + 5] = type;
    bytes.set(body, at + PEER_FRAME_HEADER_BYTES);
    at += PEER_FRAME_HEADER_BYTES + body.length;
  }
  return bytes;
}

/** Puts frames together from a stream of bytes. */
export class PeerFrameReader {
  /** A length above the limit was read: nothing after it can be. */
  isSpoilt = false;
  private readonly header = new Uint8Array(PEER_FRAME_HEADER_BYTES);
  private readonly memory = new DataView(this.header.buffer);
  private headerEnd = 0;
  private parts: Uint8Array[] = [];
  private missing = 0;

  /**
   * Frames that `chunk` completes, in order. Bodies may lie in it: it is a record's plaintext,
   * which nobody uses again.
   */
  take(chunk: Uint8Array): PeerFrame[] {
    const frames: PeerFrame[] = [];
    let offset = 0;
    while (offset < chunk.length && !this.isSpoilt) {
      offset += this.isInBody() ? this.takeBody(chunk, offset) : this.takeHeader(chunk, offset);
      if (this.isInBody() && this.missing === 0) frames.push(this.finish());
    }
    return frames;
  }

  private isInBody(): boolean {
    return this.headerEnd === PEER_FRAME_HEADER_BYTES;
  }

  private takeHeader(chunk: Uint8Array, offset: number): number {
    const part = chunk.subarray(offset, offset + PEER_FRAME_HEADER_BYTES - this.headerEnd);
    this.header.set(part, this.headerEnd);
    this.headerEnd += part.length;
    if (this.isInBody()) {
      this.missing = this.memory.getUint32(0, false);
      this.isSpoilt = this.missing > PEER_FRAME_BODY_BYTES_MAX;
    }
    return part.length;
  }

  private takeBody(chunk: Uint8Array, offset: number): number {
    const part = chunk.subarray(offset, offset + this.missing);
    this.parts.push(part);
    this.missing -= part.length;
    return part.length;
  }

  private finish(): PeerFrame {
    const [first] = this.parts;
    const body = this.parts.length === 1 && first !== undefined ? first : concat(...this.parts);
    this.parts = [];
    this.headerEnd = 0;
    return { flag: this.memory.getUint8(4), type: this.memory.getUint8(5), body };
  }
}
