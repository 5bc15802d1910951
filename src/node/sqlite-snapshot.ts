/**
 * One state of the journal's tables, read a part at a time while the journal goes on writing: a
 * connection of its own in a read transaction (SQLite's WAL mode, https://sqlite.org/wal.html).
 */
import { Database } from "bun:sqlite";
import type { Height } from "../chain/ledger-units.ts";

/** A millisecond or two of hashing. */
const ENTRIES_AT_ONCE = 512;

export type BlockRow = { readonly header: Uint8Array; readonly body: Uint8Array };
export type EntryRow = {
  readonly rowid: number;
  readonly id: string;
  readonly bytes: Uint8Array;
};

export class SqliteSnapshot {
  readonly #database: Database;

  /** Of what was synced last. */
  constructor(file: string) {
    this.#database = new Database(file, { readonly: true, strict: true });
    this.#database.run("BEGIN");
  }

  tip(): Height {
    const row = this.#database.query("SELECT max(height) AS tip FROM block").get();
    return ((row as { tip: number | null }).tip ?? 0) as Height;
  }

  /** All of the SCD, in parts. */
  *entries(): Generator<readonly EntryRow[]> {
    const query = this.#database.query(
      "SELECT rowid, id, bytes FROM entry WHERE rowid > ? ORDER BY rowid LIMIT ?",
    );
    let last = Number.MIN_SAFE_INTEGER;
    for (;;) {
      const rows = query.all(last, ENTRIES_AT_ONCE) as EntryRow[];
      if (rows.length === 0) return;
      yield rows;
      last = rows.at(-1)?.rowid ?? last;
    }
  }

  block(height: Height): BlockRow | undefined {
    const row = this.#database.query("SELECT header, body FROM block WHERE height = ?").get(height);
    return (row as BlockRow | null) ?? undefined;
  }

  close(): void {
    this.#database.close();
  }
}
