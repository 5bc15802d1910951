/**
 * The manager's events as they happen (docs/api.md "Events"), read with `fetch`: that says why a
 * stream cannot be opened, and where to go on after an interruption, which is shown.
 */
import { findSession, session } from "./api.ts";
import { Store } from "./store.ts";

const KEPT_MAX = 500;
const PAUSE_MS_MAX = 15_000;
/** The manager writes every 10 s at least. */
const SILENCE_MS_MAX = 30_000;

export type LiveEvent = Readonly<Record<string, unknown>> & {
  readonly event: string;
  readonly time?: string;
  readonly id?: string;
};
export type LiveState = "connecting" | "live" | "interrupted";

export const liveState = new Store<LiveState>("connecting");
/** Newest first. */
export const liveEvents = new Store<readonly LiveEvent[]>([]);

let lastId = "";

/** Reads until it is stopped. */
export function followEvents(): () => void {
  const abort = new AbortController();
  void follow(abort.signal);
  return () => {
    abort.abort();
    lastId = "";
    liveEvents.set([]);
    liveState.set("connecting");
  };
}

async function follow(stopped: AbortSignal): Promise<void> {
  for (let failures = 0; !stopped.aborted; failures++) {
    try {
      await readStream(stopped, () => {
        failures = 0;
      });
    } catch {
      // Told below; what is missed comes with the next connection.
    }
    if (stopped.aborted) return;
    liveState.set("interrupted");
    await new Promise((wake) => setTimeout(wake, Math.min(PAUSE_MS_MAX, 500 * 2 ** failures)));
    if (!stopped.aborted) await stillIn();
  }
}

/** A manager that is away has not ended the session: the page stays, and says that it waits. */
async function stillIn(): Promise<void> {
  const before = session.get();
  await findSession();
  const now = session.get();
  if (now.state !== "out") return;
  if (now.reason === "") {
    session.set({ state: "out", reason: "Your session is over. Sign in again." });
  } else session.set(before);
}

async function readStream(stopped: AbortSignal, opened: () => void): Promise<void> {
  const silent = new AbortController();
  const headers = lastId === "" ? {} : { "Last-Event-ID": lastId };
  const signal = AbortSignal.any([stopped, silent.signal]);
  const response = await fetch(`/api/v1/events?recent=${KEPT_MAX}`, { headers, signal });
  if (!response.ok || response.body === null) throw new Error("refused");
  liveState.set("live");
  opened();
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  for (;;) {
    const silence = setTimeout(() => silent.abort(), SILENCE_MS_MAX);
    const { value, done } = await reader.read().finally(() => clearTimeout(silence));
    if (done) return;
    const blocks = `${waiting}${value}`.split("\n\n");
    waiting = blocks.pop() ?? "";
    keep(blocks.flatMap(eventOf));
  }
}

function eventOf(block: string): LiveEvent[] {
  const fields = new Map(block.split("\n").map((line) => split(line)));
  const id = fields.get("id");
  if (id !== undefined) lastId = id;
  const data = fields.get("data");
  return data === undefined ? [] : [JSON.parse(data) as LiveEvent];
}

function split(line: string): [string, string] {
  const at = line.indexOf(": ");
  return [line.slice(0, at), line.slice(at + 2)];
}

function keep(events: readonly LiveEvent[]): void {
  if (events.length === 0) return;
  const known = new Set(liveEvents.get().map(({ id }) => id));
  const fresh = events.filter(({ id }) => id === undefined || !known.has(id)).reverse();
  liveEvents.set([...fresh, ...liveEvents.get()].slice(0, KEPT_MAX));
}
