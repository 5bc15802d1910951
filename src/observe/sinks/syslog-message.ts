/**
 * Syslog messages (RFC 5424 §6): header, structured data with IANA's `meta` and `origin`, and the
 * record in the sink's format as MSG. Framed by octet counting (RFC 6587 §3.4.1, RFC 5425 §4.3) on
 * streams. Pure.
 */
import packageJson from "../../../package.json";
import type { Severity } from "../event-kinds.ts";
import type { EventRecord } from "../event-record.ts";

/** RFC 5424 §6.2.1, those that a program of its own may use. */
export const FACILITIES = new Map([
  ["user", 1],
  ["daemon", 3],
  ["auth", 4],
  ["authpriv", 10],
  ["audit", 13],
  ...[0, 1, 2, 3, 4, 5, 6, 7].map((i) => [`local${i}`, 16 + i] as const),
]);

const LEVELS: Readonly<Record<Severity, number>> = {
  ...{ informational: 6, low: 5, medium: 4, high: 3, critical: 2 },
};
/** `sequenceId` begins again after it (§7.3.1). */
const SEQUENCE_MAX = 2_147_483_647;
const HOST_CHARACTERS_MAX = 255;
const EVENT_CHARACTERS_MAX = 32;

export type SyslogSource = {
  readonly host: string;
  readonly processId: number;
  readonly facility: number;
};

export function syslogMessage(record: EventRecord, text: string, source: SyslogSource): string {
  const priority = 8 * source.facility + LEVELS[record.severity];
  const host = printable(source.host, HOST_CHARACTERS_MAX);
  const event = printable(record.event, EVENT_CHARACTERS_MAX);
  const number = Number(record.id.split("-")[1]);
  const sequence = ((number - 1) % SEQUENCE_MAX) + 1;
  const origin = `[origin software="abs" swVersion="${packageJson.version}"]`;
  const data = `[meta sequenceId="${sequence}"]${origin}`;
  return `<${priority}>1 ${record.time} ${host} abs ${source.processId} ${event} ${data} ${text}`;
}

/** PRINTUSASCII, or the nil value. */
function printable(text: string, charactersMax: number): string {
  return text.replace(/[^\x21-\x7e]/g, "").slice(0, charactersMax) || "-";
}

/** Octet counting. */
export function framed(message: string): Buffer {
  const bytes = Buffer.from(message);
  return Buffer.concat([Buffer.from(`${bytes.length} `), bytes]);
}
