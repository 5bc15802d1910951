/**
 * What kind of thing each event is: its class, which chooses the queue it waits in and the sinks
 * that get it, and its severity. docs/events.md "Every event has". One table for agent, ledger node
 * and manager. A name that is not listed counts as security, so that it is never the first to go.
 */

/**
 * `flow`: a decision on traffic that policy makes all day. `security`: somebody did what he may
 * not, or protection itself changed. `operation`: the machinery.
 */
export const EVENT_CLASSES = ["flow", "security", "operation"] as const;
export type EventClass = (typeof EVENT_CLASSES)[number];

/** In the order of OCSF's severity_id, from 1. */
export const SEVERITIES = ["informational", "low", "medium", "high", "critical"] as const;
export type Severity = (typeof SEVERITIES)[number];

export type EventKind = {
  readonly class: EventClass;
  readonly severity: Severity;
  /** What happened, for people: the message of syslog, CEF, ECS and OCSF. */
  readonly title: string;
};

function table(
  eventClass: EventClass,
  severity: Severity,
  titles: Readonly<Record<string, string>>,
): [string, EventKind][] {
  return Object.entries(titles).map(([event, title]) => [
    event,
    { class: eventClass, severity, title },
  ]);
}

export const EVENT_KINDS: ReadonlyMap<string, EventKind> = new Map([
  ...table("flow", "informational", {
    "flow-allowed": "Flow allowed",
    "session-established": "Session established",
    "session-closed": "Session closed",
  }),
  ...table("security", "medium", {
    "switch-lost": "Switch lost",
    refused: "Traffic refused",
    "rejected-by-peer": "Flow rejected by its peer",
    "handshake-refused": "Handshake refused",
    "enrolment-refused": "Enrolment refused",
    "connection-refused": "Connection refused",
    "connections-refused": "Connections refused",
    "agent-unknown": "Node without an agent",
    "peer-refused": "Ledger peer refused",
    "ledger-refused": "Ledger message refused",
    "events-lost": "Events lost",
    "events-dropped": "Events dropped by a sink",
    "capture-began": "Capture of packets began",
    "capture-over": "Capture of packets over",
    "keylog-refused": "Log of session keys refused",
    "generation-unheard": "Clones of this VM cannot be heard of",
    "signature-unused": "Signature not used",
  }),
  ...table("security", "high", {
    "peer-cut-off": "Peer cut off",
    "peer-revoked": "Peer revoked",
    "agent-revoked": "Agent revoked",
    "quarantine-began": "VM in quarantine",
    "switch-refuses": "Switch refuses quarantine rules",
    "manager-shut-out": "Agent shut out by its manager",
    "contract-secret-wrong": "Contract secret does not fit",
    "interface-change-refused": "Interface change refused",
    "keylog-began": "Capture with a log of session keys began",
    "keylog-over": "Capture with a log of session keys over",
    "vm-resumed": "VM resumed or cloned",
    "update-refused": "Update refused",
    "manager-update-refused": "Manager's update refused",
    "agent-refuses-update": "Agent refuses update",
    "ledger-evidence": "Evidence against a ledger node",
    "ledger-peer-differs": "Ledger peer differs",
  }),
  ...table("security", "critical", {
    "ledger-conflict": "Ledger in conflict",
    "ledger-damage": "Ledger damaged on disk",
    "ledger-own-root-differs": "Own ledger state differs",
    "peer-twice": "Two live nodes with one id",
    "agent-failed": "Agent failed to start",
  }),
  ...table("security", "informational", {
    "agent-ready": "Agent ready",
    "agent-stopped": "Agent stopped",
    "agent-enrolled": "Agent enrolled",
    "agent-session-key-alone": "Agent's old session key forgotten",
    "agent-key-renewed": "Agent's keys and certificate renewed",
    "host-key-rotated": "Manager's host key rotated",
    "manager-host-key-renewed": "Manager met under another host key",
    "ledger-key-renewed": "Own ledger and VRF keys and certificate renewed",
    "session-key-renewed": "Own session key renewed",
    "ssh-key-renewed": "Own SSH key and certificate renewed",
    "quarantine-over": "Quarantine over",
    "update-enforced": "Update enforced",
    "manager-update-enforced": "Manager's update enforced",
    "signature-disabled": "Signature disabled",
    "signature-decommission": "Signature decommissioned",
  }),
  ...table("operation", "informational", {
    "peer-restarted": "Peer restarted",
    "contract-active": "Contract active",
    "contract-inactive": "Contract inactive",
    "contract-issued": "Contract issued",
    "contract-regenerated": "Contract regenerated",
    "contract-expired": "Contract expired",
    "manager-connected": "Manager connected",
    "neighbours-discovered": "Neighbours discovered",
    "agent-connected": "Agent connected",
    "agent-disconnected": "Agent disconnected",
    "manager-started": "Manager started",
    "api-started": "API started",
    "metrics-started": "Metrics started",
    "switch-connected": "Switch connected",
    "sink-connected": "Sink connected",
    "peer-connected": "Ledger peer connected",
    "ledger-ready": "Ledger node ready",
    "ledger-block": "Ledger block",
    "ledger-resumed": "Ledger node resumed",
    "ledger-observing": "Ledger node observes",
    "ledger-voting-again": "Ledger node votes again",
    "ledger-repaired": "Ledger repaired",
    "ledger-new-term": "New term of the ledger",
    "ledger-seen-again": "Ledger node seen again",
  }),
  ...table("operation", "low", {
    warning: "Warning",
    "handshake-failed": "Handshake failed",
    "session-failed": "Session failed",
    "peer-silent": "Peer silent",
    "contract-unused": "Contract not used",
    "contract-secret-missing": "Contract secret missing",
    "contracts-not-kept": "Contracts not kept",
    "manager-lost": "Manager lost",
    "sink-lost": "Sink lost",
    "events-skipped": "Events missed by a reader",
    "api-not-listening": "API not listening",
    "peer-lost": "Ledger peer lost",
    "ledger-link-down": "Ledger link down",
    "ledger-behind": "Ledger node behind",
    "ledger-unseen": "Ledger node unseen",
    "ledger-keys-absent": "Ledger keys absent",
    "ledger-forced-redraw": "Committee drawn again",
  }),
  ...table("operation", "medium", {
    "api-failed": "API failed",
    "ledger-node-failed": "Ledger node failed",
    "ledger-stopped": "Ledger stopped",
    "ledger-paused": "Ledger node paused",
    "ledger-no-quorum": "Ledger without quorum",
  }),
]);

export function kindOf(event: string): EventKind {
  return EVENT_KINDS.get(event) ?? { class: "security", severity: "low", title: event };
}
