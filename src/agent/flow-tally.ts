/**
 * Decisions on flows, counted by question, for the manager's people: docs/manager-channel.md
 * "Flows". At most FLOWS_MAX different ones between two reports; of more the agent's own event log
 * has all (docs/events.md). What is not told within a minute is forgotten.
 */
import { COUNT_MAX, FLOWS_MAX, type FlowRow } from "../channel/flow-report.ts";
import type { AbsEvent } from "../observe/event-record.ts";
import { appOf } from "../policy/observed-flows.ts";
import { decisionsOf, verdictOf } from "./flow-verdict.ts";

const KEPT_MS = 60_000;

type Kept = { row: FlowRow; readonly sinceMs: number };

export class FlowTally {
  readonly #rows = new Map<string, Kept>();

  /** An event of plane-events.ts; one that is about no flow is skipped. */
  note(event: AbsEvent, nowMs = performance.now()): void {
    const row = rowOf(event);
    if (row === undefined) return;
    const { count, ...question } = row;
    const key = JSON.stringify(Object.values(question));
    const known = this.#rows.get(key);
    if (known !== undefined) {
      const sum = Math.min(COUNT_MAX, known.row.count + count);
      known.row = { ...known.row, count: sum };
    } else if (this.#rows.size < FLOWS_MAX) this.#rows.set(key, { row, sinceMs: nowMs });
  }

  /** Hands over what is new; it stays where `tell` answers false. */
  flush(tell: (rows: readonly FlowRow[]) => boolean, nowMs = performance.now()): void {
    for (const [key, { sinceMs }] of this.#rows) {
      if (nowMs - sinceMs > KEPT_MS) this.#rows.delete(key);
    }
    if (this.#rows.size === 0) return;
    if (tell([...this.#rows.values()].map(({ row }) => row))) this.#rows.clear();
  }
}

function rowOf(event: AbsEvent): FlowRow | undefined {
  const { direction, source, destination, destinationPort } = event;
  const isIp = typeof source === "string" && typeof destination === "string";
  if (!isIp || (direction !== "in" && direction !== "out")) return undefined;
  return {
    direction,
    address: direction === "in" ? source : destination,
    ...{ peer: word(event["peer"]), app: word(appOf(event)), rule: word(event["rule"]) },
    protocol: String(event["protocol"]),
    port: Number(destinationPort),
    verdict: verdictOf(event),
    reason: word(event["reason"]),
    count: Math.min(COUNT_MAX, decisionsOf(event)),
  };
}

function word(value: unknown): string {
  return typeof value === "string" ? value : "";
}
