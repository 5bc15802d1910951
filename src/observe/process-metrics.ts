/** Metrics that agent and manager share: process, event log, sinks. docs/metrics.md. */
import packageJson from "../../package.json";
import type { EventLog } from "./event-log.ts";
import type { MetricFamily, MetricSample } from "./metrics.ts";
import type { SinkStatus } from "./sinks/event-sink.ts";

export function processMetrics(role: string, events: EventLog): MetricFamily[] {
  const { user, system } = process.cpuUsage();
  const one = (value: number, labels: Record<string, string> = {}) => [{ value, labels }];
  const started = Date.now() / 1000 - process.uptime();
  return [
    {
      ...{ name: "abs_build_info", type: "info", help: "Version and role of this process." },
      samples: one(1, { version: packageJson.version, role }),
    },
    {
      ...{ name: "process_cpu_seconds_total", type: "counter" },
      ...{ help: "Processor time used, all threads.", samples: one((user + system) / 1e6) },
    },
    {
      ...{ name: "process_resident_memory_bytes", type: "gauge" },
      ...{ help: "Resident memory.", samples: one(process.memoryUsage.rss()) },
    },
    {
      ...{ name: "process_start_time_seconds", type: "gauge" },
      ...{ help: "When it began, since the epoch.", samples: one(Math.round(started)) },
    },
    {
      ...{ name: "abs_events_written_total", type: "counter" },
      ...{ help: "Lines of the event log.", samples: one(events.written) },
    },
    {
      ...{ name: "abs_events_lost_total", type: "counter" },
      ...{ help: "Lines that the event log had no room for.", samples: one(events.lost) },
    },
  ];
}

export function sinkMetrics(sinks: readonly SinkStatus[]): MetricFamily[] {
  if (sinks.length === 0) return [];
  const each = (value: (sink: SinkStatus) => number): MetricSample[] => {
    return sinks.map((sink) => ({
      labels: { sink: sink.name, type: sink.type },
      value: value(sink),
    }));
  };
  const lanes = (value: (sink: SinkStatus) => Readonly<Record<string, number>>) => {
    return sinks.flatMap((sink) =>
      Object.entries(value(sink)).map(([lane, count]) => ({
        ...{ labels: { sink: sink.name, lane }, value: count },
      })),
    );
  };
  return [
    {
      ...{ name: "abs_sink_up", type: "gauge", help: "Whether the sink takes events." },
      samples: each(({ state }) => (state === "up" ? 1 : 0)),
    },
    {
      ...{ name: "abs_sink_sent_total", type: "counter", help: "Records sent, repeats included." },
      samples: each(({ sent }) => sent),
    },
    {
      ...{ name: "abs_sink_rejected_total", type: "counter" },
      ...{ help: "Records that the sink will never take.", samples: each((one) => one.rejected) },
    },
    {
      ...{ name: "abs_sink_lost_total", type: "counter" },
      ...{ help: "Records that a lane had no room for.", samples: lanes(({ lost }) => lost) },
    },
    {
      ...{ name: "abs_sink_waiting_bytes", type: "gauge" },
      ...{ help: "Records on disk that wait.", samples: lanes((sink) => sink.waitingBytes) },
    },
  ];
}
