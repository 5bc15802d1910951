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

/** Tables as they are described in the file: one that differs from `other`; undefined: none. */
export function schemaFault(database: Database, other: Database): string | undefined {
  const described = (of: Database): Map<string, string> => {
    const rows = of.query("SELECT type, name, sql FROM sqlite_master").all() as SchemaRow[];
    return new Map(rows.map(({ type, name, sql }) => [`${type} ${name}`, String(sql)]));
  };
  const [found, wanted] = [described(database), described(other)];
  for (const name of new Set([...found.keys(), ...wanted.keys()])) {
    if (found.get(name) !== wanted.get(name)) return `the description of ${name} is damaged`;
  }
  return undefined;
}

type SchemaRow = { readonly type: unknown; readonly name: unknown; readonly sql: unknown };

/**
 * What SQLite itself finds wrong with a file's structure; undefined: nothing. Indexes that do not
 * fit their tables are made anew. What the contents mean is left to whoever knows.
 */
export function structureFault(database: Database): string | undefined {
  if (integrityFault(database) === undefined) return undefined;
  database.run("REINDEX");
  return integrityFault(database);
}

function integrityFault(database: Database): string | undefined {
  const rows = database.query("PRAGMA integrity_check(1)").all() as { integrity_check: string }[];
  const [first] = rows;
  return first?.integrity_check === "ok"
    ? undefined
    : (first?.integrity_check ?? "it says nothing");
}
