/**
 * SQLite files of one process: WAL, every transaction on the disk when it returns, a schema that
 * grows by numbered migrations, each in a transaction of its own. A file that a newer `abs` has
 * changed is refused, never touched. What the tables mean is their owner's.
 */
import { Database } from "bun:sqlite";
import { closeSync, openSync } from "node:fs";
import { AbsError, messageOf } from "../errors.ts";

export type DatabaseOptions = {
  readonly file: string;
  /** "ABSM", as a number: whose file it is (PRAGMA application_id). */
  readonly applicationId: number;
  /** Each brings the schema one version further; only ever appended to. */
  readonly migrations: readonly string[];
};

/** @throws AbsError DATABASE_UNUSABLE, DATABASE_FOREIGN, DATABASE_NEWER */
export function openDatabase({ file, applicationId, migrations }: DatabaseOptions): Database {
  let database: Database | undefined;
  try {
    // Before SQLite makes it: the file and its journals get this file's mode.
    closeSync(openSync(file, "a", 0o600));
    database = new Database(file, { readwrite: true, strict: true });
    database.run("PRAGMA journal_mode = WAL");
    database.run("PRAGMA synchronous = FULL");
    database.run("PRAGMA foreign_keys = ON");
    database.run("PRAGMA secure_delete = ON");
    migrate(database, file, applicationId, migrations);
    return database;
  } catch (cause) {
    database?.close();
    if (cause instanceof AbsError) throw cause;
    throw new AbsError(
      "DATABASE_UNUSABLE",
      `${file} cannot be used: ${messageOf(cause)}.`,
      "If the disk is full, make room; if the file is damaged, restore it from a backup.",
      cause,
    );
  }
}

function migrate(
  database: Database,
  file: string,
  applicationId: number,
  migrations: readonly string[],
): void {
  const version = pragma(database, "user_version");
  const owner = pragma(database, "application_id");
  if (owner !== applicationId && (owner !== 0 || version !== 0)) {
    const what = `${file} is another program's database.`;
    throw new AbsError("DATABASE_FOREIGN", what, "Name the right folder.");
  }
  if (version > migrations.length) {
    throw new AbsError(
      "DATABASE_NEWER",
      `${file} has schema ${version}; this \`abs\` knows ${migrations.length}.`,
      "Use the newer `abs` that wrote it, or restore a backup from before the update.",
    );
  }
  for (const [i, migration] of migrations.slice(version).entries()) {
    database.transaction(() => {
      database.run(migration);
      database.run(`PRAGMA application_id = ${applicationId}`);
      database.run(`PRAGMA user_version = ${version + i + 1}`);
    })();
  }
}

function pragma(database: Database, name: "user_version" | "application_id"): number {
  const row = database.query(`PRAGMA ${name}`).get() as Record<string, number> | null;
  return row?.[name] ?? 0;
}
