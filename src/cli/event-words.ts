/** Event records as a line for people, and as lines of other formats. docs/events.md. */
import { cefOf } from "../observe/cef.ts";
import { ecsOf } from "../observe/ecs.ts";
import type { EventRecord } from "../observe/event-record.ts";
import { type EventEnd, viewOf } from "../observe/event-view.ts";
import { ocsfOf } from "../observe/ocsf.ts";
import { formatEnd } from "../wire/ip-text.ts";
import { optionError } from "./options.ts";

const NAMED = ["peer", "app", "rule", "reason", "node", "code", "message", "detail", "why"];
const TEXT_CHARACTERS_MAX = 200;

const FORMATS: Readonly<Record<string, (record: EventRecord) => string>> = {
  text: eventText,
  json: (record) => JSON.stringify(record),
  ecs: (record) => JSON.stringify(ecsOf(record)),
  ocsf: (record) => JSON.stringify(ocsfOf(record)),
  cef: cefOf,
};

export const eventOutputArgument = {
  type: "string",
  default: "text",
  description: "text, or a line each of json, ecs, ocsf or cef",
} as const;

/** @throws AbsError OPTION_INVALID */
export function eventFormat(output: string): (record: EventRecord) => string {
  const format = FORMATS[output];
  if (format !== undefined) return format;
  throw optionError(`--output ${output} is not known.`, "Use text, json, ecs, ocsf or cef.");
}

/** UNIX milliseconds of `10m`, `2h`, `3d` ago, or of a time. @throws AbsError OPTION_INVALID */
export function sinceOf(text: string, nowMs: number): number {
  const ago = /^(\d{1,9})([smhd])$/.exec(text);
  const unit = { s: 1, m: 60, h: 3600, d: 86_400 }[ago?.[2] ?? ""];
  if (unit !== undefined) return nowMs - 1000 * unit * Number(ago?.[1]);
  const time = /^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(text) : Number.NaN;
  if (!Number.isNaN(time)) return time;
  throw optionError(`--since ${text} is no time.`, "Write 10m, 2h, 3d, or 2026-01-31T12:00:00Z.");
}

function eventText(record: EventRecord): string {
  const { flow, verdict, fields } = viewOf(record);
  const place = ({ ip, port }: EventEnd) => (port === undefined ? ip : formatEnd(ip, port));
  const ends =
    flow === undefined
      ? []
      : [`${flow.protocolName} ${place(flow.source)} → ${place(flow.destination)}`];
  const direction = flow?.direction === undefined ? [] : [flow.direction];
  const named = NAMED.flatMap((name) => {
    const value = fields[name];
    return value === undefined ? [] : [`${name} ${String(value).slice(0, TEXT_CHARACTERS_MAX)}`];
  });
  const shown = verdict === "observed" ? [`${record.event} (let through)`] : [record.event];
  const words = [
    record.time,
    record.severity.padEnd(13),
    ...shown,
    ...direction,
    ...ends,
    ...named,
  ];
  // Others can choose some of these words: nothing of them reaches the terminal's controls.
  return words.join("  ").replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, "?");
}
