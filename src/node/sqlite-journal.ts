/**
 * The journal in SQLite: headers and bodies of blocks, contracts and members as they now are, and
 * the vote log. WAL with synchronous FULL: a transaction that returned is on the disk.
 * design/ledger.md "Agreement" rules 2, 3 and 8. What is wrong with a file is found here;
 * store-journal.ts says what is done about it, journal-schema.ts has the tables.
 */
import { Database } from "bun:sqlite";
import type { Block } from "../chain/block.ts";
import { blockHashOf } from "../chain/block-core.ts";
import { ByteWriter } from "../chain/byte-codec.ts";
import { bodySize, writeBody } from "../chain/certificate-codec.ts";
import type { ChainState } from "../chain/chain-state.ts";
import type { BlockHash, Hash, Height } from "../chain/ledger-units.ts";
import { leafBytes, rootOf } from "../chain/merkle.ts";
import { writeHeader } from "../chain/message-parts.ts";
import { type ScdChange, ScdTree, scdEntry } from "../chain/scd-tree.ts";
import { sha256 } from "../chain/sha256.ts";
import { membershipLeaves } from "../chain/state-roots.ts";
import type { LogEntry } from "../chain/step-types.ts";
import { migrate, structureFault } from "../store/migrations.ts";
import type { HeaderRow } from "./journal-rows.ts";
import {
  areVotesDamaged,
  headerOf,
  isWhole,
  readBlock,
  readExtent,
  readVotes,
} from "./journal-rows.ts";
import {
  descriptionFault,
  type Extent,
  extentDigest,
  MIGRATIONS,
  storedVersion,
  voteDigest,
} from "./journal-schema.ts";
import type { LedgerJournal, Recomputed, SavedOutput } from "./ledger-journal.ts";
import { encodeLogEntry, heightOfEntry } from "./log-entry-codec.ts";
import { type EntryRow, SqliteSnapshot } from "./sqlite-snapshot.ts";
import { chainOther, requireVersion, storeDamaged, unusable } from "./store-errors.ts";

/** A block of 1,024 contracts changes 4 MiB of pages: with less, pages are written twice. */
const CACHE_KIB = 32 * 1024;
/** 16 MiB: pages that many blocks change are copied into the file once for all of them. */
const CHECKPOINT_PAGES = 4096;
/** Blocks looked at in one check; the next goes on from there. */
const CHECKED_BLOCKS = 256;
/** Of those, before others have their turn: a full one takes a millisecond. */
const CHECKED_AT_ONCE = 4;
const NOTHING = new Uint8Array(0);
const OBSERVING: LogEntry = { kind: "observing", isOn: true };

export type JournalAccess = {
  readonly kind: "write" | "read";
  /** The keys have signed before: a file that is new then stands for one that was lost. */
  readonly hasRun: boolean;
};

