/**
 * Who is in quarantine, since when, why, and until when; and who was. docs/manager.md "Quarantine".
 * A host is known by its addresses, its MAC, and the port that it hangs on; whose VM it is, by the
 * node id of its agent.
 */
import type { Database } from "bun:sqlite";
import { AbsError } from "../errors.ts";
import type { EpochSeconds } from "../units.ts";

export type SwitchPort = { readonly switchName: string; readonly port: number };

export type QuarantinedHost = {
  readonly tenant: string | undefined;
  readonly nodeId: string | undefined;
  /** Of the agent, or what the administrator calls it by. */
  readonly name: string;
  readonly addresses: readonly string[];
  readonly macs: readonly string[];
  readonly ports: readonly SwitchPort[];
};

export type Quarantine = QuarantinedHost & {
  readonly number: number;
  readonly reason: string;
  readonly author: string;
  readonly madeAt: EpochSeconds;
  /** Undefined: until it is released. */
  readonly endsAt: EpochSeconds | undefined;
  readonly overAt: EpochSeconds | undefined;
  /** `time-out`, or who released it and why. */
  readonly overWhy: string | undefined;
};

type Row = {
  readonly number: number;
  readonly tenant: string | null;
  readonly nodeId: string | null;
  readonly name: string;
  readonly addresses: string;
  readonly mac: string | null;
  readonly ports: string;
  readonly reason: string;
  readonly author: string;
  readonly madeAt: EpochSeconds;
  readonly endsAt: EpochSeconds | null;
  readonly overAt: EpochSeconds | null;
  readonly overWhy: string | null;
};

/** When evidence brings a VM into quarantine. */
export type QuarantineTerms = {
  /** Refused packets, each with a proof; 0: never. */
  readonly violations: number;
  /** Within so long. */
  readonly windowSeconds: number;
  /** How long it lasts. */
  readonly seconds: number;
  /** So many agents must have refused some. */
  readonly reporters: number;
};

const NO_TERMS: QuarantineTerms = { violations: 0, windowSeconds: 60, seconds: 600, reporters: 1 };

const COLUMNS = `number, tenant, node_id AS nodeId, name, addresses, mac, ports, reason, author,
  made_at AS madeAt, ends_at AS endsAt, over_at AS overAt, over_why AS overWhy`;

/** Of those that are over. */
const LISTED_MAX = 1000;

export class Quarantines {
  constructor(private readonly database: Database) {}

  add(
    host: QuarantinedHost,
    why: { readonly reason: string; readonly author: string },
    time: { readonly now: EpochSeconds; readonly endsAt: EpochSeconds | undefined },
  ): Quarantine {
    const query = this.database.query(
      `INSERT INTO quarantine
       (tenant, node_id, name, addresses, mac, ports, reason, author, made_at, ends_at)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING ${COLUMNS}`,
    );
    const row = query.get(
      ...[host.tenant ?? null, host.nodeId ?? null, host.name, JSON.stringify(host.addresses)],
      ...[host.macs.join(" ") || null, JSON.stringify(host.ports), why.reason, why.author],
      ...[time.now, time.endsAt ?? null],
    );
    return quarantineOf(row as Row);
  }

  /** In the order in which they began. */
  active(): Quarantine[] {
    const sql = `SELECT ${COLUMNS} FROM quarantine WHERE over_at IS NULL ORDER BY number`;
    return (this.database.query(sql).all() as Row[]).map(quarantineOf);
  }

  /** Of one agent. */
  ofNode(nodeId: string): Quarantine | undefined {
    return this.active().find((one) => one.nodeId === nodeId);
  }

  /** Of a tenant; without any, nobody is brought into quarantine by evidence. */
  terms(tenant: string): QuarantineTerms {
    const query = this.database.query(
      `SELECT violations, window_seconds AS windowSeconds, seconds, reporters
       FROM quarantine_terms WHERE tenant = ?`,
    );
    return (query.get(tenant) as QuarantineTerms | null) ?? NO_TERMS;
  }

  setTerms(tenant: string, terms: QuarantineTerms): void {
    const { violations, windowSeconds, seconds, reporters } = terms;
    this.database
      .query("INSERT OR REPLACE INTO quarantine_terms VALUES (?, ?, ?, ?, ?)")
      .run(tenant, violations, windowSeconds, seconds, reporters);
  }

  /** Newest first, those that are over too. */
  history(): Quarantine[] {
    const sql = `SELECT ${COLUMNS} FROM quarantine ORDER BY number DESC LIMIT ${LISTED_MAX}`;
    return (this.database.query(sql).all() as Row[]).map(quarantineOf);
  }

  /** @throws AbsError QUARANTINE_ABSENT, also where it is over already */
  need(number: number): Quarantine {
    const found = this.active().find((one) => one.number === number);
    if (found !== undefined) return found;
    const what = `There is no quarantine ${number} that holds.`;
    throw new AbsError("QUARANTINE_ABSENT", what, "`abs manager quarantine list` names them.");
  }

  end(number: number, why: string, now: EpochSeconds): void {
    this.database
      .query("UPDATE quarantine SET over_at = ?, over_why = ? WHERE number = ?")
      .run(now, why, number);
  }
}

function quarantineOf(row: Row): Quarantine {
  const { mac: _, ...rest } = row;
  return {
    ...rest,
    tenant: row.tenant ?? undefined,
    nodeId: row.nodeId ?? undefined,
    addresses: JSON.parse(row.addresses) as string[],
    macs: row.mac === null ? [] : row.mac.split(" "),
    ports: JSON.parse(row.ports) as SwitchPort[],
    endsAt: row.endsAt ?? undefined,
    overAt: row.overAt ?? undefined,
    overWhy: row.overWhy ?? undefined,
  };
}
