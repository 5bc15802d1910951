/**
 * Versions of an SQLite database: each migration takes it one version up, and `user_version` says
 * where it stands. All that are missing run in one transaction: a crash or a full disk half-way
 * leaves the file as it was. A newer program's file is refused: what it means is not known here.
 */
import type { Database } from "bun:sqlite";

/** Takes a database from version i to i + 1, where i is its place in the list. */
export type Migration = (database: Database) => void;

export function versionOf(database: Database): number {
  const row = database.query("PRAGMA user_version").get() as { user_version: number };
  return row.user_version;
}

/**
 * Runs what is missing above `version`, which is not above the newest; true where anything was.
 * The whole is one transaction.
 */
export function migrate(
  database: Database,
  migrations: readonly Migration[],
  version: number,
): boolean {
  if (version === migrations.length) return false;
  database.transaction(() => {
    for (const migration of migrations.slice(version)) migration(database);
    // A pragma takes no parameters; the number is the program's.
    database.run(`PRAGMA user_version = ${migrations.length}`);
  })();
  return true;
}

/**
 * What SQLite itself finds wrong with a file's structure; undefined: nothing. Contents are left to
 * whoever knows what they mean.
 */
export function structureFault(database: Database): string | undefined {
  const rows = database.query("PRAGMA quick_check(1)").all() as { quick_check: string }[];
  const [first] = rows;
  return first?.quick_check === "ok" ? undefined : (first?.quick_check ?? "it says nothing");
}
