/**
 * The journal in SQLite: blocks, the SCD's entries as they now are, and the vote log. WAL with
 * synchronous FULL: a transaction that returned is on the disk. design/ledger.md "Agreement" rules
 * 2, 3 and 8. Rowid tables: random ids as primary keys of a clustered table were four times slower.
 */
import { Database } from "bun:sqlite";
import { contractWords } from "../chain/apply-block.ts";
import type { Block } from "../chain/block.ts";
import { blockHashOf } from "../chain/block-core.ts";
import { ByteReader, ByteWriter } from "../chain/byte-codec.ts";
import { bodySize, readBody, writeBody } from "../chain/certificate-codec.ts";
import type { ChainState } from "../chain/chain-state.ts";
import { decodeContract } from "../chain/contract-entry.ts";
import type { BlockHash, Height } from "../chain/ledger-units.ts";
import { leafBytes, rootOf } from "../chain/merkle.ts";
import { readHeader, writeHeader } from "../chain/message-parts.ts";
import { decodeRecord } from "../chain/record-schema.ts";
import { ScdTree, scdEntry, signatureEntryId } from "../chain/scd-tree.ts";
import type { LogEntry } from "../chain/step-types.ts";
import { AbsError, messageOf } from "../errors.ts";
import { damaged } from "./chain-replay.ts";
import type { LedgerJournal, Recomputed, SavedOutput } from "./ledger-journal.ts";
import { decodeLogEntry, encodeLogEntry, heightOfEntry } from "./log-entry-codec.ts";
import { type BlockRow, SqliteSnapshot } from "./sqlite-snapshot.ts";

const SCHEMA_VERSION = 1;
const SCHEMA = `
  CREATE TABLE meta (name TEXT NOT NULL UNIQUE, value TEXT NOT NULL);
  CREATE TABLE block (height INTEGER PRIMARY KEY, hash TEXT NOT NULL UNIQUE,
                      header BLOB NOT NULL, body BLOB NOT NULL);
  CREATE TABLE entry (id TEXT NOT NULL UNIQUE, bytes BLOB NOT NULL);
  CREATE TABLE log (number INTEGER PRIMARY KEY, height INTEGER, kind TEXT NOT NULL,
                    bytes BLOB NOT NULL);
`;
/** A block of 1,024 contracts changes 4 MiB of pages: with less, pages are written twice. */
const CACHE_KIB = 32 * 1024;
/** 16 MiB: pages that many blocks change are copied into the file once for all of them. */
const CHECKPOINT_PAGES = 4096;
/** Blocks looked at in one check; the next goes on from there. */
const CHECKED_BLOCKS = 256;

/** Of those, before others have their turn: a full one takes a millisecond. */
const CHECKED_AT_ONCE = 4;

export class SqliteJournal implements LedgerJournal {
  readonly history = {
    at: (height: Height) => this.#block("height = ?", height),
    find: (blockHash: BlockHash) => this.#block("hash = ?", blockHash),
  };
  readonly #database: Database;
  #checkedUpTo = 0;
  #isClosed = false;

  /** @throws AbsError LEDGER_STORE_UNUSABLE, LEDGER_CHAIN_OTHER */
  constructor(
    readonly file: string,
    genesis: ChainState,
    access: "write" | "read",
  ) {
    try {
      this.#database =
        access === "read"
          ? new Database(file, { readonly: true, strict: true })
          : new Database(file, { create: true, readwrite: true, strict: true });
      if (access === "write") this.#prepare(genesis);
    } catch (cause) {
      throw unusable(file, cause);
    }
    this.#require(genesis);
  }

