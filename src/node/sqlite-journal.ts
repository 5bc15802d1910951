/**
 * The journal in SQLite: headers and bodies of blocks, contracts and members as they now are, and
 * the vote log. WAL with synchronous FULL: a transaction that returned is on the disk.
 * design/ledger.md "Agreement" rules 2, 3 and 8. What is wrong with a file is found here;
 * journal-repair.ts says what is done about it, journal-schema.ts has the tables.
 */
import { Database } from "bun:sqlite";
import { equalBytes } from "../bytes.ts";
import { contractWords } from "../chain/apply-block.ts";
import type { Block } from "../chain/block.ts";
import { blockHashOf } from "../chain/block-core.ts";
import { ByteReader, ByteWriter } from "../chain/byte-codec.ts";
import { readBody, writeBody } from "../chain/certificate-codec.ts";
import type { ChainState } from "../chain/chain-state.ts";
import { decodeContract } from "../chain/contract-entry.ts";
import type { BlockHash, Hash, Height } from "../chain/ledger-units.ts";
import { leafBytes, rootOf } from "../chain/merkle.ts";
import { readHeader, writeHeader } from "../chain/message-parts.ts";
import { decodeRecord } from "../chain/record-schema.ts";
import { ScdTree, scdEntry, signatureEntryId } from "../chain/scd-tree.ts";
import { sha256 } from "../chain/sha256.ts";
import { membershipLeaves } from "../chain/state-roots.ts";
import type { LogEntry } from "../chain/step-types.ts";
import { migrate, structureFault } from "../store/migrations.ts";
import {
  descriptionFault,
  type Extent,
  extentDigest,
  MIGRATIONS,
  storedVersion,
  type VoteWords,
  voteDigest,
} from "./journal-schema.ts";
import type { LedgerJournal, Recomputed, SavedOutput } from "./ledger-journal.ts";
import { decodeLogEntry, encodeLogEntry, heightOfEntry } from "./log-entry-codec.ts";
import { chainOther, requireVersion, storeDamaged, unusable } from "./store-errors.ts";

/** Blocks looked at in one check; the next goes on from there. */
const CHECKED_BLOCKS = 256;
const NOTHING = new Uint8Array(0);
const OBSERVING: LogEntry = { kind: "observing", isOn: true };

export type JournalAccess = {
  readonly kind: "write" | "read";
  /** The keys have signed before: a file that is new then stands for one that was lost. */
  readonly hasRun: boolean;
};

