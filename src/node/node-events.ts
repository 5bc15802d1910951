/**
 * Events of a ledger node, as lines of JSON. What a stranger or a lying peer can cause is limited
 * by code, so that nobody fills the disk with complaints about himself: the next line of a code
 * says how many of it were left out.
 */
import type { AbsEvent } from "../observe/event-record.ts";
import { RateLimit } from "../peer/rate-limit.ts";

/** Where events go: a log, or the thread that has one. */
export type NodeLog = { readonly write: (event: AbsEvent) => void };

const RATE = { perSecond: 2, burst: 50 };

export class NodeEvents {
  readonly #limits = new Map<string, RateLimit>();
  readonly #leftOut = new Map<string, number>();

  constructor(
    readonly log: NodeLog,
    readonly nowMs: () => number = () => performance.now(),
  ) {}

  write(event: string, fields: Readonly<Record<string, unknown>>): void {
    this.log.write({ event, ...fields });
  }

  /** Of a code that others can cause as often as they like. `event` is one of a few constants. */
  writeLimited(event: string, detail: string): void {
    const nowMs = this.nowMs();
    const limit = this.#limits.get(event) ?? new RateLimit(RATE, nowMs);
    this.#limits.set(event, limit);
    const leftOut = this.#leftOut.get(event) ?? 0;
    if (limit.take(0, nowMs) > 0) {
      this.#leftOut.set(event, leftOut + 1);
      return;
    }
    limit.take(1, nowMs);
    this.#leftOut.set(event, 0);
    this.log.write({ event, detail, ...(leftOut === 0 ? {} : { left_out: leftOut }) });
  }
}
