/**
 * The journal on a disk: what is saved is read back, all or nothing; what somebody changed in the
 * file is found; what does not belong to this chain or program is refused with words.
 */
import { Database } from "bun:sqlite";
import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Block } from "../../src/chain/block.ts";
import type { ChainState } from "../../src/chain/chain-state.ts";
import type { Height } from "../../src/chain/ledger-units.ts";
import type { LogEntry } from "../../src/chain/step-types.ts";
import { replayChain } from "../../src/node/chain-replay.ts";
import { decodeLogEntry, encodeLogEntry } from "../../src/node/log-entry-codec.ts";
import { SqliteJournal } from "../../src/node/sqlite-journal.ts";
import { ChainBuilder, contractOf, NobleKeys } from "../chain/chain-builder.ts";
import { SmallNetwork } from "../chain/small-network.ts";

const builder = new ChainBuilder(new NobleKeys(4), 4);
for (let i = 0; i < 3; i++) builder.add({ contracts: [contractOf(i), contractOf(10 + i)] });
const genesis = builder.states[0] as ChainState;
let dir = "";
let file = "";

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "abs-journal-"));
  file = join(dir, "scd.sqlite");
});
afterEach(() => rmSync(dir, { recursive: true }));

function filled(): SqliteJournal {
  const journal = new SqliteJournal(file, genesis, "write");
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
  const journal = new SqliteJournal(file, genesis, "read");
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
    damaged: [],
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
  const entries: LogEntry[] = [
    ...realEntries(),
    { kind: "observing", isOn: true },
    { kind: "observing", isOn: false },
    { kind: "sealed", height: 7 as Height, blockHash },
    { kind: "stopped", reason: "two sealed blocks" },
  ];
  expect(new Set(entries.map(({ kind }) => kind)).size).toBeGreaterThanOrEqual(6);
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
  const journal = new SqliteJournal(file, genesis, "write");
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

test("what is saved is read back at once, and is on the disk after a sync", () => {
  const journal = new SqliteJournal(file, genesis, "write");
  const [first, second] = builder.blocks as [Block, Block];
  journal.save([{ kind: "block", block: first, next: builder.states[1] as ChainState }]);
  journal.save([{ kind: "block", block: second, next: builder.states[2] as ChainState }]);
  expect(journal.tip()).toBe(2 as Height);
  const other = new SqliteJournal(file, genesis, "read");
  expect(other.tip()).toBe(0 as Height);
  journal.sync();
  expect(other.tip()).toBe(2 as Height);
  other.close();
  journal.close();
});

test("what fails half-way has saved nothing", () => {
  const journal = new SqliteJournal(file, genesis, "write");
  const entry: LogEntry = { kind: "stopped", reason: "test" };
  const broken = { kind: "block", block: undefined, next: undefined } as never;
  expect(() => journal.save([{ kind: "write", entry }, broken])).toThrow();
  expect(journal.log()).toEqual([]);
  journal.close();
});

test("a changed entry of the SCD gives another root, and repair the right one", async () => {
  const journal = filled();
  meddle("UPDATE entry SET bytes = CAST(replace(bytes, 'true', 'false') AS BLOB)");
  expect((await journal.recompute())?.scdRoot).not.toBe(builder.state.scd.root);
  journal.save([{ kind: "repair", chain: builder.state }]);
  journal.sync();
  expect((await journal.recompute())?.scdRoot).toBe(builder.state.scd.root);
  journal.close();
});

test("a changed body is named by its height, and a restored one is not", async () => {
  const journal = filled();
  meddle("UPDATE block SET body = x'00000000' WHERE height = 2");
  expect((await journal.recompute())?.damaged).toEqual([2 as Height]);
  const [, block] = builder.blocks;
  if (block === undefined) throw new Error("no block");
  journal.save([{ kind: "restore", block }]);
  journal.sync();
  expect((await journal.recompute())?.damaged).toEqual([]);
  journal.close();
});

test("the root is that of one state, though blocks are saved while it is read", async () => {
  const journal = new SqliteJournal(file, genesis, "write");
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

const damages = [
  "UPDATE block SET body = x'00000000' WHERE height = 2",
  "DELETE FROM block WHERE height = 1",
  "UPDATE block SET header = x'00' WHERE height = 3",
  "UPDATE block SET header = (SELECT header FROM block WHERE height = 1) WHERE height = 3",
];
test.each(damages)("a start finds %s", (statement) => {
  filled().close();
  meddle(statement);
  const journal = new SqliteJournal(file, genesis, "read");
  expect(() => replayChain(genesis, journal.blocks(), builder.crypto)).toThrow("does not hold");
  journal.close();
});

test("another chain's, a newer version's and a broken file are refused with words", () => {
  filled().close();
  const other = new ChainBuilder(new NobleKeys(9), 1).states[0] as ChainState;
  expect(() => new SqliteJournal(file, other, "write")).toThrow("genesis.json");
  meddle("UPDATE meta SET value = '2' WHERE name = 'version'");
  expect(() => new SqliteJournal(file, genesis, "write")).toThrow("version 2");
  writeFileSync(file, readFileSync(file).fill(0x55));
  expect(() => new SqliteJournal(file, genesis, "write")).toThrow("cannot be used");
  expect(() => new SqliteJournal(join(dir, "absent"), genesis, "read")).toThrow("cannot be used");
});
