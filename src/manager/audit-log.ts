/**
 * Who did what, when and from where: every command and every enrolment. docs/manager.md "Audit".
 */
import type { Database } from "bun:sqlite";
import type { EpochSeconds } from "../units.ts";

export type AuditEntry = {
  readonly at: EpochSeconds;
  readonly who: string;
  readonly address: string;
  readonly command: string;
  /** `done`, or the code of what went wrong. */
  readonly outcome: string;
};

export class AuditLog {
  constructor(private readonly database: Database) {}

  add({ at, who, address, command, outcome }: AuditEntry): void {
    this.database
      .query("INSERT INTO audit (at, who, address, command, outcome) VALUES (?, ?, ?, ?, ?)")
      .run(at, who, address, command, outcome);
  }

  /** Newest first. */
  list(count: number): AuditEntry[] {
    const query = this.database.query(
      "SELECT at, who, address, command, outcome FROM audit ORDER BY number DESC LIMIT ?",
    );
    return query.all(count) as AuditEntry[];
  }
}
