/**
 * SQLite files of an agent's folder: AppDB, PMdb. Each change is one transaction, on the disk when
 * it returns; a rollback journal, so that between changes the file is whole by itself and may be
 * copied. A file that is damaged, another program's or a newer `abs`'s is refused and left as it
 * is. What the tables mean is their owner's.
 */
import { Database, SQLiteError } from "bun:sqlite";
import { closeSync, openSync } from "node:fs";
import { AbsError, messageOf } from "../errors.ts";

export type StateDatabase = {
  /** For people. */
  readonly name: string;
  /** Whose file it is (PRAGMA application_id). */
  readonly applicationId: number;
  readonly schema: string;
  /** What to do about one that is damaged. */
  readonly remedy: string;
};

/** Of what the provisioning file names by its digest. */
export type Kept = {
  readonly digest: string;
  /** Nothing else is there that will have to go. */
  readonly isAlone: boolean;
};

const VERSION = 1;
/** Another process changes it. */
const BUSY_MS = 5_000;

/** What SQLite says of a file that is not what it should be; all else is the disk's. */
const DAMAGED = /^SQLITE_(CORRUPT|NOTADB|ERROR)/;

/**
 * Makes the file with mode 600 where there is none. Throws what the disk's fault is as it comes.
 * @throws AbsError STATE_DATABASE_UNUSABLE, STATE_DATABASE_NEWER
 */
export function changeDatabase<T>(
  file: string,
  kind: StateDatabase,
  change: (database: Database) => T,
): T {
  return judged(file, kind, isDamage, () => {
    closeSync(openSync(file, "a", 0o600));
    const database = new Database(file, { readwrite: true, strict: true });
    return closing(database, () => {
      database.run(
        `PRAGMA busy_timeout = ${BUSY_MS}; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON`,
      );
      return database
        .transaction(() => {
          if (versionOf(database, file, kind) === 0) makeTables(database, kind);
          return change(database);
        })
        .immediate();
    });
  });
}

/** @throws AbsError STATE_DATABASE_UNUSABLE, STATE_DATABASE_NEWER */
export function readDatabase<T>(
  file: string,
  kind: StateDatabase,
  read: (database: Database) => T,
): T {
  const always = () => true;
  return judged(file, kind, always, () => {
    // Not read-only: what a killed writer left half-way is rolled back by whoever opens it next.
    const database = new Database(file, { readwrite: true, create: false, strict: true });
    return closing(database, () => {
      database.run(`PRAGMA busy_timeout = ${BUSY_MS}`);
      if (versionOf(database, file, kind) === 0) throw unusable(file, kind, "it is empty");
      return read(database);
    });
  });
}

function closing<T>(database: Database, work: () => T): T {
  try {
    return work();
  } finally {
    database.close();
  }
}

function isDamage(thrown: unknown): boolean {
  return thrown instanceof SQLiteError && DAMAGED.test(thrown.code ?? "");
}

/** Says what is wrong with the file where `isFault` takes what was thrown for that. */
function judged<T>(
  file: string,
  kind: StateDatabase,
  isFault: (thrown: unknown) => boolean,
  work: () => T,
): T {
  try {
    return work();
  } catch (cause) {
    if (cause instanceof AbsError || !isFault(cause)) throw cause;
    throw unusable(file, kind, messageOf(cause), cause);
  }
}

function makeTables(database: Database, { applicationId, schema }: StateDatabase): void {
  database.run(schema);
  database.run(`PRAGMA application_id = ${applicationId}`);
  database.run(`PRAGMA user_version = ${VERSION}`);
}

/** 0: nothing is in it yet. */
function versionOf(database: Database, file: string, kind: StateDatabase): number {
  const version = pragma(database, "user_version");
  const owner = pragma(database, "application_id");
  if (owner === 0 && version === 0 && pragma(database, "schema_version") === 0) return 0;
  if (owner !== kind.applicationId) throw unusable(file, kind, `it is no ${kind.name}`);
  if (version === VERSION) return version;
  throw new AbsError(
    "STATE_DATABASE_NEWER",
    `${file} has version ${version}; this \`abs\` reads ${VERSION}.`,
    "Use the `abs` that wrote it; nothing in the file was changed.",
  );
}

function unusable(file: string, kind: StateDatabase, why: string, cause?: unknown): AbsError {
  return new AbsError(
    "STATE_DATABASE_UNUSABLE",
    `${file}, this VM's ${kind.name}, cannot be used: ${why}.`,
    kind.remedy,
    cause,
  );
}

function pragma(
  database: Database,
  name: "user_version" | "application_id" | "schema_version",
): number {
  const row = database.query(`PRAGMA ${name}`).get() as Record<string, number> | null;
  return row?.[name] ?? 0;
}
