/**
 * Where events go besides the event log, and where metrics are served, as `abs agent run` and `abs
 * manager serve` are told.
 */
import type { EventLog } from "../observe/event-log.ts";
import { MetricsServer } from "../observe/metrics-server.ts";
import { EventSinks } from "../observe/sinks/event-sinks.ts";
import { readSinks } from "../observe/sinks/sink-plan.ts";
import { placeOf } from "./options.ts";

export const sinksArgument = {
  type: "string",
  description: "YAML of where events go besides: files, syslog, webhooks, NATS (docs/events.md)",
} as const;

/** @throws AbsError of the file */
export function openSinks(file: string | undefined, events: EventLog): EventSinks | undefined {
  return file === undefined ? undefined : new EventSinks(readSinks(file), events);
}

export const metricsArgument = {
  type: "string",
  description: "PORT of 127.0.0.1, or HOST:PORT: metrics, /healthz and /readyz (docs/metrics.md)",
} as const;

/** @throws AbsError OPTION_INVALID, METRICS_NOT_LISTENING */
export function openMetrics(text: string | undefined, events: EventLog): MetricsServer | undefined {
  if (text === undefined) return undefined;
  const place = placeOf("--metrics", /^\d+$/.test(text) ? `127.0.0.1:${text}` : text);
  return new MetricsServer(place, events);
}
