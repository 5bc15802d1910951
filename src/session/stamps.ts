/**
 * Time stamps of handshakes: TAI64N, 12 bytes, compared as byte strings. docs/wire.md "Time
 * stamps". The sender never sends a stamp twice or an older one, whatever its clock does, also
 * across a restart. The receiver keeps the greatest of each (peer, role, tag), and after its own
 * start asks for a cookie before it believes the first: no clock is compared with another.
 */
import type { PeerIndex, Role, TagIndex, WallMillis } from "../units.ts";
import { STAMP_BYTES } from "../wire/handshake-message.ts";

/** 2^62 and the 10 s by which TAI led UTC in 1970; leap seconds are not followed. */
const TAI_HIGH = 0x40000000;
const TAI_OFFSET_SECONDS = 10;
const NANOS_PER_SECOND = 1_000_000_000;
/**
 * A stamp this far ahead is saved, so that handshakes within this time need no further save.
 * After a restart stamps begin there: ahead of the clock by at most this much.
 */
const RESERVE_MILLIS = 10_000;

export function stampOf(wall: WallMillis): Uint8Array {
  const seconds = Math.floor(wall / 1000) + TAI_OFFSET_SECONDS;
  const stamp = new Uint8Array(STAMP_BYTES);
  const view = new DataView(stamp.buffer);
  view.setUint32(0, TAI_HIGH + Math.floor(seconds / 2 ** 32), false);
  view.setUint32(4, seconds % 2 ** 32, false);
  view.setUint32(8, Math.floor(wall % 1000) * 1_000_000, false);
  return stamp;
}

/** The stamp one nanosecond later. */
export function stampAfter(stamp: Uint8Array): Uint8Array {
  const next = stamp.slice();
  const view = new DataView(next.buffer);
  const nanos = view.getUint32(8, false) + 1;
  if (nanos < NANOS_PER_SECOND) {
    view.setUint32(8, nanos, false);
    return next;
  }
  const low = view.getUint32(4, false) + 1;
  view.setUint32(8, 0, false);
  view.setUint32(4, low % 2 ** 32, false);
  if (low === 2 ** 32) view.setUint32(0, view.getUint32(0, false) + 1, false);
  return next;
}

export function isStampLater(left: Uint8Array, right: Uint8Array): boolean {
  for (let i = 0; i < STAMP_BYTES; i++) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return false;
}

/** The stamps that this agent sends. */
export class StampClock {
  private last: Uint8Array;
  private reserved: Uint8Array;

  /** @param saved the last stamp that `next` asked to save, if any */
  constructor(saved: Uint8Array | undefined) {
    this.last = saved?.slice() ?? new Uint8Array(STAMP_BYTES);
    this.reserved = this.last;
  }

  /** max(now, last + 1 ns), and what is to be saved before it is sent, if anything. */
  next(wall: WallMillis): { readonly stamp: Uint8Array; readonly save: Uint8Array | undefined } {
    const now = stampOf(wall);
    this.last = isStampLater(now, this.last) ? now : stampAfter(this.last);
    if (!isStampLater(this.last, this.reserved)) return { stamp: this.last, save: undefined };
    const ahead = stampOf((wall + RESERVE_MILLIS) as WallMillis);
    this.reserved = isStampLater(ahead, this.last) ? ahead : secondsAfter(this.last);
    return { stamp: this.last, save: this.reserved };
  }
}

/** While the clock is behind `stamp`, reserve from the stamp on. */
function secondsAfter(stamp: Uint8Array): Uint8Array {
  let later = stamp;
  for (let i = 0; i < RESERVE_MILLIS / 1000; i++) {
    const endOfSecond = later.slice();
    new DataView(endOfSecond.buffer).setUint32(8, NANOS_PER_SECOND - 1, false);
    later = stampAfter(endOfSecond);
  }
  return later;
}

/** What the stamp of an initiation says. */
export type StampVerdict = "fresh" | "first" | "old";

/** The greatest stamps received. Holds one entry per (peer, role, tag) that a peer may claim. */
export class ReceivedStamps {
  private readonly greatest = new Map<PeerIndex, Map<number, Uint8Array>>();
  /** The first stamp of each peer that came with a valid cookie. */
  private readonly floor = new Map<PeerIndex, Uint8Array>();

  /**
   * `first`: nothing is known that this stamp could be compared with; it must come with a cookie.
   * Once a peer has shown one, later stamps of its other tags are fresh without.
   */
  judge(peer: PeerIndex, role: Role, tag: TagIndex, stamp: Uint8Array): StampVerdict {
    const known = this.greatest.get(peer)?.get(tag * 2 + role);
    if (known !== undefined) return isStampLater(stamp, known) ? "fresh" : "old";
    const floor = this.floor.get(peer);
    return floor !== undefined && isStampLater(stamp, floor) ? "fresh" : "first";
  }

  accept(peer: PeerIndex, role: Role, tag: TagIndex, stamp: Uint8Array): void {
    let stamps = this.greatest.get(peer);
    if (stamps === undefined) {
      stamps = new Map();
      this.greatest.set(peer, stamps);
      this.floor.set(peer, stamp);
    }
    stamps.set(tag * 2 + role, stamp);
  }

  forget(peer: PeerIndex): void {
    this.greatest.delete(peer);
    this.floor.delete(peer);
  }

  forgetAll(): void {
    this.greatest.clear();
    this.floor.clear();
  }
}