export class SqliteJournal implements LedgerJournal {
  readonly history = {
    at: (height: Height) => readBlock(this.#database, "header.height = ?", height),
    find: (blockHash: BlockHash) => readBlock(this.#database, "hash = ?", blockHash),
  };
  /** There was nothing in the file. */
  readonly isNew: boolean = false;
  /** What was damaged, and is put right already. */
  readonly findings: string[] = [];
  readonly #database: Database;
  #checkedUpTo = 0;
  #isClosed = false;
  #membershipRoot: Hash | undefined;
  /** With what was saved and is not synced yet; undefined: that row is damaged. */
  #extent: Extent | undefined;

  /** @throws AbsError LEDGER_STORE_UNUSABLE, LEDGER_STORE_VERSION, LEDGER_CHAIN_OTHER */
  constructor(
    readonly file: string,
    genesis: ChainState,
    access: JournalAccess,
  ) {
    let database: Database | undefined;
    try {
      const isWriter = access.kind === "write";
      database = isWriter
        ? new Database(file, { create: true, readwrite: true, strict: true })
        : new Database(file, { readonly: true, strict: true });
      this.#database = database;
      this.isNew = isWriter && this.#prepare(genesis, access.hasRun);
      requireVersion(file, storedVersion(database), MIGRATIONS.length);
      const fault = descriptionFault(database);
      if (fault !== undefined) throw storeDamaged(file, fault);
      this.#requireChain(genesis, isWriter);
      this.#extent = readExtent(database);
    } catch (cause) {
      database?.close();
      throw unusable(file, cause);
    }
  }

  /** Into the open transaction: several steps may share one, and one sync. */
  save(outputs: readonly SavedOutput[]): void {
    if (!this.#database.inTransaction) this.#database.run("BEGIN IMMEDIATE");
    try {
      const extent = this.#extent ?? { tip: this.tip(), votes: 0 };
      this.#extent = outputs.reduce((before, output) => this.#save(output, before), extent);
    } catch (thrown) {
      this.#rollBack();
      throw thrown;
    }
  }

  sync(): void {
    if (!this.#database.inTransaction) return;
    try {
      if (this.#extent !== undefined) this.#putExtent(this.#extent);
      this.#database.run("COMMIT");
    } catch (thrown) {
      this.#rollBack();
      throw thrown;
    }
  }

  /** A disk that refuses may have rolled back already. */
  #rollBack(): void {
    if (this.#database.inTransaction) this.#database.run("ROLLBACK");
    this.#extent = readExtent(this.#database);
  }

  /** By a connection of its own, whose transaction sees one state whatever is saved meanwhile. */
  async recompute(): Promise<Recomputed | undefined> {
    const snapshot = new SqliteSnapshot(this.file);
    try {
      const height = snapshot.tip();
      let tree = ScdTree.EMPTY;
      for (const rows of snapshot.entries()) {
        tree = tree.with(rows.map(leafOf));
        await turnOfOthers();
        if (this.#isClosed) return undefined;
      }
      const damaged: Height[] = [];
      const broken = snapshot.areVotesDamaged() ? ["votes are missing or damaged"] : [];
      for (const place of this.#nextChecked(Math.max(height, snapshot.writtenTip() ?? 0))) {
        const block = snapshot.block(place);
        if (block?.core.height !== place) broken.push(`the header of block ${place} is damaged`);
        else if (!isWhole(block, place)) damaged.push(place);
        if (place % CHECKED_AT_ONCE === 0) await turnOfOthers();
        if (this.#isClosed) return undefined;
      }
      return { height, scdRoot: tree.root, damaged, broken: broken[0] };
    } finally {
      snapshot.close();
    }
  }

  /** Of the contracts as they lie on the disk. */
  scdRoot(): Hash {
    const rows = this.#database.query("SELECT rowid, id, bytes FROM contract").all();
    return ScdTree.EMPTY.with((rows as EntryRow[]).map(leafOf)).root;
  }

  tip(): Height {
    const row = this.#database.query("SELECT max(height) AS tip FROM header").get();
    return ((row as { tip: number | null }).tip ?? 0) as Height;
  }

  /** How far the chain went when it was last written; undefined: that is damaged. */
  get writtenTip(): Height | undefined {
    return this.#extent?.tip as Height | undefined;
  }

  /** All blocks, ascending; undefined for one that is damaged or missing. */
  *blocks(): Generator<Block | undefined> {
    const tip = this.tip();
    for (let height = 1; height <= tip; height++) {
      const block = this.history.at(height as Height);
      yield block !== undefined && isWhole(block, height) ? block : undefined;
    }
  }

  /** In the order they were written; those that can be read. */
  log(): LogEntry[] {
    return readVotes(this.#database).flatMap((entry) => entry ?? []);
  }

  areVotesDamaged(): boolean {
    return areVotesDamaged(this.#database);
  }

  /** What SQLite itself finds wrong with the file. */
  structureFault(): string | undefined {
    return structureFault(this.#database);
  }

  membershipRoot(): Hash {
    const rows = this.#database.query("SELECT bytes FROM member ORDER BY id").all();
    return rootOf((rows as { bytes: Uint8Array }[]).map(({ bytes }) => leafBytes(bytes)));
  }

  /** Contracts and members as this state has them. */
  rewrite(chain: ChainState): void {
    this.#database.transaction(() => {
      this.#putContracts(chain);
      this.#putMembers(chain);
    })();
  }

  /**
   * Votes may be lost: what is readable and holds beyond a height is kept, and with it, in one
   * transaction, that this node observes (rule 8). Headers above `tip` go: they are no blocks.
   */
  forget(tip: Height, alsoKept: readonly LogEntry[]): void {
    const isKept = ({ kind }: LogEntry): boolean => kind === "term" || kind === "stopped";
    const kept = [...this.log().filter(isKept), ...alsoKept, OBSERVING];
    this.#extent = this.#database.transaction(() => {
      this.#database.run("DELETE FROM vote");
      for (const table of ["header", "block"]) {
        this.#database.query(`DELETE FROM ${table} WHERE height > ?`).run(tip);
      }
      for (const entry of kept) this.#insertVote(entry);
      return this.#putExtent({ tip, votes: kept.length });
    })();
  }

  /** Hashes that blocks are found by: those that are not their headers' are put right. */
  repairHashes(): string[] {
    const wrong: string[] = [];
    const rows = this.#database.query("SELECT height, hash, bytes, digest FROM header").all();
    for (const { height, hash, bytes, digest } of rows as HeaderRow[]) {
      const header = headerOf(bytes, digest);
      if (header === undefined) continue;
      const right = blockHashOf(header.core);
      if (hash === right) continue;
      wrong.push(`the hash that block ${height} is found by was put right`);
      this.#database.query("UPDATE header SET hash = ? WHERE height = ?").run(right, height);
    }
    return wrong;
  }

  /** Hash of a block by its row, though the rest of it be damaged. */
  hashAt(height: Height): BlockHash | undefined {
    const row = this.#database.query("SELECT hash FROM header WHERE height = ?").get(height);
    const hash = (row as { hash: unknown } | null)?.hash;
    return typeof hash === "string" && /^[0-9a-f]{64}$/.test(hash)
      ? (hash as BlockHash)
      : undefined;
  }

  /** What was saved is synced, where the disk takes it: nobody was told of it. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    try {
      this.sync();
    } finally {
      this.#database.close();
    }
  }

  /** Tables, at their newest version; true where the file was empty. */
  #prepare(genesis: ChainState, hasRun: boolean): boolean {
    const database = this.#database;
    database.run("PRAGMA journal_mode = WAL");
    database.run("PRAGMA synchronous = FULL");
    database.run(`PRAGMA cache_size = -${CACHE_KIB}`);
    database.run(`PRAGMA wal_autocheckpoint = ${CHECKPOINT_PAGES}`);
    const version = storedVersion(database);
    requireVersion(this.file, Math.max(version, MIGRATIONS.length), MIGRATIONS.length);
    const isNew = version === 0;
    database.transaction(() => {
      migrate(database, MIGRATIONS, version);
      if (!isNew) return;
      database.query("INSERT INTO meta VALUES ('chain_id', ?)").run(genesis.chainId);
      // With the tables or not at all: a crash between them would let a wiped node vote.
      if (hasRun) this.#insertVote(OBSERVING);
      this.#putExtent({ tip: 0, votes: hasRun ? 1 : 0 });
    })();
    return isNew;
  }

  /** A block tells as well which chain it is of: then it is the row that is damaged. */
  #requireChain({ chainId }: ChainState, isWriter: boolean): void {
    const row = this.#database.query("SELECT value FROM meta WHERE name = 'chain_id'").get();
    const found = (row as { value: string } | null)?.value;
    if (found === chainId) return;
    if (this.history.at(1 as Height)?.core.chainId !== chainId) {
      throw chainOther(this.file, found, chainId);
    }
    if (!isWriter) return;
    this.#database.run("DELETE FROM meta");
    this.#database.query("INSERT INTO meta VALUES ('chain_id', ?)").run(chainId);
    this.findings.push("the chain id was damaged: it was put right");
  }

  #putExtent(extent: Extent): Extent {
    this.#database
      .query("INSERT OR REPLACE INTO extent VALUES (1, ?, ?, ?)")
      .run(extent.tip, extent.votes, extentDigest(extent));
    return extent;
  }

  #save(output: SavedOutput, { tip, votes }: Extent): Extent {
    switch (output.kind) {
      case "write":
        return { tip, votes: votes + this.#write(output.entry) };
      case "block": {
        const { block, next } = output;
        this.#insertBlock(block);
        this.#change(next);
        const dropped = this.#run("DELETE FROM vote WHERE height <= ?", next.height);
        return { tip: Math.max(tip, next.height), votes: votes - dropped };
      }
      case "restore":
        this.#insertBlock(output.block);
        return { tip, votes };
      case "repair":
        this.#putContracts(output.chain);
        return { tip, votes };
    }
  }

  /** How many more there are now. */
  #write(entry: LogEntry): number {
    const isOther = entry.kind === "observing" || entry.kind === "parked";
    const dropped = isOther ? this.#run("DELETE FROM vote WHERE kind = ?", entry.kind) : 0;
    this.#insertVote(entry);
    return 1 - dropped;
  }

  #run(statement: string, value: string | number): number {
    return this.#database.query(statement).run(value).changes;
  }

  #insertVote(entry: LogEntry): void {
    const height = heightOfEntry(entry) ?? null;
    const bytes = encodeLogEntry(entry);
    this.#database
      .query("INSERT INTO vote (height, kind, bytes, digest) VALUES (?, ?, ?, ?)")
      .run(height, entry.kind, bytes, voteDigest({ height, kind: entry.kind, bytes }));
  }

