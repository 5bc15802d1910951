/**
 * Bindings: (peer, tag, role) as one number, and the session that packets of it are sent under now.
 * docs/wire.md "Session, tag, role"; design/agent.md: a flow keeps its binding over renegotiations.
 * Hot path. Fixed memory; a binding is never given back, since flows name it: there can be no more
 * than peers × tags × roles. When full, of() returns -1 for pairs it does not know.
 */
import { assert } from "../errors.ts";
import { FlowHash } from "./flow-hash.ts";
import type { SessionTable } from "./session-table.ts";

export const BINDING_NO_SESSION = -1;
const PEER_MAX = 0xffff;
const TAG_MAX = 0xffff;

export class BindingTable {
  /** Session slot that may send, or BINDING_NO_SESSION. */
  readonly sendSession: Int32Array;
  /** 1 while a session was asked for and has not come. */
  readonly waiting: Uint8Array;
  /** When it was asked for last, in monotonic microseconds. */
  readonly askedUs: Float64Array;

  /** Peer << 16 | tag; both roles of it are neighbours: binding = 2 * row + role. */
  private readonly keys: Int32Array;
  private readonly slots: Int32Array;
  private readonly mask: number;
  private readonly hash = new FlowHash();
  private rows = 0;
  private readonly rowsMax: number;

  /** @param capacity bindings; rounded up to whole pairs of roles */
  constructor(capacity: number) {
    assert(capacity >= 1, "binding capacity out of range");
    this.rowsMax = Math.ceil(capacity / 2);
    this.sendSession = new Int32Array(2 * this.rowsMax).fill(BINDING_NO_SESSION);
    this.waiting = new Uint8Array(2 * this.rowsMax);
    this.askedUs = new Float64Array(2 * this.rowsMax);
    this.keys = new Int32Array(this.rowsMax);
    this.slots = new Int32Array(2 ** Math.ceil(Math.log2(2 * this.rowsMax)));
    this.mask = this.slots.length - 1;
  }

  /** Bindings given out: one more than the greatest index. */
  get count(): number {
    return 2 * this.rows;
  }

  /**
   * The binding of (peer, tag, role), new if need be; -1 when the table is full or a number too
   * great.
   */
  of(peer: number, tag: number, role: number): number {
    const known = this.find(peer, tag, role);
    if (known >= 0) return known;
    if (peer < 0 || peer > PEER_MAX || tag < 0 || tag > TAG_MAX) return -1;
    if (this.rows === this.rowsMax) return -1;
    const key = (peer << 16) | tag;
    const row = this.rows++;
    this.keys[row] = key;
    let slot = this.hash.of4(key, 0, 0, 0) & this.mask;
    for (let probe = 0; probe <= this.mask && this.slots[slot] !== 0; probe++) {
      slot = (slot + 1) & this.mask;
    }
    this.slots[slot] = row + 1;
    return 2 * row + role;
  }

  /** As of(), without making a new one. */
  find(peer: number, tag: number, role: number): number {
    if (peer < 0 || peer > PEER_MAX || tag < 0 || tag > TAG_MAX) return -1;
    const key = (peer << 16) | tag;
    let slot = this.hash.of4(key, 0, 0, 0) & this.mask;
    for (let probe = 0; probe <= this.mask; probe++) {
      const row = this.slots[slot] - 1;
      if (row < 0) return -1;
      if (this.keys[row] === key) return 2 * row + role;
      slot = (slot + 1) & this.mask;
    }
    return -1;
  }

  peerOf(binding: number): number {
    return this.keys[binding >>> 1] >>> 16;
  }

  tagOf(binding: number): number {
    return this.keys[binding >>> 1] & TAG_MAX;
  }

  roleOf(binding: number): number {
    return binding & 1;
  }

  /** The session no longer sends for the binding, if it still did. */
  unbind(binding: number, slot: number): void {
    if (this.sendSession[binding] === slot) this.sendSession[binding] = BINDING_NO_SESSION;
  }

  /**
   * The peer has proven that it started again: nothing more goes under sessions of it that were
   * installed before number `order`. It waits until the main thread, asked for a session, has ended
   * those.
   */
  unbindBefore(sessions: SessionTable, peer: number, order: number): void {
    for (let binding = 0; binding < this.count; binding++) {
      const slot = this.sendSession[binding];
      if (slot < 0 || sessions.peer[slot] !== peer || sessions.order[slot] >= order) continue;
      this.sendSession[binding] = BINDING_NO_SESSION;
    }
  }

  /** No binding has a session or waits for one; their numbers stay. */
  forgetSessions(): void {
    this.sendSession.fill(BINDING_NO_SESSION);
    this.waiting.fill(0);
  }
}
