/**
 * Flows as agents report them, for people who look on: `flows list`, the console. docs/manager.md
 * "Flows". In memory, since the manager started; bounded a tenant, the longest unseen go first.
 * Everything here is the word of one agent.
 */
import { createHash } from "node:crypto";
import type { FlowRow } from "../channel/flow-report.ts";
import type { EpochSeconds } from "../units.ts";
import type { MappedNode } from "./mapping-service.ts";

const FLOWS_A_TENANT_MAX = 10_000;
const REPORTS_PER_SECOND_MAX = 4;
const ID_CHARACTERS = 16;

export type ReportedFlow = FlowRow & {
  /** Of agent and question: the same flow has the same again. */
  readonly id: string;
  /** Who reports it. */
  readonly agent: string;
  readonly first: EpochSeconds;
  readonly last: EpochSeconds;
};

type Pace = { second: number; reports: number };

export class ReportedFlows {
  /** By tenant, then id; the longest unseen is at the front. */
  readonly #tenants = new Map<string, Map<string, ReportedFlow>>();
  /** By channel: an agent reports once a second. */
  readonly #paces = new WeakMap<object, Pace>();

  /** @param channel of the agent: reports come too fast on one are not read */
  take(node: MappedNode, rows: readonly FlowRow[], now: EpochSeconds, channel: object): void {
    if (this.#isTooFast(channel, now)) return;
    const flows = this.#tenants.get(node.tenant) ?? new Map<string, ReportedFlow>();
    this.#tenants.set(node.tenant, flows);
    for (const row of rows) {
      const id = idOf(node.name, row);
      const known = flows.get(id);
      // Deleted first: the order of a Map is that of insertion.
      flows.delete(id);
      const count = row.count + (known?.count ?? 0);
      flows.set(id, {
        ...{ ...row, id, agent: node.name, count },
        ...{ first: known?.first ?? now, last: now },
      });
    }
    for (const oldest of flows.keys()) {
      if (flows.size <= FLOWS_A_TENANT_MAX) break;
      flows.delete(oldest);
    }
  }

  /** Newest first. */
  list(tenant: string): ReportedFlow[] {
    return [...(this.#tenants.get(tenant)?.values() ?? [])].reverse();
  }

  #isTooFast(channel: object, second: EpochSeconds): boolean {
    const pace = this.#paces.get(channel) ?? { second, reports: 0 };
    this.#paces.set(channel, pace);
    if (pace.second !== second) Object.assign(pace, { second, reports: 0 });
    return ++pace.reports > REPORTS_PER_SECOND_MAX;
  }
}

function idOf(agent: string, { count: _, ...question }: FlowRow): string {
  const text = JSON.stringify([agent, ...Object.values(question)]);
  return createHash("sha256").update(text).digest("hex").slice(0, ID_CHARACTERS);
}