  #insertBlock(block: Block): void {
    const header = new ByteWriter();
    writeHeader(header, block);
    const body = new ByteWriter(bodySize(block.body));
    writeBody(body, block.body);
    const { height } = block.core;
    const bytes = header.finish();
    this.#database
      .query("INSERT OR REPLACE INTO header VALUES (?, ?, ?, ?)")
      .run(height, blockHashOf(block.core), bytes, sha256(bytes));
    this.#database.query("INSERT OR REPLACE INTO block VALUES (?, ?)").run(height, body.finish());
  }

  /** The contracts that the tip touched, and the members, as they are after it. */
  #change(next: ChainState): void {
    // In the order of the index, so that each of its pages is looked at once.
    this.#changeContracts([...next.scdChanges].sort(byId));
    if (this.#membershipRoot !== next.core.membershipRoot) this.#putMembers(next);
  }

  #changeContracts(changes: Iterable<ScdChange>): void {
    const put = this.#database.query("INSERT OR REPLACE INTO contract VALUES (?, ?)");
    const remove = this.#database.query("DELETE FROM contract WHERE id = ?");
    for (const { id, entry } of changes) {
      if (entry !== undefined) put.run(id, entry.bytes);
      else remove.run(id);
    }
  }

  #putContracts(chain: ChainState): void {
    this.#database.run("DELETE FROM contract");
    this.#changeContracts(chain.scd.entries().map((entry) => ({ id: entry.id, entry })));
  }

  #putMembers(chain: ChainState): void {
    this.#database.run("DELETE FROM member");
    const insert = this.#database.query("INSERT INTO member VALUES (?, ?)");
    for (const { id, bytes } of membershipLeaves(chain)) insert.run(id, bytes);
    this.#membershipRoot = chain.core.membershipRoot;
  }

  /** The stretch of the chain that is looked at next. */
  *#nextChecked(tip: number): Generator<Height> {
    const from = this.#checkedUpTo >= tip ? 1 : this.#checkedUpTo + 1;
    this.#checkedUpTo = Math.min(tip, from + CHECKED_BLOCKS - 1);
    for (let height = from; height <= this.#checkedUpTo; height++) yield height as Height;
  }
}

function leafOf({ id, bytes }: EntryRow) {
  const isRow = typeof id === "string" && bytes instanceof Uint8Array;
  return { id: String(id), entry: scdEntry(String(id), isRow ? bytes : NOTHING) };
}

/** Sockets and timers first. */
function turnOfOthers(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function byId(one: ScdChange, other: ScdChange): number {
  return one.id < other.id ? -1 : 1;
}
