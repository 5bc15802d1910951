/**
 * One sink: lanes on disk, and the pump that moves records from them to the transport.
 * docs/events.md "Sinks". Each lane has its own bound, so that none pushes another's out, and gets
 * its turn. At least once: what is not settled when a connection ends is sent again.
 */
import { join } from "node:path";
import { messageOf } from "../../errors.ts";
import type { AbsEvent, EventRecord } from "../event-record.ts";
import { Spool, type SpoolPosition } from "./spool.ts";
import { type Delivery, down, type SinkItem, type Transport } from "./transport.ts";

/** In the order they are served. */
export const LANES = ["security", "refusals", "operation", "flow"] as const;
export type Lane = (typeof LANES)[number];

const RETRY_MS_MIN = 200;
const RETRY_MS_MAX = 5_000;
const IDLE_MS = 60_000;
const REFUSALS = ["refused", "rejected-by-peer", "handshake-refused"];

/** Security events that others cause at will have a lane of their own. */
export function laneOf(record: EventRecord): Lane {
  if (REFUSALS.includes(record.event)) return "refusals";
  return record.class;
}

export type SinkStatus = {
  readonly name: string;
  readonly type: string;
  readonly state: "up" | "down";
  /** Why it is down. */
  readonly reason?: string;
  readonly sent: number;
  /** What the sink will never take. */
  readonly rejected: number;
  /** What no lane had room for. */
  readonly lost: Readonly<Record<Lane, number>>;
  readonly waitingBytes: Readonly<Record<Lane, number>>;
};

export type SinkParts = {
  readonly name: string;
  readonly type: string;
  readonly folder: string;
  /** Bytes that may wait in a lane. */
  readonly laneBytes: number;
  readonly transport: Transport;
  readonly format: (record: EventRecord) => string;
  readonly isWanted: (record: EventRecord) => boolean;
  /** Told when it goes down and when it is up again. */
  readonly tell: (event: AbsEvent) => void;
};

type Sent = { readonly lane: Spool; readonly end: SpoolPosition; readonly at: number };

export class EventSink {
  readonly #lanes = new Map<Lane, Spool>();
  #sent = 0;
  #rejected = 0;
  #state: "up" | "down" = "up";
  #reason = "";
  #retryMs = RETRY_MS_MIN;
  #isClosed = false;
  /** In the order they were sent; settled when the transport's time is over. */
  #unsettled: Sent[] = [];
  #isLost = false;
  #wake: () => void = () => {};
  /** Ends a pause that data does not end. */
  #hurry: () => void = () => {};
  readonly #pump: Promise<void>;

  constructor(readonly parts: SinkParts) {
    const { folder, laneBytes, transport } = parts;
    for (const lane of LANES) {
      this.#lanes.set(lane, new Spool(join(folder, lane), laneBytes, () => this.#wake()));
    }
    transport.onLost = (why) => {
      this.#isLost = true;
      this.#goDown(why);
      this.#wake();
      this.#hurry();
    };
    this.#pump = this.#run();
  }

  /** `line` is the record as JSON. */
  take(record: EventRecord, line: string): void {
    if (this.parts.isWanted(record)) this.#lanes.get(laneOf(record))?.append(line);
  }

