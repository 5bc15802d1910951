/** The manager's metrics: agents, connections, ledgers. docs/metrics.md. */
import type { MetricFamily } from "../observe/metrics.ts";
import { processMetrics, sinkMetrics } from "../observe/process-metrics.ts";
import type { EventSinks } from "../observe/sinks/event-sinks.ts";
import type { ManagerProcess } from "./manager-process.ts";

export function managerMetrics(
  manager: ManagerProcess,
  sinks: EventSinks | undefined,
): MetricFamily[] {
  const { strangers, loggedIn } = manager.connections;
  const tenants = manager.state.tenants.list();
  const heights = tenants.flatMap(({ name }) => {
    const { height } = manager.ledgerStatus(name);
    return typeof height === "number" ? [{ labels: { tenant: name }, value: height }] : [];
  });
  return [
    ...processMetrics("manager", manager.options.events),
    {
      ...{ name: "abs_manager_connections", type: "gauge", help: "SSH connections." },
      samples: [
        { labels: { state: "logged-in" }, value: loggedIn },
        { labels: { state: "stranger" }, value: strangers },
      ],
    },
    {
      ...{ name: "abs_manager_tenants", type: "gauge", help: "Tenants." },
      samples: [{ value: tenants.length }],
    },
    {
      ...{ name: "abs_ledger_height", type: "gauge", help: "Blocks of a tenant's ledger." },
      samples: heights,
    },
    ...sinkMetrics(sinks?.status ?? []),
  ];
}