  /** Into the open transaction: several steps may share one, and one sync. */
  save(outputs: readonly SavedOutput[]): void {
    if (!this.#database.inTransaction) this.#database.run("BEGIN IMMEDIATE");
    try {
      for (const output of outputs) this.#save(output);
    } catch (thrown) {
      this.#database.run("ROLLBACK");
      throw thrown;
    }
  }

  sync(): void {
    if (this.#database.inTransaction) this.#database.run("COMMIT");
  }

  /** By a connection of its own, whose transaction sees one state whatever is saved meanwhile. */
  async recompute(): Promise<Recomputed | undefined> {
    const snapshot = new SqliteSnapshot(this.file);
    try {
      const height = snapshot.tip();
      let tree = ScdTree.EMPTY;
      for (const rows of snapshot.entries()) {
        tree = tree.with(rows.map(({ id, bytes }) => ({ id, entry: scdEntry(id, bytes) })));
        await turnOfOthers();
        if (this.#isClosed) return undefined;
      }
      const damaged: Height[] = [];
      for (const place of this.#nextChecked(height)) {
        const row = snapshot.block(place);
        const block = row === undefined ? undefined : blockOf(row);
        if (block === undefined || !isWhole(block)) damaged.push(place);
        if (place % CHECKED_AT_ONCE === 0) await turnOfOthers();
        if (this.#isClosed) return undefined;
      }
      return { height, scdRoot: tree.root, damaged };
    } finally {
      snapshot.close();
    }
  }

  tip(): Height {
    const row = this.#database.query("SELECT max(height) AS tip FROM block").get();
    return ((row as { tip: number | null }).tip ?? 0) as Height;
  }

  /** All blocks, ascending. @throws AbsError LEDGER_DAMAGED */
  *blocks(): Generator<Block> {
    const tip = this.tip();
    for (let height = 1; height <= tip; height++) {
      const block = this.history.at(height as Height);
      if (block === undefined) throw damaged({ height: height as Height }, "it is missing");
      yield block;
    }
  }

  /** In the order they were written. @throws AbsError LEDGER_STORE_UNUSABLE */
  log(): LogEntry[] {
    const rows = this.#database.query("SELECT bytes FROM log ORDER BY number").all();
    return (rows as { bytes: Uint8Array }[]).map(({ bytes }) => {
      const entry = decodeLogEntry(bytes);
      if (entry === undefined) throw unusable(this.file, "the vote log is damaged");
      return entry;
    });
  }

  close(): void {
    this.#isClosed = true;
    this.sync();
    this.#database.close();
  }

  #prepare(genesis: ChainState): void {
    const database = this.#database;
    database.run("PRAGMA journal_mode = WAL");
    database.run("PRAGMA synchronous = FULL");
    database.run(`PRAGMA cache_size = -${CACHE_KIB}`);
    database.run(`PRAGMA wal_autocheckpoint = ${CHECKPOINT_PAGES}`);
    const isNew = database.query("SELECT 1 FROM sqlite_master WHERE name = 'meta'").get() === null;
    if (!isNew) return;
    database.transaction(() => {
      database.run(SCHEMA);
      const insert = database.query("INSERT INTO meta VALUES (?, ?)");
      insert.run("version", String(SCHEMA_VERSION));
      insert.run("chain_id", genesis.chainId);
    })();
  }

  #require(genesis: ChainState): void {
    const version = this.#meta("version");
    const chainId = this.#meta("chain_id");
    if (version !== String(SCHEMA_VERSION)) {
      throw unusable(this.file, `it has version ${version}, this program knows ${SCHEMA_VERSION}`);
    }
    if (chainId === genesis.chainId) return;
    throw new AbsError(
      "LEDGER_CHAIN_OTHER",
      `${this.file} is of chain ${chainId}, genesis.json of ${genesis.chainId}.`,
      "Put the right genesis.json back: every node of the tenant has the same.",
    );
  }

  #meta(name: string): string | undefined {
    try {
      const row = this.#database.query("SELECT value FROM meta WHERE name = ?").get(name);
      return (row as { value: string } | null)?.value;
    } catch (cause) {
      throw unusable(this.file, cause);
    }
  }

  #save(output: SavedOutput): void {
    switch (output.kind) {
      case "write":
        return this.#write(output.entry);
      case "block":
        this.#insert(output.block);
        this.#change(output.block, output.next);
        this.#database.query("DELETE FROM log WHERE height <= ?").run(output.next.height);
        return;
      case "restore":
        return this.#insert(output.block);
      case "repair":
        this.#database.run("DELETE FROM entry");
        for (const { id, bytes } of output.chain.scd.entries()) this.#put(id, bytes);
    }
  }

