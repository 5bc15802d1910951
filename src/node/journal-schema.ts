/**
 * The tables of scd.sqlite and their versions. docs/ledger.md "Disk". Rowid tables: random ids as
 * primary keys of a clustered table were four times slower. What no root of the chain covers has a
 * digest beside it, so that a flipped bit is found: headers (their quorums and seals), votes, and
 * how far all of it goes.
 */
import { Database } from "bun:sqlite";
import { sha256, taggedBytes } from "../chain/sha256.ts";
import { type Migration, migrate, schemaFault, versionOf } from "../store/migrations.ts";

const encoder = new TextEncoder();

export type VoteWords = {
  readonly height: number | null;
  readonly kind: string;
  readonly bytes: Uint8Array;
};

export function voteDigest({ height, kind, bytes }: VoteWords): Uint8Array {
  return taggedBytes(encoder.encode(`${kind} ${height ?? "-"}\0`), bytes);
}

/** The tip and how many votes are kept: rows that are gone are missed. */
export type Extent = { readonly tip: number; readonly votes: number };

export function extentDigest({ tip, votes }: Extent): Uint8Array {
  return sha256(encoder.encode(`${tip} ${votes}`));
}

const FIRST = `
  CREATE TABLE meta (name TEXT NOT NULL UNIQUE, value TEXT NOT NULL);
  CREATE TABLE block (height INTEGER PRIMARY KEY, hash TEXT NOT NULL UNIQUE,
                      header BLOB NOT NULL, body BLOB NOT NULL);
  CREATE TABLE entry (id TEXT NOT NULL UNIQUE, bytes BLOB NOT NULL);
  CREATE TABLE log (number INTEGER PRIMARY KEY, height INTEGER, kind TEXT NOT NULL,
                    bytes BLOB NOT NULL);
`;

const SECOND = `
  CREATE TABLE header (height INTEGER PRIMARY KEY, hash TEXT NOT NULL UNIQUE,
                       bytes BLOB NOT NULL, digest BLOB NOT NULL);
  CREATE TABLE contract (id TEXT NOT NULL UNIQUE, bytes BLOB NOT NULL);
  CREATE TABLE member (id TEXT NOT NULL UNIQUE, bytes BLOB NOT NULL);
  CREATE TABLE vote (number INTEGER PRIMARY KEY, height INTEGER, kind TEXT NOT NULL,
                     bytes BLOB NOT NULL, digest BLOB NOT NULL);
  CREATE TABLE extent (number INTEGER PRIMARY KEY CHECK (number = 1), tip INTEGER NOT NULL,
                       votes INTEGER NOT NULL, digest BLOB NOT NULL);
`;

export const MIGRATIONS: readonly Migration[] = [
  (database) => {
    database.run(FIRST);
  },
  withDigests,
];

/** Version 1 had no digests, and headers and bodies in one table. */
function withDigests(database: Database): void {
  database.run("ALTER TABLE block RENAME TO old_block");
  database.run(SECOND);
  database.run("CREATE TABLE block (height INTEGER PRIMARY KEY, bytes BLOB NOT NULL)");
  const header = database.query("INSERT INTO header VALUES (?, ?, ?, ?)");
  const blocks = database.query("SELECT height, hash, header FROM old_block ORDER BY height");
  for (const row of blocks.iterate() as Iterable<OldBlockRow>) {
    header.run(row.height, row.hash, row.header, sha256(row.header));
  }
  database.run("INSERT INTO block SELECT height, body FROM old_block ORDER BY height");
  database.run("INSERT INTO contract SELECT id, bytes FROM entry ORDER BY rowid");
  const vote = database.query("INSERT INTO vote VALUES (?, ?, ?, ?, ?)");
  const log = database.query("SELECT number, height, kind, bytes FROM log ORDER BY number");
  for (const row of log.iterate() as Iterable<VoteWords & { readonly number: number }>) {
    vote.run(row.number, row.height, row.kind, row.bytes, voteDigest(row));
  }
  const extent = database
    .query(
      `SELECT (SELECT coalesce(max(height), 0) FROM header) AS tip,
              (SELECT count(*) FROM vote) AS votes`,
    )
    .get() as Extent;
  database
    .query("INSERT INTO extent VALUES (1, ?, ?, ?)")
    .run(extent.tip, extent.votes, extentDigest(extent));
  for (const table of ["old_block", "entry", "log"]) database.run(`DROP TABLE ${table}`);
  database.run("DELETE FROM meta WHERE name = 'version'");
}

type OldBlockRow = {
  readonly height: number;
  readonly hash: string;
  readonly header: Uint8Array;
};

/** Of a file with tables; files of version 1 had it in one. 0: there is nothing yet. */
export function storedVersion(database: Database): number {
  const version = versionOf(database);
  if (version > 0) return version;
  const meta = database.query("SELECT 1 FROM sqlite_master WHERE name = 'meta'").get();
  if (meta === null) return 0;
  const row = database.query("SELECT value FROM meta WHERE name = 'version'").get();
  return Number((row as { value: string } | null)?.value ?? 0);
}

/** On entry the file is of the newest version. */
export function descriptionFault(database: Database): string | undefined {
  const fresh = new Database(":memory:");
  migrate(fresh, MIGRATIONS, 0);
  const fault = schemaFault(database, fresh);
  fresh.close();
  return fault;
}
