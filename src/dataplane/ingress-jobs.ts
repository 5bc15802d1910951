/**
 * DATA packets of a burst that passed all checks before the proof: one entry each, in order, as
 * columns that abs_open_burst() reads. Those that pass what comes after move to the front.
 * Hot path.
 */
import { BURST_MAX } from "./send-queue.ts";
import { addressOf, fixedU8, fixedU32 } from "./shim.ts";

export class IngressJobs {
  count = 0;
  /** Index into the burst. */
  readonly packet = fixedU32(BURST_MAX);
  readonly slot = fixedU32(BURST_MAX);
  readonly pair = fixedU32(BURST_MAX);
  readonly lane = fixedU32(BURST_MAX);
  readonly counter = new Float64Array(BURST_MAX);
  readonly hash = new Int32Array(BURST_MAX);
  /** 1 when ingress-plain.ts admitted it, and after restoring, when it restored it. */
  readonly plain = new Uint8Array(BURST_MAX);
  /** Of plain ones, once restored: the flow's ports and protocol as in its record. */
  readonly ports = new Int32Array(BURST_MAX);
  readonly protocol = new Int32Array(BURST_MAX);
  // What the proof is computed from.
  readonly key = fixedU32(BURST_MAX);
  readonly header = fixedU32(BURST_MAX);
  readonly text = fixedU32(BURST_MAX);
  readonly confidential = fixedU32(BURST_MAX);
  readonly pseudoBytes = fixedU8(16 * BURST_MAX);
  readonly pseudo = new DataView(this.pseudoBytes.buffer);
  readonly valid = fixedU8(BURST_MAX);
  readonly keyPointer = addressOf(this.key);
  readonly headerPointer = addressOf(this.header);
  readonly textPointer = addressOf(this.text);
  readonly confidentialPointer = addressOf(this.confidential);
  readonly pseudoPointer = addressOf(this.pseudoBytes);
  readonly validPointer = addressOf(this.valid);

  /** Moves an entry to the front, over those that were dropped. */
  keep(from: number, to: number): void {
    if (from === to) return;
    this.packet[to] = this.packet[from];
    this.slot[to] = this.slot[from];
    this.pair[to] = this.pair[from];
    this.hash[to] = this.hash[from];
    this.plain[to] = this.plain[from];
  }
}
