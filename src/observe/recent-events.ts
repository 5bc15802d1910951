/**
 * The last records of an event log, for whoever asks a running process: docs/events.md "Looking at
 * events". Decisions on traffic have a memory of their own, so that they do not push the others
 * out. A reader that follows and does not keep up is told how many it missed; what waits for it is
 * bounded.
 */
import type { EventLog } from "./event-log.ts";
import type { EventRecord } from "./event-record.ts";

const REMEMBERED_MAX = 5_000;
const WAITING_MAX = 1_000;
const READERS_MAX = 16;
/** Of one record in memory; longer ones are in the event log alone. */
const LINE_CHARACTERS_MAX = 8_192;
/** A reader that is gone is noticed by this. */
const HEARTBEAT_MS = 10_000;

type Kept = { readonly order: number; readonly timeMs: number; readonly line: string };

type Reader = {
  readonly waiting: string[];
  skipped: number;
  /** Ends the wait of a reader that has nothing. */
  wake: () => void;
};

export class RecentEvents {
  readonly #traffic: Kept[] = [];
  readonly #others: Kept[] = [];
  readonly #readers = new Set<Reader>();
  readonly #leave: () => void;
  #order = 0;

  constructor(events: EventLog) {
    this.#leave = events.listen((record) => this.#keep(record));
  }

  /** Lines since `sinceMs` (UNIX time), oldest first; and, following, all that come from now on. */
  answer(sinceMs: number, isFollowing: boolean): Response {
    const headers = { "Content-Type": "application/x-ndjson" };
    const kept = [...this.#traffic, ...this.#others]
      .filter(({ timeMs }) => timeMs >= sinceMs)
      .sort((left, right) => left.order - right.order)
      .map(({ line }) => line);
    if (!isFollowing) return new Response(kept.join(""), { headers });
    if (this.#readers.size >= READERS_MAX) {
      return Response.json({ error: `${READERS_MAX} readers follow already` }, { status: 503 });
    }
    return new Response(this.#follow(kept.join("")), { headers });
  }

  close(): void {
    this.#leave();
    for (const reader of this.#readers) reader.wake();
    this.#readers.clear();
  }

  #keep(record: EventRecord): void {
    const line = `${JSON.stringify(record)}\n`;
    if (line.length > LINE_CHARACTERS_MAX) return;
    const isTraffic = record.class === "flow" || record.event === "refused";
    const kept = isTraffic ? this.#traffic : this.#others;
    kept.push({ order: ++this.#order, timeMs: Date.parse(record.time), line });
    // In pieces: one at a time would move all the others each time.
    if (kept.length > REMEMBERED_MAX + 500) kept.splice(0, 500);
    for (const reader of this.#readers) {
      if (reader.waiting.length >= WAITING_MAX) reader.skipped++;
      else reader.waiting.push(line);
      reader.wake();
    }
  }

  #follow(first: string): ReadableStream<Uint8Array> {
    const reader: Reader = { waiting: [first], skipped: 0, wake: () => {} };
    this.#readers.add(reader);
    const encoder = new TextEncoder();
    return new ReadableStream({
      pull: async (controller) => {
        if (reader.waiting.length === 0) await untilWoken(reader);
        if (!this.#readers.has(reader)) return controller.close();
        const { skipped } = reader;
        if (skipped > 0) {
          reader.skipped = 0;
          const event = { event: "events-skipped", count: skipped };
          reader.waiting.push(`${JSON.stringify(event)}\n`);
        }
        // An empty line keeps the connection, and tells when it is gone.
        controller.enqueue(encoder.encode(reader.waiting.splice(0).join("") || "\n"));
      },
      cancel: () => {
        this.#readers.delete(reader);
        reader.wake();
      },
    });
  }
}

function untilWoken(reader: Reader): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, HEARTBEAT_MS);
    reader.wake = () => {
      clearTimeout(timer);
      resolve();
    };
  });
}
