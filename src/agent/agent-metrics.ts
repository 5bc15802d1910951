/** The agent's metrics: what its data plane counts, sessions, ports. docs/metrics.md. */
import type { PortStats } from "../dataplane/shim.ts";
import type { MetricFamily, MetricSample } from "../observe/metrics.ts";
import { processMetrics, sinkMetrics } from "../observe/process-metrics.ts";
import type { Agent } from "./agent.ts";

/** Of what the worker counts, those that go down too. */
const GAUGES: Readonly<Record<string, { readonly name: string; readonly help: string }>> = {
  flows: { name: "abs_flows", help: "Flows in the table." },
  "held-packets": { name: "abs_held_packets", help: "Packets that wait for a session." },
};

const PORTS = ["inside", "outside"] as const;
/** Names of the counters of a port, with what they count. */
const PORT_COUNTERS: readonly (readonly [string, string, keyof PortStats])[] = [
  ["abs_port_received_packets_total", "Packets a port received.", "receivedPackets"],
  ["abs_port_sent_packets_total", "Packets a port sent.", "sentPackets"],
  ["abs_port_received_bytes_total", "Bytes a port received.", "receivedBytes"],
  ["abs_port_sent_bytes_total", "Bytes a port sent.", "sentBytes"],
  ["abs_port_missed_packets_total", "Packets a port had no room for.", "missed"],
];

export function agentMetrics(agent: Agent): MetricFamily[] {
  const { worker, driver, shim, ports, options, updates } = agent;
  const all = [...worker.counters.read()];
  const isDrop = (name: string) => /^(in|out):/.test(name);
  const drops = all.flatMap(([name, value]): MetricSample[] => {
    const [direction = "", reason = ""] = name.split(":");
    return isDrop(name) ? [{ labels: { direction, reason }, value }] : [];
  });
  const counts = all.flatMap(([kind, value]): MetricSample[] => {
    return isDrop(kind) || kind in GAUGES ? [] : [{ labels: { kind }, value }];
  });
  const one = (value: number) => [{ value }];
  const stats = PORTS.map((port) => {
    return [
      port,
      shim.portStats(port === "inside" ? ports.insidePort : ports.outsidePort),
    ] as const;
  });
  const levels = all.flatMap(([kind, value]): MetricFamily[] => {
    const gauge = GAUGES[kind];
    return gauge === undefined ? [] : [{ ...gauge, type: "gauge", samples: one(value) }];
  });
  return [
    ...processMetrics("agent", options.events),
    {
      ...{ name: "abs_dropped_packets_total", type: "counter" },
      ...{ help: "Packets dropped, by reason (docs/events.md).", samples: drops },
    },
    {
      ...{ name: "abs_worker_counts_total", type: "counter" },
      ...{ help: "What the data plane counts, by name of `abs agent status`.", samples: counts },
    },
    ...levels,
    {
      ...{ name: "abs_sessions", type: "gauge", help: "Sessions whose keys are installed." },
      samples: one(driver.installed.size),
    },
    {
      ...{ name: "abs_pool_available_packets", type: "gauge", help: "Free packet buffers." },
      samples: one(shim.symbols.abs_pool_available()),
    },
    {
      ...{ name: "abs_policy_generation", type: "gauge", help: "Updates since the start." },
      samples: one(updates.running.generation),
    },
    ...PORT_COUNTERS.map(
      ([name, help, key]): MetricFamily => ({
        ...{ name, type: "counter", help },
        samples: stats.map(([port, of]) => ({ labels: { port }, value: of[key] })),
      }),
    ),
    ...sinkMetrics(options.sinks?.status ?? []),
  ];
}