export class SqliteJournal implements LedgerJournal {
  readonly history = {
    at: (height: Height) => this.#block("header.height = ?", height),
    find: (blockHash: BlockHash) => this.#block("hash = ?", blockHash),
  };
  /** There was nothing in the file. */
  readonly isNew: boolean = false;
  /** What was damaged, and is put right already. */
  readonly findings: string[] = [];
  readonly #database: Database;
  #checkedUpTo = 0;
  #membershipRoot: Hash | undefined;
  /** As on the disk; undefined: that row is damaged. */
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
      this.#extent = this.#readExtent();
    } catch (cause) {
      database?.close();
      throw unusable(file, cause);
    }
  }

  save(outputs: readonly SavedOutput[]): void {
    const extent = this.#extent ?? { tip: this.tip(), votes: 0 };
    this.#extent = this.#database.transaction(() => {
      const after = outputs.reduce((before, output) => this.#save(output, before), extent);
      return this.#putExtent(after);
    })();
  }

  recompute(): Recomputed {
    const { bodies, headers } = this.#damaged();
    const broken = headers.map((height) => `the header of block ${height} is damaged`);
    if (this.areVotesDamaged()) broken.push("votes are missing or damaged");
    return { height: this.tip(), scdRoot: this.scdRoot(), damaged: bodies, broken: broken[0] };
  }

  /** Of the contracts as they lie on the disk. */
  scdRoot(): Hash {
    const rows = this.#database.query("SELECT id, bytes FROM contract").all() as EntryRow[];
    const changes = rows.map(({ id, bytes }) => {
      const isRow = typeof id === "string" && bytes instanceof Uint8Array;
      return { id: String(id), entry: scdEntry(String(id), isRow ? bytes : NOTHING) };
    });
    return ScdTree.EMPTY.with(changes).root;
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
    return this.#votes().flatMap(({ entry }) => entry ?? []);
  }

  areVotesDamaged(): boolean {
    const votes = this.#votes();
    return votes.length !== this.#readExtent()?.votes || votes.some(({ entry }) => !entry);
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
    for (const block of this.blocks()) {
      if (block === undefined) continue;
      const { height } = block.core;
      const right = blockHashOf(block.core);
      if (this.hashAt(height) === right) continue;
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

  close(): void {
    this.#database.close();
  }

  /** Tables, at their newest version; true where the file was empty. */
  #prepare(genesis: ChainState, hasRun: boolean): boolean {
    const database = this.#database;
    database.run("PRAGMA journal_mode = WAL");
    database.run("PRAGMA synchronous = FULL");
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

  #readExtent(): Extent | undefined {
    const row = this.#database.query("SELECT tip, votes, digest FROM extent").get();
    if (row === null) return undefined;
    const extent = row as Extent & { readonly digest: unknown };
    return isDigest(extent.digest, extentDigest(extent)) ? extent : undefined;
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
        this.#change(block, next);
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

  #votes(): { readonly entry: LogEntry | undefined }[] {
    const rows = this.#database
      .query("SELECT height, kind, bytes, digest FROM vote ORDER BY number")
      .all() as (VoteWords & { readonly digest: unknown })[];
    return rows.map((row) => {
      const isBlob = row.bytes instanceof Uint8Array;
      const isRight = isBlob && isDigest(row.digest, voteDigest(row));
      return { entry: isRight ? decodeLogEntry(row.bytes) : undefined };
    });
  }

  #insertBlock(block: Block): void {
    const header = new ByteWriter();
    writeHeader(header, block);
    const body = new ByteWriter();
    writeBody(body, block.body);
    const { height } = block.core;
    const bytes = header.finish();
    this.#database
      .query("INSERT OR REPLACE INTO header VALUES (?, ?, ?, ?)")
      .run(height, blockHashOf(block.core), bytes, sha256(bytes));
    this.#database.query("INSERT OR REPLACE INTO block VALUES (?, ?)").run(height, body.finish());
  }

  /** The contracts that a block touched, and the members, as they are after it. */
  #change({ body }: Block, next: ChainState): void {
    for (const id of touchedIds(body)) {
      const entry = next.scd.find(id);
      if (entry !== undefined) this.#putContract(id, entry.bytes);
      else this.#database.query("DELETE FROM contract WHERE id = ?").run(id);
    }
    if (this.#membershipRoot !== next.core.membershipRoot) this.#putMembers(next);
  }

  #putContract(id: string, bytes: Uint8Array): void {
    this.#database.query("INSERT OR REPLACE INTO contract VALUES (?, ?)").run(id, bytes);
  }

  #putContracts(chain: ChainState): void {
    this.#database.run("DELETE FROM contract");
    for (const { id, bytes } of chain.scd.entries()) this.#putContract(id, bytes);
  }

  #putMembers(chain: ChainState): void {
    this.#database.run("DELETE FROM member");
    const insert = this.#database.query("INSERT INTO member VALUES (?, ?)");
    for (const { id, bytes } of membershipLeaves(chain)) insert.run(id, bytes);
    this.#membershipRoot = chain.core.membershipRoot;
  }

  #block(where: string, value: number | string): Block | undefined {
    const row = this.#database
      .query(
        `SELECT header.bytes AS header, digest, block.bytes AS body
         FROM header LEFT JOIN block USING (height) WHERE ${where}`,
      )
      .get(value);
    return row === null ? undefined : blockOf(row as BlockRow);
  }

  /** Of a stretch of the chain: what does not give the roots and digests it has. */
  #damaged(): { readonly bodies: Height[]; readonly headers: Height[] } {
    const tip = Math.max(this.tip(), this.writtenTip ?? 0);
    const from = this.#checkedUpTo >= tip ? 1 : this.#checkedUpTo + 1;
    this.#checkedUpTo = Math.min(tip, from + CHECKED_BLOCKS - 1);
    const [bodies, headers]: [Height[], Height[]] = [[], []];
    for (let at = from; at <= this.#checkedUpTo; at++) {
      const height = at as Height;
      const block = this.history.at(height);
      if (block === undefined || block.core.height !== height) headers.push(height);
      else if (!isWhole(block, height)) bodies.push(height);
    }
    return { bodies, headers };
  }
}

type EntryRow = { readonly id: unknown; readonly bytes: unknown };
/** Whatever somebody may have written into the columns. */
type BlockRow = { readonly header: unknown; readonly digest: unknown; readonly body: unknown };

function isDigest(stored: unknown, right: Uint8Array): boolean {
  return stored instanceof Uint8Array && equalBytes(stored, right);
}

function blockOf({ header, digest, body }: BlockRow): Block | undefined {
  if (!(header instanceof Uint8Array) || !isDigest(digest, sha256(header))) return undefined;
  const headerReader = new ByteReader(header);
  const sealed = readHeader(headerReader);
  headerReader.end();
  if (headerReader.fault !== undefined) return undefined;
  const none = { contracts: [], records: [] };
  if (!(body instanceof Uint8Array)) return { ...sealed, body: none };
  const bodyReader = new ByteReader(body);
  const found = readBody(bodyReader);
  bodyReader.end();
  // A damaged body is an empty one: its roots do not fit, and it is fetched again.
  return { ...sealed, body: bodyReader.fault === undefined ? found : none };
}

function isWhole({ core, body }: Block, height: number): boolean {
  if (core.height !== height) return false;
  const { merkleRoot } = contractWords(core.chainId, core.height, body.contracts);
  return merkleRoot === core.merkleRoot && rootOf(body.records.map(leafBytes)) === core.recordsRoot;
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
