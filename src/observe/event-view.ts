/**
 * What the mappings to ECS, OCSF and CEF have in common: a record taken apart into the things that
 * all three have a place for, and the rest. docs/events.md "Other formats". Pure.
 */
import { protocolNumber, protocolWord } from "../store/network-values.ts";
import { parseAddress } from "../wire/ip-text.ts";
import { kindOf } from "./event-kinds.ts";
import type { EventRecord } from "./event-record.ts";

/** `observed`: it would have been refused, but the stage lets it through. */
export type Verdict = "allowed" | "denied" | "observed";

export interface EventEnd {
  readonly ip: string;
  /** Of protocols that have ports. */
  readonly port?: number;
}

export interface EventFlow {
  readonly source: EventEnd;
  readonly destination: EventEnd;
  readonly ipVersion: 4 | 6;
  /** Of IANA, 0 to 255. */
  readonly protocol: number;
  /** In IANA's words; the number where we have none. */
  readonly protocolName: string;
  readonly direction?: "in" | "out";
}

export interface EventView {
  readonly record: EventRecord;
  /** What happened and why, in words. */
  readonly message: string;
  readonly timeMs: number;
  /** Of the record's id: counts up in a run. */
  readonly number: number;
  readonly verdict?: Verdict;
  readonly flow?: EventFlow;
  /** Who did it, where there is an address but no flow. */
  readonly address?: string;
  /** Fields of the event itself, all of them. */
  readonly fields: Readonly<Record<string, unknown>>;
}

/** Refusals by name; `refused` itself may have been let through. */
const DENIALS = [
  "rejected-by-peer",
  "handshake-refused",
  "enrolment-refused",
  "connection-refused",
  "connections-refused",
  "peer-refused",
];
const STAMPED = ["time", "event", "schema", "id", "class", "severity", "origin", "communityId"];
const REASONS = ["reason", "message", "detail", "why"];
const PROTOCOLS_WITH_PORTS = [6, 17, 33, 132];

export function viewOf(record: EventRecord): EventView {
  const own = Object.entries(record).filter(([name]) => !STAMPED.includes(name));
  const fields = Object.fromEntries(own);
  const verdict = verdictOf(record);
  const flow = flowOf(record);
  const address = parseAddress(String(record["address"] ?? "")) && String(record["address"]);
  return {
    record,
    message: messageOf(record, flow),
    timeMs: Date.parse(record.time),
    number: Number(record.id.split("-")[1]),
    ...(verdict === undefined ? {} : { verdict }),
    ...(flow === undefined ? {} : { flow }),
    ...(address === undefined || flow !== undefined ? {} : { address }),
    fields,
  };
}

function verdictOf({ event, enforced }: EventRecord & { enforced?: unknown }): Verdict | undefined {
  if (event === "flow-allowed") return "allowed";
  if (event === "refused") return enforced === false ? "observed" : "denied";
  return DENIALS.includes(event) ? "denied" : undefined;
}

function flowOf(record: EventRecord): EventFlow | undefined {
  const { source, destination, sourcePort, destinationPort, protocol, direction } = record as {
    [field: string]: unknown;
  };
  if (typeof source !== "string" || typeof destination !== "string") return undefined;
  const version = parseAddress(source)?.version;
  const number = protocolNumber(String(protocol));
  if (version === undefined || parseAddress(destination)?.version !== version) return undefined;
  if (number === undefined) return undefined;
  const end = (ip: string, port: unknown): EventEnd => {
    return PROTOCOLS_WITH_PORTS.includes(number) && typeof port === "number"
      ? { ip, port }
      : { ip };
  };
  return {
    source: end(source, sourcePort),
    destination: end(destination, destinationPort),
    ipVersion: version,
    protocol: number,
    protocolName: protocolWord(number),
    ...(direction === "in" || direction === "out" ? { direction } : {}),
  };
}

function messageOf(record: EventRecord, flow: EventFlow | undefined): string {
  const { title } = kindOf(record.event);
  const reason = REASONS.map((name) => record[name]).find((value) => value !== undefined);
  const why = reason === undefined ? "" : `: ${String(reason)}`;
  if (flow === undefined) return `${title}${why}`;
  const place = ({ ip, port }: EventEnd) => (port === undefined ? ip : `${ip} port ${port}`);
  return `${title}${why}, ${flow.protocolName} ${place(flow.source)} to ${place(flow.destination)}`;
}

/** `fields` without those named. */
export function without(
  fields: Readonly<Record<string, unknown>>,
  ...names: readonly string[]
): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([name]) => !names.includes(name)));
}

/** Those that a flow is made of. */
export const FLOW_FIELDS = [
  "source",
  "sourcePort",
  "destination",
  "destinationPort",
  "protocol",
  "direction",
];
