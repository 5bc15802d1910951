/**
 * One state of the journal's tables, read a part at a time while the journal goes on writing: a
 * connection of its own in a read transaction (SQLite's WAL mode, https://sqlite.org/wal.html).
 */
import { Database } from "bun:sqlite";
import type { Height } from "../chain/ledger-units.ts";

/** A millisecond or two of hashing. */
const ENTRIES_AT_ONCE = 512;

/** Whatever somebody may have written into the columns. */
export type BlockRow = {
  readonly header: unknown;
  readonly digest: unknown;
  readonly body: unknown;
};
export type EntryRow = { readonly id: unknown; readonly bytes: unknown };

export class SqliteSnapshot {
  readonly database: Database;

  /** Of what was synced last. */
  constructor(file: string) {
    this.database = new Database(file, { readonly: true, strict: true });
    this.database.run("BEGIN");
  }

  tip(): Height {
    const row = this.database.query("SELECT max(height) AS tip FROM header").get();
    return ((row as { tip: number | null }).tip ?? 0) as Height;
  }

  /** All of the SCD, in parts. */
  *entries(): Generator<readonly EntryRow[]> {
    const query = this.database.query(
      "SELECT rowid, id, bytes FROM contract WHERE rowid > ? ORDER BY rowid LIMIT ?",
    );
    let last = Number.MIN_SAFE_INTEGER;
    for (;;) {
      const rows = query.all(last, ENTRIES_AT_ONCE) as (EntryRow & { readonly rowid: number })[];
      if (rows.length === 0) return;
      yield rows;
      last = rows.at(-1)?.rowid ?? last;
    }
  }

  block(height: Height): BlockRow | undefined {
    return blockRow(this.database, "header.height = ?", height);
  }

  close(): void {
    this.database.close();
  }
}

/** A header with its body, which may be missing. */
export function blockRow(
  database: Database,
  where: string,
  value: number | string,
): BlockRow | undefined {
  const row = database
    .query(
      `SELECT header.bytes AS header, digest, block.bytes AS body
       FROM header LEFT JOIN block USING (height) WHERE ${where}`,
    )
    .get(value);
  return (row as BlockRow | null) ?? undefined;
}
