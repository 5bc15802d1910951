/**
 * The journal on a disk: what is saved is read back, all or nothing; what somebody changed in the
 * file is found; what does not belong to this chain or program is refused with words.
 */
import { Database } from "bun:sqlite";
import { afterEach, beforeEach, expect, test } from "bun:test";
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Block } from "../../src/chain/block.ts";
import type { ChainState } from "../../src/chain/chain-state.ts";
import {
  type Attempt,
  type BlockHash,
  type Height,
  NO_HASH,
} from "../../src/chain/ledger-units.ts";
import type { LogEntry } from "../../src/chain/step-types.ts";
import { replayChain } from "../../src/node/chain-replay.ts";
import { createLedgerCrypto } from "../../src/node/ledger-crypto.ts";
import { decodeLogEntry, encodeLogEntry } from "../../src/node/log-entry-codec.ts";
import { loadGenesis } from "../../src/node/node-folder.ts";
import { SqliteJournal } from "../../src/node/sqlite-journal.ts";
import { openJournal } from "../../src/node/store-journal.ts";
import { ChainBuilder, contractOf, NobleKeys } from "../chain/chain-builder.ts";
import { SmallNetwork } from "../chain/small-network.ts";

const builder = new ChainBuilder(new NobleKeys(4), 4);
for (let i = 0; i < 3; i++) builder.add({ contracts: [contractOf(i), contractOf(10 + i)] });
const genesis = builder.states[0] as ChainState;
const WRITE = { kind: "write", hasRun: false } as const;
const READ = { kind: "read", hasRun: false } as const;
let dir = "";
let file = "";

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "abs-journal-"));
  file = join(dir, "scd.sqlite");
});
afterEach(() => rmSync(dir, { recursive: true }));

function filled(): SqliteJournal {
  const journal = new SqliteJournal(file, genesis, WRITE);
  for (const [i, block] of builder.blocks.entries()) {
    journal.save([{ kind: "block", block, next: builder.states[i + 1] as ChainState }]);
  }
  journal.sync();
  return journal;
}

/** As somebody with a shell would. */
function meddle(statement: string): void {
  const database = new Database(file);
  database.run(statement);
  database.close();
}

test("blocks come back, and give the state that was saved", async () => {
  filled().close();
  const journal = new SqliteJournal(file, genesis, READ);
  const { chain, below, tipProof } = replayChain(genesis, journal.blocks(), builder.crypto);
  expect([chain.height, chain.blockHash]).toEqual([3 as Height, builder.state.blockHash]);
  expect(chain.seal).toEqual(builder.state.seal);
  expect(below?.blockHash).toBe(builder.states[2]?.blockHash as never);
  expect(tipProof).toEqual(builder.blocks[2]?.proof);
  expect(journal.history.find(chain.blockHash)?.core.height).toBe(3 as Height);
  expect(journal.history.at(4 as Height)).toBeUndefined();
  expect(await journal.recompute()).toEqual({
    height: 3 as Height,
    scdRoot: chain.scd.root,
    ...{ damaged: [], broken: undefined },
  });
  journal.close();
});

/** Entries that a real agreement wrote: candidates, votes, locks. */
function realEntries(): LogEntry[] {
  const network = new SmallNetwork(new NobleKeys(5), 4);
  network.tamper = (_from, _to, message) => (message.kind === "RESULT" ? undefined : message);
  network.propose(contractOf(1));
  network.run(5000);
  return [...network.seats.values()].flatMap(({ disk }) => disk.log);
}

test("every kind of log entry is read back as it was, and cut ones are not", () => {
  const blockHash = builder.state.blockHash;
  const height = 7 as Height;
  const entries: LogEntry[] = [
    ...realEntries(),
    { kind: "observing", isOn: true },
    { kind: "observing", isOn: false },
    { kind: "sealed", height, blockHash },
    { kind: "freeze", height, survey: 3 as Attempt, nonce: NO_HASH, isOn: true },
    { kind: "freeze", height, survey: 3 as Attempt, nonce: NO_HASH, isOn: false },
    { kind: "survey", height, survey: 65_535 as Attempt, nonce: NO_HASH },
    { kind: "stopped", reason: "two sealed blocks" },
    { kind: "parked", lines: [] },
    { kind: "parked", lines: genesis.tnl[0]?.value ?? [] },
  ];
  expect(new Set(entries.map(({ kind }) => kind)).size).toBeGreaterThanOrEqual(8);
  for (const entry of entries) {
    const bytes = encodeLogEntry(entry);
    expect(decodeLogEntry(bytes)).toEqual(entry);
    for (const end of [0, 1, bytes.length >> 1, bytes.length - 1]) {
      expect(decodeLogEntry(bytes.subarray(0, end))).toBeUndefined();
    }
  }
});

test("a block drops the votes up to its height, and nothing that must outlive it", () => {
  const { blockHash } = builder.state;
  const journal = new SqliteJournal(file, genesis, WRITE);
  const sealed = (height: number): LogEntry => ({
    kind: "sealed",
    height: height as Height,
    blockHash,
  });
  const stopped: LogEntry = { kind: "stopped", reason: "test" };
  for (const entry of [sealed(1), stopped, sealed(2)]) journal.save([{ kind: "write", entry }]);
  const [block] = builder.blocks;
  if (block === undefined) throw new Error("no block");
  journal.save([{ kind: "block", block, next: builder.states[1] as ChainState }]);
  expect(journal.log()).toEqual([stopped, sealed(2)]);
  journal.close();
});

