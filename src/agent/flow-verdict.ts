/** What an event of plane-events.ts says was decided, for those who count decisions. */
import type { FLOW_VERDICTS } from "../channel/flow-report.ts";
import type { AbsEvent } from "../observe/event-record.ts";

export type FlowVerdict = (typeof FLOW_VERDICTS)[number];

export function verdictOf(event: AbsEvent): FlowVerdict {
  if (event.event === "flow-allowed") return "allowed";
  return event["enforced"] === false ? "would-refuse" : "refused";
}

/** It and those that were left out of the log because of it. */
export function decisionsOf({ suppressed }: AbsEvent): number {
  return 1 + (typeof suppressed === "number" ? suppressed : 0);
}
