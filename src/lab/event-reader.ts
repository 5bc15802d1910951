/**
 * Reads the events an agent writes (newline-delimited JSON, src/observe/event-log.ts) while it is
 * still writing: each call takes what has been appended since.
 */
import { closeSync, openSync, readSync } from "node:fs";
import { canonical } from "./frames.ts";

/** One event; fields beyond the named ones depend on `event`. */
export interface AgentEvent {
  readonly time: string;
  readonly event: string;
  readonly reason?: string;
  readonly source?: string;
  readonly sourcePort?: number;
  readonly destination?: string;
  readonly destinationPort?: number;
  readonly protocol?: number | string;
  readonly rule?: string;
  readonly app?: string;
  readonly bytes?: string;
  readonly [field: string]: unknown;
}

/** What to look for; a field that is not given matches anything. */
export interface FlowPattern {
  readonly source?: string;
  readonly sourcePort?: number;
  readonly destination?: string;
  readonly destinationPort?: number;
  readonly reasons?: readonly string[];
}

export class EventReader {
  readonly #file: string;
  #offset = 0;
  #rest = "";
  readonly #events: AgentEvent[] = [];

  constructor(file: string) {
    this.#file = file;
  }

  /** Every event so far, oldest first. */
  all(): readonly AgentEvent[] {
    this.#read();
    return this.#events;
  }

  /** Events from number `from` on, as counted by `all().length` earlier. */
  since(from: number): readonly AgentEvent[] {
    return this.all().slice(from);
  }

  #read(): void {
    let descriptor: number;
    try {
      descriptor = openSync(this.#file, "r");
    } catch {
      return; // The agent has not begun to write.
    }
    const chunk = new Uint8Array(1 << 16);
    for (;;) {
      const length = readSync(descriptor, chunk, 0, chunk.length, this.#offset);
      if (length === 0) break;
      this.#offset += length;
      // Events are ASCII: addresses, names and hex.
      this.#rest += Buffer.from(chunk.subarray(0, length)).toString("latin1");
    }
    closeSync(descriptor);
    const lines = this.#rest.split("\n");
    this.#rest = lines.pop() ?? "";
    for (const line of lines) this.#keep(line);
  }

  #keep(line: string): void {
    if (!line.startsWith("{")) return; // A warning between the events.
    try {
      this.#events.push(JSON.parse(line));
    } catch {
      this.#events.push({ time: "", event: "unreadable", line });
    }
  }
}

/** Whether an event names the flow, in the direction given or as the reply to it. */
export function namesFlow(event: AgentEvent, pattern: FlowPattern): boolean {
  if (event.reason === undefined) return false;
  if (pattern.reasons !== undefined && !pattern.reasons.includes(event.reason)) return false;
  const { source, destination, sourcePort, destinationPort } = pattern;
  return (
    sameAddress(event.source, source) &&
    sameAddress(event.destination, destination) &&
    (sourcePort === undefined || event.sourcePort === sourcePort) &&
    (destinationPort === undefined || event.destinationPort === destinationPort)
  );
}

function sameAddress(seen: string | undefined, wanted: string | undefined): boolean {
  return wanted === undefined || (seen !== undefined && canonical(seen) === canonical(wanted));
}

/** An event in a few words, for people. */
export function eventWords(event: AgentEvent): string {
  const from = `${event.source ?? "?"}:${event.sourcePort ?? 0}`;
  const to = `${event.destination ?? "?"}:${event.destinationPort ?? 0}`;
  const rule = event.rule === undefined ? "" : ` by rule ${event.rule}`;
  return `${event.event} ${event.reason ?? ""}${rule}, ${from} → ${to} protocol ${event.protocol}`;
}
