/**
 * A record as a document of the Elastic Common Schema. docs/events.md "Other formats". What ECS has
 * no field for is under `abs`. Pure.
 */
import packageJson from "../../package.json";
import { SEVERITIES } from "./event-kinds.ts";
import type { EventRecord } from "./event-record.ts";
import { type EventView, FLOW_FIELDS, viewOf, without } from "./event-view.ts";

export const ECS_VERSION = "9.4.0";

export type EcsDocument = Readonly<Record<string, unknown>>;

export function ecsOf(record: EventRecord): EcsDocument {
  const view = viewOf(record);
  const { flow, fields, address } = view;
  const app = fields["app"];
  const rest = without(fields, ...(flow === undefined ? [] : FLOW_FIELDS), "rule");
  return {
    "@timestamp": record.time,
    ecs: { version: ECS_VERSION },
    message: view.message,
    event: eventOf(view),
    observer: {
      ...{ vendor: "abs", product: "abs", type: record.origin.role },
      version: packageJson.version,
      ...(record.origin.node === undefined ? {} : { name: record.origin.node }),
    },
    ...(flow === undefined
      ? {}
      : {
          source: { address: flow.source.ip, ...flow.source },
          destination: { address: flow.destination.ip, ...flow.destination },
          related: { ip: [flow.source.ip, flow.destination.ip] },
          network: {
            type: `ipv${flow.ipVersion}`,
            iana_number: String(flow.protocol),
            transport: flow.protocolName,
            ...(record.communityId === undefined ? {} : { community_id: record.communityId }),
            ...(flow.direction === undefined
              ? {}
              : { direction: flow.direction === "in" ? "ingress" : "egress" }),
            ...(typeof app === "string" ? { application: app.toLowerCase() } : {}),
          },
        }),
    ...(address === undefined
      ? {}
      : { source: { address, ip: address }, related: { ip: [address] } }),
    ...(typeof fields["rule"] === "string" ? { rule: { id: fields["rule"] } } : {}),
    abs: { ...rest, schema: record.schema, class: record.class, severity: record.severity },
  };
}

function eventOf({ record, verdict, flow, number, fields }: EventView) {
  const isAlert = record.class === "security" && record.severity !== "informational";
  return {
    kind: isAlert ? "alert" : "event",
    ...categoryOf(record, verdict, flow !== undefined),
    action: record.event,
    id: record.id,
    sequence: number,
    module: "abs",
    dataset: `abs.${record.class}`,
    severity: SEVERITIES.indexOf(record.severity) + 1,
    ...(verdict === undefined ? {} : { outcome: verdict === "denied" ? "failure" : "success" }),
    ...(fields["reason"] === undefined ? {} : { reason: String(fields["reason"]) }),
  };
}

function categoryOf(
  { class: of, event }: EventRecord,
  verdict: EventView["verdict"],
  isFlow: boolean,
) {
  if (event === "session-established") return { category: ["session"], type: ["start"] };
  if (event === "session-closed") return { category: ["session"], type: ["end"] };
  if (of === "operation") return { category: ["host"], type: ["info"] };
  const type = verdict === undefined || verdict === "observed" ? "info" : verdict;
  if (isFlow && of === "flow") return { category: ["network"], type: ["connection", type] };
  if (isFlow) return { category: ["network", "intrusion_detection"], type: [type] };
  return { category: ["intrusion_detection"], type: [type] };
}
