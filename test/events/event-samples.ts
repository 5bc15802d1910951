/**
 * One record of every kind of event, with the fields it has in docs/events.md where it is about
 * traffic, and what others may have: for schema and mappings.
 */
import { EVENT_KINDS } from "../../src/observe/event-kinds.ts";
import { type AbsEvent, type EventRecord, EventStamp } from "../../src/observe/event-record.ts";

const WALL = new Date("2026-11-23T16:24:10.113Z");

const ENDS = {
  ...{ direction: "in", source: "10.77.0.11", sourcePort: 43290, destination: "10.77.0.12" },
  ...{ destinationPort: 6379, protocol: "tcp" },
};

const DECISION = {
  ...{ ...ENDS, peer: "db", app: "app1", rule: "app1-in", signature: "app1", stage: "enforce" },
  ...{ generation: 3, bytes: "2a310d0a", payloadBytes: 4 },
};

const FIELDS: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  "flow-allowed": DECISION,
  refused: {
    ...{ ...DECISION, reason: "no-signature", enforced: false, suppressed: 12 },
    nearest: { signature: "app1", why: "payload byte 2 is 0x58, against APP1" },
  },
  "rejected-by-peer": { ...ENDS, direction: "out", reason: 101, peer: "db" },
  "handshake-refused": { ...ENDS, sourcePort: 0, destinationPort: 0, reason: "replayed" },
  "session-established": { peer: "db", app: "(tenant)", slot: 3, initiator: true },
  "session-closed": { peer: "db", app: "app1", slot: 3, initiator: false, reason: "idle" },
  "connection-refused": { address: "192.0.2.7", why: "unknown key", user: "root" },
  "enrolment-refused": { address: "2001:db8::7", code: "TOKEN_USED", reason: "The token is used." },
  "agent-enrolled": { tenant: "blue", name: "web", node: "a1b2", address: "192.0.2.8" },
  "update-refused": { code: "POLICY", message: 'line 3: "a|b=c\\d"\nis no rule' },
  "update-enforced": { state: "enforced", changes: { rules: { added: 1 } }, generation: 4 },
  "ledger-block": { height: 12, hash: "00ff", contracts: 1, records: 2, attempt: 0, view: 0 },
  "agent-ready": { node: "web", mode: "full", stage: "enforce", peers: 2, mtu: 1400, pid: 77 },
};

/** What somebody hostile may get into fields: separators of every format, control characters. */
const HOSTILE: readonly AbsEvent[] = [
  { event: "warning", message: '\u0000]"\\|=\r\n\u2028<script> CEF:0|x|y' },
  { event: "refused", ...DECISION, app: "a=b|c\\d\n", rule: "]\"'", peer: "é\u{1f600}" },
  { event: "refused", reason: "arp-spoofed", direction: "in", stage: "warn", payloadBytes: 0 },
  { event: "refused", ...DECISION, source: "fd00::1", destination: "fd00::2", protocol: "icmpv6" },
  { event: "refused", ...DECISION, protocol: "200", sourcePort: 0, destinationPort: 0 },
  { event: "update-refused", message: "x".repeat(100_000) },
  { event: "connection-refused", address: "not an address", why: "" },
];

/** A record of each kind. */
export function eventSamples(): EventRecord[] {
  const stamp = new EventStamp({ role: "agent", node: "web" });
  const events = [...EVENT_KINDS.keys()].map((event) => ({ event, ...FIELDS[event] }));
  return events.map((event) => stamp.record(event, WALL));
}

export function hostileSamples(): EventRecord[] {
  const stamp = new EventStamp({ role: "manager" });
  return HOSTILE.map((event) => stamp.record(event, WALL));
}
