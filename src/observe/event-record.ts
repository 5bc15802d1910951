/**
 * The event record, version 1: docs/events.md "Every event has", docs/schemas/event.schema.json.
 * What a part tells becomes a record here, once, with time, id, class, severity and origin, and
 * the Community ID of its 5-tuple; log, streams and sinks all get this one.
 */
import { toHex } from "../bytes.ts";
import { kernelRandom } from "../native/kernel-random.ts";
import { communityId } from "./community-id.ts";
import { type EventClass, kindOf, type Severity } from "./event-kinds.ts";

export const EVENT_SCHEMA_VERSION = 1;
const RUN_BYTES = 6;

/** What a part tells; field names are those of docs/events.md. */
export interface AbsEvent {
  readonly event: string;
  readonly [field: string]: unknown;
}

/** Who tells it. `node` is the id that peers and manager know it by, where it has one. */
export type EventOrigin = {
  readonly role: "agent" | "manager" | "validator" | "master";
  readonly node?: string;
};

export interface EventRecord extends AbsEvent {
  /** UTC, ISO 8601, milliseconds. */
  readonly time: string;
  readonly schema: typeof EVENT_SCHEMA_VERSION;
  /** `RUN-NUMBER`: numbers count up from 1 within a run, so a gap is a loss. */
  readonly id: string;
  readonly class: EventClass;
  readonly severity: Severity;
  readonly origin: EventOrigin;
  readonly communityId?: string;
}

export class EventStamp {
  readonly #run = toHex(kernelRandom(RUN_BYTES));
  #number = 0;

  constructor(readonly origin: EventOrigin) {}

  /** The record of `event`; time and name come first. Fields of its own cannot hide the stamp's. */
  record({ event, ...fields }: AbsEvent, wall: Date): EventRecord {
    const { class: eventClass, severity } = kindOf(event);
    const flow = flowIdOf(fields);
    return {
      time: wall.toISOString(),
      event,
      ...fields,
      schema: EVENT_SCHEMA_VERSION,
      id: `${this.#run}-${++this.#number}`,
      class: eventClass,
      severity,
      origin: this.origin,
      ...(flow === undefined ? {} : { communityId: flow }),
    };
  }
}

function flowIdOf(fields: Readonly<Record<string, unknown>>): string | undefined {
  const { source, sourcePort, destination, destinationPort, protocol } = fields;
  if (typeof source !== "string" || typeof destination !== "string") return undefined;
  if (typeof sourcePort !== "number" || typeof destinationPort !== "number") return undefined;
  return communityId({
    ...{ source, sourcePort, destination, destinationPort },
    protocol: String(protocol),
  });
}