test("of what a master took off its list the last word is kept, and no other", () => {
  const journal = new SqliteJournal(file, genesis, WRITE);
  const lines = genesis.tnl[0]?.value ?? [];
  for (const kept of [lines, lines.slice(1), lines.slice(0, 1)]) {
    journal.save([{ kind: "write", entry: { kind: "parked", lines: kept } }]);
  }
  expect(journal.log()).toEqual([{ kind: "parked", lines: lines.slice(0, 1) }]);
  journal.close();
});

test("what is saved is read back at once, and is on the disk after a sync", () => {
  const journal = new SqliteJournal(file, genesis, WRITE);
  const [first, second] = builder.blocks as [Block, Block];
  journal.save([{ kind: "block", block: first, next: builder.states[1] as ChainState }]);
  journal.save([{ kind: "block", block: second, next: builder.states[2] as ChainState }]);
  expect(journal.tip()).toBe(2 as Height);
  const other = new SqliteJournal(file, genesis, READ);
  expect(other.tip()).toBe(0 as Height);
  journal.sync();
  expect(other.tip()).toBe(2 as Height);
  other.close();
  journal.close();
});

test("what fails half-way has saved nothing", () => {
  const journal = new SqliteJournal(file, genesis, WRITE);
  const entry: LogEntry = { kind: "stopped", reason: "test" };
  const broken = { kind: "block", block: undefined, next: undefined } as never;
  expect(() => journal.save([{ kind: "write", entry }, broken])).toThrow();
  expect(journal.log()).toEqual([]);
  journal.close();
});

test("a changed entry of the SCD gives another root, and repair the right one", async () => {
  const journal = filled();
  meddle("UPDATE contract SET bytes = CAST(replace(bytes, 'true', 'false') AS BLOB)");
  expect((await journal.recompute())?.scdRoot).not.toBe(builder.state.scd.root);
  journal.save([{ kind: "repair", chain: builder.state }]);
  journal.sync();
  expect((await journal.recompute())?.scdRoot).toBe(builder.state.scd.root);
  journal.close();
});

test("a changed body is named by its height, and a restored one is not", async () => {
  const journal = filled();
  meddle("UPDATE block SET bytes = x'00000000' WHERE height = 2");
  expect((await journal.recompute())?.damaged).toEqual([2 as Height]);
  const [, block] = builder.blocks;
  if (block === undefined) throw new Error("no block");
  journal.save([{ kind: "restore", block }]);
  journal.sync();
  expect((await journal.recompute())?.damaged).toEqual([]);
  journal.close();
});

test("the root is that of one state, though blocks are saved while it is read", async () => {
  const journal = new SqliteJournal(file, genesis, WRITE);
  const [first, second] = builder.blocks as [Block, Block];
  journal.save([{ kind: "block", block: first, next: builder.states[1] as ChainState }]);
  journal.sync();
  const reading = journal.recompute();
  journal.save([{ kind: "block", block: second, next: builder.states[2] as ChainState }]);
  journal.sync();
  const found = await reading;
  expect(found?.height).toBe(1 as Height);
  expect(found?.scdRoot).toBe(builder.states[1]?.scd.root as never);
  journal.close();
});

test("a journal that is closed while it is read gives no root", async () => {
  const journal = filled();
  const reading = journal.recompute();
  journal.close();
  expect(await reading).toBeUndefined();
});

test("another chain's and a newer version's file are refused with words, and left as they are", () => {
  filled().close();
  const other = new ChainBuilder(new NobleKeys(9), 1).states[0] as ChainState;
  expect(() => new SqliteJournal(file, other, WRITE)).toThrow("genesis.json");
  meddle("PRAGMA user_version = 3");
  const before = readFileSync(file);
  expect(() => new SqliteJournal(file, genesis, WRITE)).toThrow("version 3, this program reads 2");
  expect(() => new SqliteJournal(file, genesis, READ)).toThrow("version 3");
  expect(Buffer.compare(readFileSync(file), before)).toBe(0);
  expect(() => new SqliteJournal(join(dir, "absent"), genesis, READ)).toThrow("cannot be used");
});

test("a file that version 1 of the program wrote is taken to the present version, whole", async () => {
  const crypto = createLedgerCrypto();
  const first = join(import.meta.dir, "../data/ledger-version-1");
  const old = loadGenesis(first, crypto);
  copyFileSync(join(first, "scd.sqlite"), file);
  expect(() => new SqliteJournal(file, old, READ)).toThrow("version 1, this program reads 2");
  const { journal, contents, condition } = openJournal({
    ...{ file, genesis: old, crypto, hasRun: true },
  });
  expect(condition).toEqual({ findings: [], mayHaveForgotten: false, lacks: undefined });
  // What the old program printed when it wrote the file.
  const tip = "2c47c2cabe85c20289c13ef78bc9ff8ee11795f443179da50f0c67640d9401a8" as BlockHash;
  expect([contents.chain.height, contents.chain.blockHash]).toEqual([3 as Height, tip]);
  expect(contents.log).toEqual([
    { kind: "observing", isOn: false },
    { kind: "sealed", height: 4 as Height, blockHash: tip },
  ]);
  expect(await journal.recompute()).toMatchObject({ height: 3, damaged: [], broken: undefined });
  journal.close();
  // The second start finds nothing to do.
  expect(new SqliteJournal(file, old, WRITE).tip()).toBe(3 as Height);
});

test("the members are on the disk, and give the sealed root", () => {
  const journal = filled();
  expect(journal.membershipRoot()).toBe(builder.state.core.membershipRoot);
  const rows = new Database(file).query("SELECT id FROM member ORDER BY id").all();
  expect(rows).toHaveLength(4 + 2);
  journal.close();
});
