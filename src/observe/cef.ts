/**
 * A record as a line of the Common Event Format, version 0 (ArcSight's "Implementing Common Event
 * Format"): header of seven fields, then keys of its dictionary with their greatest lengths.
 * docs/events.md "Other formats". Fields without a key of their own are JSON in `cs6`. Pure.
 */
import packageJson from "../../package.json";
import { kindOf, type Severity } from "./event-kinds.ts";
import type { EventRecord } from "./event-record.ts";
import { type EventView, FLOW_FIELDS, viewOf, without } from "./event-view.ts";

/** Of CEF's 0 to 10: 0–3 low, 4–6 medium, 7–8 high, 9–10 very high. */
const LEVELS: Readonly<Record<Severity, number>> = {
  ...{ informational: 1, low: 3, medium: 5, high: 8, critical: 10 },
};
const ACTS = { allowed: "allow", denied: "deny", observed: "observe" } as const;
/** Greatest lengths of the dictionary, in characters. */
const LENGTHS: Readonly<Record<string, number>> = {
  ...{ act: 63, app: 31, cat: 1023, deviceProcessName: 1023, dvchost: 100, externalId: 40 },
  ...{ msg: 1023, outcome: 63, proto: 31, reason: 1023 },
};
const CUSTOM_LENGTH = 4000;

export function cefOf(record: EventRecord): string {
  const view = viewOf(record);
  const { title } = kindOf(record.event);
  const header = ["abs", "abs", packageJson.version, record.event, title, LEVELS[record.severity]];
  const keys = Object.entries(extensionOf(view)).flatMap(([key, value]) => {
    if (value === undefined || value === "") return [];
    const text = String(value).slice(0, LENGTHS[key] ?? CUSTOM_LENGTH);
    return [`${key}=${escapeValue(text.toWellFormed())}`];
  });
  return `CEF:0|${header.map((field) => escapeHeader(String(field))).join("|")}|${keys.join(" ")}`;
}

type Extension = Readonly<Record<string, string | number | undefined>>;

function extensionOf(view: EventView): Extension {
  const { record, fields, verdict } = view;
  const text = (name: string) => (fields[name] === undefined ? undefined : String(fields[name]));
  const used = view.flow === undefined ? [] : FLOW_FIELDS;
  const named = ["reason", "rule", "signature", "peer", "stage", "suppressed"];
  const rest = without(fields, ...used, ...named);
  return {
    rt: view.timeMs,
    externalId: record.id,
    cat: record.class,
    dvchost: record.origin.node,
    deviceProcessName: `abs ${record.origin.role}`,
    act: verdict === undefined ? undefined : ACTS[verdict],
    outcome: verdict === undefined ? undefined : verdict === "denied" ? "failure" : "success",
    reason: text("reason"),
    ...endsOf(view),
    msg: view.message,
    ...custom("cs1", "rule", text("rule")),
    ...custom("cs2", "signature", text("signature")),
    ...custom("cs3", "communityId", record.communityId),
    ...custom("cs4", "peer", text("peer")),
    ...custom("cs5", "stage", text("stage")),
    ...custom("cn1", "suppressed", text("suppressed")),
    ...custom("cs6", "fields", Object.keys(rest).length === 0 ? undefined : JSON.stringify(rest)),
  };
}

function endsOf({ flow, address, fields }: EventView): Extension {
  if (flow === undefined) return addressOf("src", address);
  const { app } = fields;
  return {
    ...addressOf("src", flow.source.ip),
    spt: flow.source.port,
    ...addressOf("dst", flow.destination.ip),
    dpt: flow.destination.port,
    proto: flow.protocolName.toUpperCase(),
    app: typeof app === "string" ? app : undefined,
    deviceDirection: flow.direction === undefined ? undefined : flow.direction === "in" ? 0 : 1,
  };
}

/** IPv6 has keys of its own in version 0. */
function addressOf(key: "src" | "dst", ip: string | undefined): Extension {
  if (ip === undefined || !ip.includes(":")) return { [key]: ip };
  return key === "src"
    ? custom("c6a2", "Source IPv6 Address", ip)
    : custom("c6a3", "Destination IPv6 Address", ip);
}

function custom(key: string, label: string, value: string | undefined): Extension {
  return value === undefined ? {} : { [key]: value, [`${key}Label`]: label };
}

function escapeHeader(text: string): string {
  return text.replace(/[\r\n]+/g, " ").replace(/[\\|]/g, "\\$&");
}

function escapeValue(text: string): string {
  return text.replace(/[\\=]/g, "\\$&").replace(/\r/g, "\\r").replace(/\n/g, "\\n");
}
