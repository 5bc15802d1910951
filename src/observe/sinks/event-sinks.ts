/**
 * All sinks of a process: every record of its event log goes through the flood gate once and to
 * each sink that wants its class. docs/events.md "Sinks". Nothing here waits for a sink, and what
 * waits for one is on disk and bounded, so a sink that hangs, rejects or fills costs the process
 * nothing.
 */
import { hostname } from "node:os";
import { join } from "node:path";
import { cefOf } from "../cef.ts";
import { ecsOf } from "../ecs.ts";
import type { EventLog } from "../event-log.ts";
import type { EventRecord } from "../event-record.ts";
import { ocsfOf } from "../ocsf.ts";
import { EventSink, LANES, type SinkStatus } from "./event-sink.ts";
import { FileTransport } from "./file-transport.ts";
import { FloodGate } from "./flood-gate.ts";
import { NatsTransport } from "./nats-transport.ts";
import type { EventFormat, SinkPlan, SinksPlan } from "./sink-plan.ts";
import { SyslogDatagrams, SyslogStream } from "./syslog-transport.ts";
import type { Transport } from "./transport.ts";
import { WebhookTransport } from "./webhook-transport.ts";

const TURN_MS = 1_000;
const CLOSE_MS = 1_000;
/** Longer lines are shortened, as syslog servers take 8 KiB by default. */
const LINE_CHARACTERS_MAX = 6_000;
const TEXT_CHARACTERS_MAX = 500;

const FORMATTERS: Readonly<Record<EventFormat, (record: EventRecord) => string>> = {
  abs: (record) => JSON.stringify(record),
  ecs: (record) => JSON.stringify(ecsOf(record)),
  ocsf: (record) => JSON.stringify(ocsfOf(record)),
  cef: cefOf,
};

export class EventSinks {
  readonly #sinks: readonly EventSink[];
  readonly #gate = new FloodGate((record) => this.#pass(record));
  readonly #leave: () => void;
  readonly #timer: Timer;
  /** Lost records that an event has told of, by sink and lane. */
  readonly #told = new Map<string, number>();

  constructor(
    plan: SinksPlan,
    private readonly events: EventLog,
  ) {
    this.#sinks = plan.sinks.map((sink) => {
      return new EventSink({
        ...{ name: sink.name, type: sink.way.type, folder: join(plan.spool, sink.name) },
        ...{ laneBytes: plan.laneBytes, transport: transportOf(sink) },
        format: FORMATTERS[sink.format],
        isWanted: (record) => sink.classes.includes(record.class),
        tell: (event) => events.write(event),
      });
    });
    this.#leave = events.listen((record) => this.#gate.take(record, performance.now()));
    this.#timer = setInterval(() => this.#turn(), TURN_MS);
  }

  get status(): SinkStatus[] {
    return this.#sinks.map(({ status }) => status);
  }

  /** What waits gets a second; the rest is sent after the next start. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#gate.end(performance.now());
    this.#leave();
    await Promise.all(this.#sinks.map((sink) => sink.close(CLOSE_MS)));
  }

  #pass(record: EventRecord): void {
    const line = lineOf(record);
    for (const sink of this.#sinks) sink.take(record, line);
  }

  #turn(): void {
    this.#gate.turn(performance.now());
    for (const { name, lost, waitingBytes } of this.status) {
      for (const lane of LANES) {
        const told = this.#told.get(`${name} ${lane}`) ?? 0;
        // Not while the lane is full: the event would be the next that is lost.
        if (lost[lane] === told || waitingBytes[lane] > 0) continue;
        this.#told.set(`${name} ${lane}`, lost[lane]);
        this.events.write({ event: "events-dropped", sink: name, lane, count: lost[lane] - told });
      }
    }
  }
}

function transportOf({ way, format }: SinkPlan): Transport {
  switch (way.type) {
    case "file":
      return new FileTransport(way);
    case "webhook": {
      const mediaType = format === "cef" ? "text/plain" : "application/x-ndjson";
      return new WebhookTransport({ ...way, mediaType });
    }
    case "nats":
      return new NatsTransport(way);
    case "syslog": {
      const source = { host: hostname(), processId: process.pid, facility: way.facility };
      if (way.over === "udp") return new SyslogDatagrams(way, source);
      return new SyslogStream(way, source, way.over === "tls");
    }
  }
}

function lineOf(record: EventRecord): string {
  const line = JSON.stringify(record);
  if (line.length <= LINE_CHARACTERS_MAX) return line;
  const short = Object.entries(record).map(([key, value]) => {
    const text = typeof value === "string" ? value : JSON.stringify(value);
    return [
      key,
      text.length > TEXT_CHARACTERS_MAX ? `${text.slice(0, TEXT_CHARACTERS_MAX)}…` : value,
    ];
  });
  const cut = JSON.stringify({ ...Object.fromEntries(short), shortened: true });
  if (cut.length <= LINE_CHARACTERS_MAX) return cut;
  const { time, event, schema, id, class: of, severity, origin } = record;
  return JSON.stringify({ time, event, schema, id, class: of, severity, origin, shortened: true });
}
