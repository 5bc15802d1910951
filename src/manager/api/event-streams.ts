/**
 * The manager's events as server-sent events. docs/api.md "Events". Each reader gets what happens
 * from now on, or since the event it names in Last-Event-ID as far as that is remembered. A slow
 * reader is not waited for: of what is more than EVENTS_PER_SECOND_MAX it is told the count, and
 * its connection ends when it has taken nothing for SLOW_SECONDS: what waits for it is bounded.
 */
import { toHex } from "../../bytes.ts";
import { kernelRandom } from "../../native/kernel-random.ts";
import type { AbsEvent } from "../../observe/event-record.ts";
import { ApiProblem } from "./problems.ts";

const EVENTS_PER_SECOND_MAX = 100;
const REMEMBERED_MAX = 1000;
const STREAMS_MAX = 32;
const HEARTBEAT_MS = 10_000;
/** The server ends what stands still for so long; a heartbeat keeps a live one from it. */
export const SLOW_SECONDS = 30;

type Line = { readonly number: number; readonly text: string };

type Stream = {
  readonly controller: ReadableStreamDefaultController<Uint8Array>;
  /** Whoever reads it may still do so. */
  readonly isAllowed: () => boolean;
  secondAt: number;
  sentInSecond: number;
  skipped: number;
};

export class EventStreams {
  readonly #streams = new Set<Stream>();
  readonly #remembered: Line[] = [];
  /** Numbers of another run mean nothing. */
  readonly #run = toHex(kernelRandom(4));
  readonly #encoder = new TextEncoder();
  readonly #heartbeat = setInterval(() => this.recheck(), HEARTBEAT_MS);
  #number = 0;

  /** @throws ApiProblem OVERLOADED */
  open(request: Request, isAllowed: () => boolean): Response {
    if (this.#streams.size >= STREAMS_MAX) {
      const what = `${STREAMS_MAX} event streams are open.`;
      throw new ApiProblem("OVERLOADED", what, "Close one.", { "Retry-After": "30" });
    }
    const since = this.#since(request);
    let stream: Stream | undefined;
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        const fresh = { controller, isAllowed, secondAt: 0, sentInSecond: 0, skipped: 0 };
        stream = fresh;
        this.#streams.add(fresh);
        this.#put(fresh, "retry: 3000\n\n");
        for (const { text } of since) this.#put(fresh, text);
      },
      cancel: () => {
        if (stream !== undefined) this.#streams.delete(stream);
      },
    });
    const headers = { "Content-Type": "text/event-stream", "Cache-Control": "no-store" };
    return new Response(body, { headers });
  }

  publish(event: AbsEvent): void {
    const number = ++this.#number;
    const data = JSON.stringify(event);
    const text = `id: ${this.#run}.${number}\nevent: ${event.event}\ndata: ${data}\n\n`;
    this.#remembered.push({ number, text });
    if (this.#remembered.length > REMEMBERED_MAX) this.#remembered.shift();
    const second = Math.floor(performance.now() / 1000);
    for (const stream of this.#streams) this.#send(stream, text, second);
  }

  /** Ends what nobody may read any more, and keeps the others alive. */
  recheck(): void {
    for (const stream of this.#streams) {
      if (stream.isAllowed()) this.#put(stream, ": still here\n\n");
      else this.#end(stream);
    }
  }

  close(): void {
    clearInterval(this.#heartbeat);
    for (const stream of this.#streams) this.#end(stream);
  }

  #send(stream: Stream, text: string, second: number): void {
    if (stream.secondAt !== second) {
      const { skipped } = stream;
      Object.assign(stream, { secondAt: second, sentInSecond: 0, skipped: 0 });
      const data = JSON.stringify({ event: "events-skipped", count: skipped });
      if (skipped > 0) this.#put(stream, `event: events-skipped\ndata: ${data}\n\n`);
    }
    if (stream.sentInSecond++ < EVENTS_PER_SECOND_MAX) this.#put(stream, text);
    else stream.skipped++;
  }

  #put(stream: Stream, text: string): void {
    try {
      stream.controller.enqueue(this.#encoder.encode(text));
    } catch {
      this.#streams.delete(stream); // the reader is gone
    }
  }

  #end(stream: Stream): void {
    this.#streams.delete(stream);
    try {
      stream.controller.close();
    } catch {
      // The reader was quicker.
    }
  }

  /** @throws ApiProblem REQUEST_WRONG */
  #since(request: Request): readonly Line[] {
    const recent = recentOf(request);
    const [run, number] = (request.headers.get("last-event-id") ?? "").split(".");
    if (run !== this.#run) return recent === 0 ? [] : this.#remembered.slice(-recent);
    return this.#remembered.filter((line) => line.number > Number(number));
  }
}

/** How many of the last a new reader wants. */
function recentOf(request: Request): number {
  const asked = new URL(request.url).searchParams.get("recent") ?? "0";
  if (/^\d{1,4}$/.test(asked) && Number(asked) <= REMEMBERED_MAX) return Number(asked);
  const what = "recent is no number of events.";
  throw new ApiProblem("REQUEST_WRONG", what, `Give 0 to ${REMEMBERED_MAX}.`);
}
