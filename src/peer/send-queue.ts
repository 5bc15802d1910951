/**
 * Frames that wait for a peer: bounded by count and bytes. When it is full the oldest leave, since
 * whatever the ledger sends is either repeated or outdated by what comes later.
 */
import { PEER_FRAME_HEADER_BYTES, type PeerFrame } from "../wire/peer-frame.ts";

export type QueueLimits = { readonly framesMax: number; readonly bytesMax: number };

export class SendQueue {
  /** Frames that left unsent. */
  lost = 0;
  private readonly frames: PeerFrame[] = [];
  private sizeBytes = 0;

  constructor(private readonly limits: QueueLimits) {}

  get length(): number {
    return this.frames.length;
  }

  push(frame: PeerFrame): void {
    this.frames.push(frame);
    this.sizeBytes += bytesOf(frame);
    const { framesMax, bytesMax } = this.limits;
    while (this.frames.length > framesMax || this.sizeBytes > bytesMax) {
      this.shift();
      this.lost++;
    }
  }

  /** The oldest, and what fits with it into so many bytes. */
  take(bytesMax: number): PeerFrame[] {
    const frames: PeerFrame[] = [];
    let left = bytesMax;
    for (;;) {
      const [next] = this.frames;
      if (next === undefined || (frames.length > 0 && bytesOf(next) > left)) return frames;
      left -= bytesOf(next);
      this.shift();
      frames.push(next);
    }
  }

  private shift(): PeerFrame | undefined {
    const frame = this.frames.shift();
    if (frame !== undefined) this.sizeBytes -= bytesOf(frame);
    return frame;
  }
}

function bytesOf({ body }: PeerFrame): number {
  return PEER_FRAME_HEADER_BYTES + body.length;
}
