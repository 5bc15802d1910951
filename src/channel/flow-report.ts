/**
 * What an agent has decided on flows since its last report, one row for each question: UPDATE
 * flows. docs/manager-channel.md "Flows". For people who look on: nothing is held against anybody
 * by it, as addresses in it may be forged.
 */
import type { JsonObject } from "../chain/canonical-json.ts";
import { JsonFields } from "../chain/json-fields.ts";
import { MANAGER_FLAG, type ManagerFrame } from "../wire/manager-frame.ts";
import { frameOf, NAME_CHARACTERS_MAX, UPDATE } from "./message-reading.ts";

/** Rows of one report. */
export const FLOWS_MAX = 128;
export const COUNT_MAX = 2 ** 32 - 1;
const ADDRESS_CHARACTERS_MAX = 45;
const PORT_MAX = 0xffff;

/** `would-refuse`: refused, were the stage `enforce`. */
export const FLOW_VERDICTS = ["allowed", "refused", "would-refuse"] as const;
export const FLOW_DIRECTIONS = ["in", "out"] as const;

export type FlowRow = {
  readonly direction: (typeof FLOW_DIRECTIONS)[number];
  /** Of the other end. */
  readonly address: string;
  /** Name of the agent there; empty: none is known. */
  readonly peer: string;
  /** Empty: none was proven or recognised. */
  readonly app: string;
  readonly protocol: string;
  /** Of who answers. */
  readonly port: number;
  readonly verdict: (typeof FLOW_VERDICTS)[number];
  readonly rule: string;
  /** Drop reason; empty: it was allowed. */
  readonly reason: string;
  readonly count: number;
};

export function flowsFrame(rows: readonly FlowRow[]): ManagerFrame {
  const flows = rows.slice(0, FLOWS_MAX).map(rowJson);
  return frameOf(MANAGER_FLAG.update, UPDATE.flows, { flows });
}

/** What is empty is left out. */
function rowJson(row: FlowRow): JsonObject {
  return Object.fromEntries(Object.entries(row).filter(([, value]) => value !== ""));
}

export function readFlows(fields: JsonFields): FlowRow[] {
  return fields.list("flows", FLOWS_MAX).map((value, i) => {
    const part = new JsonFields(value, `flows[${i}]`);
    const word = (name: string) => (part.has(name) ? part.text(name, NAME_CHARACTERS_MAX) : "");
    const row: FlowRow = {
      direction: part.oneOf("direction", FLOW_DIRECTIONS),
      address: part.text("address", ADDRESS_CHARACTERS_MAX),
      peer: word("peer"),
      app: word("app"),
      protocol: part.text("protocol", NAME_CHARACTERS_MAX),
      port: part.integer("port", 0, PORT_MAX),
      verdict: part.oneOf("verdict", FLOW_VERDICTS),
      rule: word("rule"),
      reason: word("reason"),
      count: part.integer("count", 1, COUNT_MAX),
    };
    part.end();
    if (part.complaint !== undefined) fields.complaint ??= part.complaint;
    return row;
  });
}