  get status(): SinkStatus {
    const of = (value: (spool: Spool) => number) => {
      const entries = [...this.#lanes].map(([lane, spool]) => [lane, value(spool)]);
      return Object.fromEntries(entries) as Record<Lane, number>;
    };
    return {
      ...{ name: this.parts.name, type: this.parts.type, state: this.#state },
      ...(this.#state === "down" ? { reason: this.#reason } : {}),
      ...{ sent: this.#sent, rejected: this.#rejected },
      lost: of(({ lost }) => lost),
      waitingBytes: of(({ sizeBytes }) => sizeBytes),
    };
  }

  /** Gives the sink `graceMs` for what waits; the rest stays on disk for the next start. */
  async close(graceMs: number): Promise<void> {
    for (const spool of this.#lanes.values()) spool.flush();
    const until = performance.now() + graceMs;
    const isUnread = () => [...this.#lanes.values()].some((spool) => spool.hasUnread);
    while (performance.now() < until && this.#state === "up" && isUnread()) await Bun.sleep(10);
    this.#isClosed = true;
    // A connection that ends in order brings what the kernel has.
    if (this.#state === "up" && !this.#isLost) this.#settle(Number.POSITIVE_INFINITY);
    this.#wake();
    this.#hurry();
    this.parts.transport.close();
    await Promise.race([this.#pump, Bun.sleep(graceMs)]);
    for (const spool of this.#lanes.values()) spool.close();
  }

  async #run(): Promise<void> {
    while (!this.#isClosed) {
      this.#settle();
      if (this.#isLost) {
        this.#isLost = false;
        this.#rewind();
        await this.#pause(this.#retryMs);
      }
      let isIdle = true;
      for (const spool of this.#lanes.values()) {
        if (this.#isClosed || this.#isLost) break;
        if (await this.#serve(spool)) isIdle = false;
      }
      if (isIdle && !this.#isLost) await this.#untilData();
    }
  }

  /** One turn of a lane; false: nothing was there. */
  async #serve(spool: Spool): Promise<boolean> {
    const batch = spool.read();
    if (batch === undefined) return false;
    const items = batch.lines.flatMap((line) => this.#item(line));
    const { batchMax } = this.parts.transport;
    for (let i = 0; i < items.length; i += batchMax) {
      const isDone = await this.#deliver(items.slice(i, i + batchMax));
      if (!isDone) {
        this.#rewind();
        return true;
      }
    }
    this.#unsettled.push({ lane: spool, end: batch.end, at: performance.now() });
    this.#settle();
    return true;
  }

  /** False: the connection is lost, or the sink is told to end. */
  async #deliver(items: readonly SinkItem[]): Promise<boolean> {
    while (!this.#isClosed && !this.#isLost) {
      const { kind, why } = { why: "", ...(await this.#send(items)) };
      if (kind === "taken") {
        this.#sent += items.length;
        this.#goUp();
        return true;
      }
      if (kind === "rejected") return await this.#deliverSingly(items);
      this.#goDown(why);
      await this.#pause(this.#retryMs);
      this.#retryMs = Math.min(2 * this.#retryMs, RETRY_MS_MAX);
    }
    return false;
  }

  /** Of a batch that was rejected: the one that is to blame is left out, and counted. */
  async #deliverSingly(items: readonly SinkItem[]): Promise<boolean> {
    if (items.length <= 1) {
      this.#rejected += items.length;
      return true;
    }
    const half = items.length >>> 1;
    return (await this.#deliver(items.slice(0, half))) && (await this.#deliver(items.slice(half)));
  }

  async #send(items: readonly SinkItem[]): Promise<Delivery> {
    try {
      return await this.parts.transport.send(items);
    } catch (thrown) {
      return down(messageOf(thrown));
    }
  }

  /** Nothing for a line that a crash or a bad disk has torn. */
  #item(line: string): SinkItem[] {
    try {
      const record = JSON.parse(line) as EventRecord;
      return [{ record, text: this.parts.format(record) }];
    } catch {
      this.#rejected++;
      return [];
    }
  }

  #settle(now = performance.now()): void {
    const { settleMs } = this.parts.transport;
    const done = new Map<Spool, SpoolPosition>();
    while (this.#unsettled.length > 0 && !this.#isLost) {
      const [first] = this.#unsettled;
      if (first === undefined || now - first.at < settleMs) break;
      this.#unsettled.shift();
      done.set(first.lane, first.end);
    }
    for (const [spool, end] of done) spool.settle(end);
  }

  #rewind(): void {
    this.#unsettled = [];
    for (const spool of this.#lanes.values()) spool.rewind();
  }

  #goDown(why: string): void {
    this.#reason = why;
    if (this.#state === "down" || this.#isClosed) return;
    this.#state = "down";
    this.parts.tell({ event: "sink-lost", sink: this.parts.name, reason: why });
  }

  #goUp(): void {
    this.#retryMs = RETRY_MS_MIN;
    if (this.#state === "up") return;
    this.#state = "up";
    this.parts.tell({ event: "sink-connected", sink: this.parts.name });
  }

  /** Until a lane has data, the connection ends, or there may be something to settle. */
  #untilData(): Promise<void> {
    const { settleMs } = this.parts.transport;
    const ms = this.#unsettled.length > 0 ? Math.max(10, settleMs / 10) : IDLE_MS;
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#hurry = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
