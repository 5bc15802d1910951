/**
 * Aggregation of what others can cause as often as they like: decisions on traffic and refused
 * handshakes. docs/events.md "Sinks". The first few alike pass as they are, within a budget; of the
 * others, one record at the end of the window says how many it stands for (`repeated`). When there
 * are more kinds alike than are kept, records that share event and reason become one, without
 * addresses. Bounded by its constants, whatever comes.
 */
import type { EventRecord } from "../event-record.ts";

const WINDOW_MS = 10_000;
const ALIKE_MAX = 10;
const PASSED_PER_WINDOW_MAX = 2_000;
const KEYS_MAX = 2_000;

const BY_OTHERS = ["refused", "rejected-by-peer", "handshake-refused"];
/** What two records have in common to be alike: all but source port, bytes and time. */
const ALIKE = ["direction", "reason", "source", "destination", "destinationPort", "protocol"];
const ALSO = ["peer", "app", "rule", "enforced"];
const SHARED = ["direction", "reason", "enforced"];

type Alike = { passed: number; repeated: number; suppressed: number; last: EventRecord };

export class FloodGate {
  readonly #alike = new Map<string, Alike>();
  readonly #shared = new Map<string, Alike>();
  #passed = 0;
  #endsAt = 0;

  constructor(private readonly pass: (record: EventRecord) => void) {}

  take(record: EventRecord, nowMs: number): void {
    this.turn(nowMs);
    if (record.class !== "flow" && !BY_OTHERS.includes(record.event)) {
      this.pass(record);
      return;
    }
    const key = keyOf(record, [...ALIKE, ...ALSO]);
    const known = this.#alike.get(key);
    const isNew = known === undefined && this.#alike.size < KEYS_MAX;
    const found = known ?? (isNew ? this.#add(this.#alike, key, record) : undefined);
    if (found !== undefined && found.passed < ALIKE_MAX && this.#passed < PASSED_PER_WINDOW_MAX) {
      found.passed++;
      this.#passed++;
      this.pass(record);
      return;
    }
    const shared = keyOf(record, SHARED);
    count(found ?? this.#shared.get(shared) ?? this.#add(this.#shared, shared, record), record);
  }

  /** Ends the window when its time has come. */
  turn(nowMs: number): void {
    if (nowMs >= this.#endsAt) this.end(nowMs);
  }

  /** Ends the window: what was held back is told. */
  end(nowMs: number): void {
    for (const alike of this.#alike.values()) {
      if (alike.repeated > 0) this.pass(summary(alike, alike.last));
    }
    for (const alike of this.#shared.values()) {
      const { source, sourcePort, destination, destinationPort, ...rest } = alike.last;
      const { communityId, peer, bytes, ...common } = rest;
      if (alike.repeated > 0) this.pass(summary(alike, common as EventRecord));
    }
    this.#alike.clear();
    this.#shared.clear();
    this.#passed = 0;
    this.#endsAt = nowMs + WINDOW_MS;
  }

  #add(table: Map<string, Alike>, key: string, last: EventRecord): Alike {
    const alike = { passed: 0, repeated: 0, suppressed: 0, last };
    table.set(key, alike);
    return alike;
  }
}

function count(alike: Alike, record: EventRecord): void {
  alike.repeated++;
  alike.suppressed += Number(record["suppressed"] ?? 0);
  alike.last = record;
}

function summary({ repeated, suppressed }: Alike, record: EventRecord): EventRecord {
  return { ...record, repeated, ...(suppressed > 0 ? { suppressed } : {}) };
}

function keyOf(record: EventRecord, names: readonly string[]): string {
  return JSON.stringify([record.event, ...names.map((name) => record[name])]);
}
