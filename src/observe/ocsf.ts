/**
 * A record as an event of the Open Cybersecurity Schema Framework: network activity for what has a
 * 5-tuple, tunnel activity for sessions, a detection finding for other security events, and a base
 * event for the machinery. docs/events.md "Other formats". What OCSF has no attribute for is in
 * `unmapped`. Pure.
 */
import packageJson from "../../package.json";
import { kindOf, SEVERITIES } from "./event-kinds.ts";
import type { EventRecord } from "./event-record.ts";
import { type EventView, FLOW_FIELDS, type Verdict, viewOf, without } from "./event-view.ts";

export const OCSF_VERSION = "1.9.0-dev";

export type OcsfEvent = Readonly<Record<string, unknown>>;

type OcsfClass = { readonly uid: number; readonly name: string; readonly category: number };

const BASE: OcsfClass = { uid: 0, name: "Base Event", category: 0 };
const NETWORK: OcsfClass = { uid: 4001, name: "Network Activity", category: 4 };
const TUNNEL: OcsfClass = { uid: 4014, name: "Tunnel Activity", category: 4 };
const FINDING: OcsfClass = { uid: 2004, name: "Detection Finding", category: 2 };
const CATEGORIES = new Map([
  [0, "Uncategorized"],
  [2, "Findings"],
  [4, "Network Activity"],
]);
const OTHER = 99;

/** action_id and disposition_id with their captions. */
const CONTROLS: Readonly<Record<Verdict, object>> = {
  allowed: { action_id: 1, action: "Allowed", disposition_id: 1, disposition: "Allowed" },
  denied: { action_id: 2, action: "Denied", disposition_id: 2, disposition: "Blocked" },
  observed: { action_id: 3, action: "Observed", disposition_id: 15, disposition: "Detected" },
};

export function ocsfOf(record: EventRecord): OcsfEvent {
  const view = viewOf(record);
  if (view.flow !== undefined) return networkOf(view, view.flow);
  if (record.event === "session-established") return tunnelOf(view, 1, "Open");
  if (record.event === "session-closed") return tunnelOf(view, 2, "Close");
  const isFinding = record.class === "security" && record.severity !== "informational";
  return isFinding ? findingOf(view) : eventOf(view, BASE, OTHER, record.event, view.fields);
}

function networkOf(view: EventView, flow: NonNullable<EventView["flow"]>): OcsfEvent {
  const { record, verdict, fields } = view;
  const [activity, name] =
    verdict === "allowed" ? [1, "Open"] : verdict === undefined ? [6, "Traffic"] : [5, "Refuse"];
  const { app, rule } = fields;
  const rest = without(fields, ...FLOW_FIELDS, "app", "rule");
  const { direction } = flow;
  return {
    ...eventOf(view, NETWORK, activity as number, name as string, rest),
    src_endpoint: flow.source,
    dst_endpoint: flow.destination,
    connection_info: {
      direction_id: direction === undefined ? 0 : direction === "in" ? 1 : 2,
      protocol_num: flow.protocol,
      protocol_name: flow.protocolName,
      protocol_ver_id: flow.ipVersion,
      ...(record.communityId === undefined ? {} : { community_uid: record.communityId }),
    },
    ...(typeof app === "string" ? { app_name: app } : {}),
    ...(typeof rule === "string" ? { firewall_rule: { uid: rule } } : {}),
  };
}

function tunnelOf(view: EventView, activity: number, name: string): OcsfEvent {
  const { node = "unknown" } = view.record.origin;
  const { peer, initiator } = view.fields;
  const ends = [{ name: node }, { name: String(peer ?? "unknown") }];
  const [source, destination] = initiator === false ? ends.reverse() : ends;
  const rest = without(view.fields, "peer");
  return {
    ...eventOf(view, TUNNEL, activity, name, rest),
    ...{ src_endpoint: source, dst_endpoint: destination, protocol_name: "ABS" },
  };
}

function findingOf(view: EventView): OcsfEvent {
  const { record, timeMs, message, address, fields } = view;
  const { title } = kindOf(record.event);
  return {
    ...eventOf(view, FINDING, 1, "Create", fields),
    finding_info: {
      uid: record.id,
      title,
      desc: message,
      created_time: timeMs,
      types: [record.event],
    },
    ...(address === undefined ? {} : { evidences: [{ src_endpoint: { ip: address } }] }),
  };
}

/** What every class has. */
function eventOf(
  view: EventView,
  of: OcsfClass,
  activity: number,
  activityName: string,
  unmapped: Readonly<Record<string, unknown>>,
): OcsfEvent {
  const { record, verdict } = view;
  const { role, node } = record.origin;
  return {
    category_uid: of.category,
    category_name: CATEGORIES.get(of.category),
    class_uid: of.uid,
    class_name: of.name,
    activity_id: activity,
    activity_name: activityName,
    type_uid: 100 * of.uid + activity,
    type_name: `${of.name}: ${activity === OTHER ? "Other" : activityName}`,
    severity_id: SEVERITIES.indexOf(record.severity) + 1,
    severity: record.severity.replace(/^./, (first) => first.toUpperCase()),
    time: view.timeMs,
    message: view.message,
    ...(verdict === undefined ? {} : CONTROLS[verdict]),
    metadata: {
      version: OCSF_VERSION,
      uid: record.id,
      event_code: record.event,
      sequence: view.number,
      log_name: record.class,
      log_version: String(record.schema),
      product: {
        ...{ name: "abs", vendor_name: "abs", version: packageJson.version },
        feature: { name: role, ...(node === undefined ? {} : { uid: node }) },
      },
      ...(verdict === undefined ? {} : { profiles: ["security_control"] }),
    },
    unmapped,
  };
}