  #write(entry: LogEntry): void {
    const height = heightOfEntry(entry) ?? null;
    if (entry.kind === "observing") this.#database.run("DELETE FROM log WHERE kind = 'observing'");
    this.#database
      .query("INSERT INTO log (height, kind, bytes) VALUES (?, ?, ?)")
      .run(height, entry.kind, encodeLogEntry(entry));
  }

  #insert(block: Block): void {
    const header = new ByteWriter();
    writeHeader(header, block);
    const body = new ByteWriter(bodySize(block.body));
    writeBody(body, block.body);
    this.#database
      .query("INSERT OR REPLACE INTO block VALUES (?, ?, ?, ?)")
      .run(block.core.height, blockHashOf(block.core), header.finish(), body.finish());
  }

  /** The SCD's entries that a block touched, as they are after it. */
  #change({ body }: Block, next: ChainState): void {
    // In the order of the index, so that each of its pages is looked at once.
    for (const id of touchedIds(body).sort()) {
      const entry = next.scd.find(id);
      if (entry !== undefined) this.#put(id, entry.bytes);
      else this.#database.query("DELETE FROM entry WHERE id = ?").run(id);
    }
  }

  #put(id: string, bytes: Uint8Array): void {
    this.#database.query("INSERT OR REPLACE INTO entry VALUES (?, ?)").run(id, bytes);
  }

  #block(where: string, value: number | string): Block | undefined {
    const row = this.#database.query(`SELECT header, body FROM block WHERE ${where}`).get(value);
    return row === null ? undefined : blockOf(row as BlockRow);
  }

  /** The stretch of the chain that is looked at next. */
  *#nextChecked(tip: Height): Generator<Height> {
    const from = this.#checkedUpTo >= tip ? 1 : this.#checkedUpTo + 1;
    this.#checkedUpTo = Math.min(tip, from + CHECKED_BLOCKS - 1);
    for (let height = from; height <= this.#checkedUpTo; height++) yield height as Height;
  }
}

function blockOf({ header, body }: BlockRow): Block | undefined {
  const headerReader = new ByteReader(header);
  const sealed = readHeader(headerReader);
  headerReader.end();
  if (headerReader.fault !== undefined) return undefined;
  const bodyReader = new ByteReader(body);
  const found = readBody(bodyReader);
  bodyReader.end();
  // A damaged body is an empty one: its roots do not fit, and it is fetched again.
  const none = { contracts: [], records: [] };
  return { ...sealed, body: bodyReader.fault === undefined ? found : none };
}

function isWhole({ core, body }: Block): boolean {
  const { merkleRoot } = contractWords(core.chainId, core.height, body.contracts);
  return merkleRoot === core.merkleRoot && rootOf(body.records.map(leafBytes)) === core.recordsRoot;
}

/** Sockets and timers first. */
function turnOfOthers(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function touchedIds({ contracts, records }: Block["body"]): string[] {
  const ids = contracts.flatMap((bytes) => {
    const read = decodeContract(bytes);
    return "contract" in read ? [read.contract.scId as string] : [];
  });
  for (const bytes of records) {
    const read = decodeRecord(bytes);
    if (!("record" in read)) continue;
    if (read.record.kind === "SC_UPDATE") ids.push(read.record.scId);
    if (read.record.kind === "SIGNATURE") ids.push(signatureEntryId(read.record.signatureId));
  }
  return ids;
}

function unusable(file: string, cause: unknown): AbsError {
  return new AbsError(
    "LEDGER_STORE_UNUSABLE",
    `${file} cannot be used: ${messageOf(cause)}.`,
    "If the file is damaged, move it aside: the node observes, and fetches all from its peers.",
    cause,
  );
}
