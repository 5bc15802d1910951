/**
 * One state of the journal's tables, read a part at a time while the journal goes on writing: a
 * connection of its own in a read transaction (SQLite's WAL mode, https://sqlite.org/wal.html).
 */
import { Database } from "bun:sqlite";
import type { Block } from "../chain/block.ts";
import type { Height } from "../chain/ledger-units.ts";
import { areVotesDamaged, readBlock, readExtent } from "./journal-rows.ts";

/** A millisecond or two of hashing. */
const ENTRIES_AT_ONCE = 512;

export type EntryRow = {
  readonly rowid: number;
  readonly id: unknown;
  readonly bytes: unknown;
};

export class SqliteSnapshot {
  readonly #database: Database;

  /** Of what was synced last. */
  constructor(file: string) {
    this.#database = new Database(file, { readonly: true, strict: true });
    this.#database.run("BEGIN");
  }

  tip(): Height {
    const row = this.#database.query("SELECT max(height) AS tip FROM header").get();
    return ((row as { tip: number | null }).tip ?? 0) as Height;
  }

  /** One of the SCD's, by its id. */
  entry(id: string): Uint8Array | undefined {
    const row = this.#database.query("SELECT bytes FROM contract WHERE id = ?").get(id);
    const bytes = (row as { bytes: unknown } | null)?.bytes;
    return bytes instanceof Uint8Array ? bytes : undefined;
  }

  /** All of the SCD, in parts. */
  *entries(): Generator<readonly EntryRow[]> {
    const query = this.#database.query(
      "SELECT rowid, id, bytes FROM contract WHERE rowid > ? ORDER BY rowid LIMIT ?",
    );
    let last = Number.MIN_SAFE_INTEGER;
    for (;;) {
      const rows = query.all(last, ENTRIES_AT_ONCE) as EntryRow[];
      if (rows.length === 0) return;
      yield rows;
      last = rows.at(-1)?.rowid ?? last;
    }
  }

  block(height: Height): Block | undefined {
    return readBlock(this.#database, "header.height = ?", height);
  }

  /** How far the chain went when it was last written; undefined: that is damaged. */
  writtenTip(): number | undefined {
    return readExtent(this.#database)?.tip;
  }

  areVotesDamaged(): boolean {
    return areVotesDamaged(this.#database);
  }

  close(): void {
    this.#database.close();
  }
}
