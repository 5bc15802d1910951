/**
 * A journal whose bits have changed: what a start makes of it. Contracts and members are written
 * anew, a block is fetched, and where votes may be lost the node observes. Whatever bit it is, a
 * node never begins with fewer votes or a lower tip than it had without knowing it.
 */
import { Database } from "bun:sqlite";
import { afterEach, beforeEach, expect, test } from "bun:test";
import {
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ChainState } from "../../src/chain/chain-state.ts";
import type { Height, NodeId } from "../../src/chain/ledger-units.ts";
import type { LogEntry } from "../../src/chain/step-types.ts";
import { AbsError } from "../../src/errors.ts";
import { type OpenedJournal, type SavedOutput, SOUND } from "../../src/node/ledger-journal.ts";
import { heightOfEntry } from "../../src/node/log-entry-codec.ts";
import { SqliteJournal } from "../../src/node/sqlite-journal.ts";
import { openJournal } from "../../src/node/store-journal.ts";
import { contractOf, NobleKeys } from "../chain/chain-builder.ts";
import { SmallNetwork } from "../chain/small-network.ts";
import { Prng } from "../prng.ts";

const TIP = 6;
const FLIPS = Number(process.env["FLIPS"] ?? 400);
const network = new SmallNetwork(new NobleKeys(4), 4);
const { disk } = network.seat(network.members[0] as NodeId);
for (let i = 1; i <= TIP; i++) {
  network.propose(contractOf(i), contractOf(100 + i));
  network.run(100);
}
// The next is voted on, and not sealed.
network.tamper = (_from, _to, message) => (message.kind === "RESULT" ? undefined : message);
network.propose(contractOf(50));
network.run(3000);
const genesis = network.builder.states[0] as ChainState;
const { crypto: curves } = network.builder;
const tip = stateAt(TIP);
const VOTES = disk.log.filter((entry) => (heightOfEntry(entry) ?? TIP + 1) > TIP);
let dir = "";
let file = "";

function stateAt(height: number): ChainState {
  const state = disk.states.get(height as Height);
  if (state === undefined) throw new Error(`not at height ${height}`);
  return state;
}

function saved(height: number): SavedOutput {
  const block = disk.at(height as Height);
  if (block === undefined) throw new Error(`no block ${height}`);
  return { kind: "block", block, next: stateAt(height) };
}

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "abs-repair-"));
  file = join(dir, "scd.sqlite");
  fill();
});
afterEach(() => rmSync(dir, { recursive: true }));

function fill(): void {
  const journal = new SqliteJournal(file, genesis, { kind: "write", hasRun: false });
  for (let height = 1; height <= TIP; height++) journal.save([saved(height)]);
  journal.save(VOTES.map((entry) => ({ kind: "write", entry })));
  journal.close();
}

function open(): OpenedJournal {
  return openJournal({ file, genesis, crypto: curves, hasRun: true });
}

/** Opened, looked at and closed. */
function opened() {
  const { journal, contents, condition = SOUND } = open();
  const { chain, log } = contents;
  const recomputed = journal.recompute();
  journal.close();
  return { height: chain.height as number, log, recomputed, ...condition };
}

/** As somebody with a shell would. */
function meddle(statement: string): void {
  const database = new Database(file);
  database.run(statement);
  database.close();
}

test("a file that is whole is taken as it is", () => {
  expect(opened()).toMatchObject({ height: TIP, findings: [], mayHaveForgotten: false });
  expect(opened().log).toEqual(VOTES);
});

const TABLES = [
  "UPDATE contract SET bytes = CAST(replace(bytes, 'true', 'false') AS BLOB)",
  "DELETE FROM contract",
  "UPDATE contract SET id = 'no such id' WHERE rowid = 1",
  "INSERT INTO contract VALUES (17, 'text')",
  "UPDATE member SET bytes = x'00' WHERE id = 'params'",
  "UPDATE header SET hash = 'x' WHERE height = 3",
  "UPDATE meta SET value = replace(value, 'a', 'b')",
];
test.each(TABLES)("what the chain says anyway is written anew, and reported: %s", (statement) => {
  meddle(statement);
  const first = opened();
  expect(first.findings).toHaveLength(1);
  expect(first).toMatchObject({ height: TIP, mayHaveForgotten: false, lacks: undefined });
  expect(first.recomputed.scdRoot).toBe(tip.scd.root);
  expect(first.log).toEqual(VOTES);
  expect(opened().findings).toEqual([]);
});

const BLOCKS = [
  "UPDATE block SET bytes = x'00000000' WHERE height = 3",
  "UPDATE block SET bytes = 'text' WHERE height = 3",
  "UPDATE header SET bytes = x'00' WHERE height = 3",
  "UPDATE header SET bytes = (SELECT bytes FROM header WHERE height = 1) WHERE height = 3",
  "DELETE FROM header WHERE height = 3",
  "DELETE FROM block WHERE height = 3",
];
test.each(BLOCKS)(
  "a block that peers have is fetched, and no vote is forgotten: %s",
  (statement) => {
    meddle(statement);
    const found = opened();
    expect(found).toMatchObject({ height: 2, lacks: 3, mayHaveForgotten: false });
    expect(found.findings.join()).toContain("block 3");
    expect(found.log).toEqual(VOTES);
    // It comes, and all that lay above it counts again.
    const { journal } = open();
    journal.save([saved(3)]);
    journal.close();
    const again = opened();
    expect(again).toMatchObject({ height: TIP, lacks: undefined, mayHaveForgotten: false });
    expect(again.log).toEqual(VOTES);
    expect(again.recomputed.scdRoot).toBe(tip.scd.root);
  },
);

const VOTE_DAMAGES = [
  "UPDATE vote SET bytes = x'00' WHERE number = 1",
  "UPDATE vote SET height = 3 WHERE number = 1",
  "UPDATE vote SET digest = x'00' WHERE number = 2",
  "DELETE FROM vote WHERE number = (SELECT max(number) FROM vote)",
  "DELETE FROM vote",
  "UPDATE extent SET votes = votes + 1",
  "DELETE FROM extent",
];
test.each(VOTE_DAMAGES)("where votes may be lost the node observes: %s", (statement) => {
  meddle(statement);
  const found = opened();
  expect(found).toMatchObject({ height: TIP, lacks: undefined, mayHaveForgotten: true });
  expect(found.findings.length).toBeGreaterThan(0);
  expect(found.log).toEqual([{ kind: "observing", isOn: true }]);
  // It goes on observing after another start, without a word.
  expect(opened()).toMatchObject({ findings: [], mayHaveForgotten: true });
});

test("a damaged tip: the chain begins below it, the node observes, a master seals no other hash", () => {
  meddle(`UPDATE header SET bytes = x'00' WHERE height = ${TIP}`);
  const found = opened();
  expect(found).toMatchObject({ height: TIP - 1, lacks: undefined, mayHaveForgotten: true });
  expect(found.log).toContainEqual({
    kind: "sealed",
    height: TIP as Height,
    blockHash: tip.blockHash,
  });
  expect(opened()).toMatchObject({ height: TIP - 1, findings: [] });
});

test("what must outlive a lost vote log does: the alarm that stopped the node", () => {
  const journal = new SqliteJournal(file, genesis, { kind: "write", hasRun: true });
  const stopped: LogEntry = { kind: "stopped", reason: "two sealed blocks" };
  journal.save([{ kind: "write", entry: stopped }]);
  journal.close();
  meddle("UPDATE vote SET bytes = x'00' WHERE number = 1");
  expect(opened().log).toEqual([stopped, { kind: "observing", isOn: true }]);
});

const FILES: readonly [string, () => void][] = [
  ["overwritten", () => writeFileSync(file, readFileSync(file).fill(0x55))],
  ["cut to a half", () => truncateSync(file, readFileSync(file).length >> 1)],
  ["cut within a page", () => truncateSync(file, 5000)],
  ["empty", () => truncateSync(file, 0)],
  ["gone", () => rmSync(file)],
];
test.each(FILES)(
  "a file that is %s is a lost disk: the node observes from the genesis on",
  (name, harm) => {
    harm();
    const found = opened();
    expect(found).toMatchObject({ height: 0, mayHaveForgotten: true, lacks: undefined });
    expect(found.findings).toHaveLength(1);
    expect(existsSync(`${file}.damaged`)).toBe(name !== "empty" && name !== "gone");
    expect(opened()).toMatchObject({ findings: [], mayHaveForgotten: true });
  },
);

test("keys that never signed begin with an empty file, and may vote", () => {
  rmSync(file);
  const { journal, condition } = openJournal({
    ...{ file, genesis, crypto: curves, hasRun: false },
  });
  journal.close();
  expect(condition).toEqual({ findings: [], mayHaveForgotten: false, lacks: undefined });
});

/** As a kill leaves it: with a log that was never taken over. Gives where each transaction ends. */
function fillAndKill(last: readonly SavedOutput[] = []): number[] {
  for (const end of ["", "-wal", "-shm"]) rmSync(file + end, { force: true });
  const journal = new SqliteJournal(file, genesis, { kind: "write", hasRun: false });
  const ends: number[] = [];
  for (let height = 1; height <= TIP; height++) {
    journal.save([saved(height)]);
    ends.push(readFileSync(`${file}-wal`).length);
  }
  journal.save(VOTES.map((entry) => ({ kind: "write", entry })));
  if (last.length > 0) journal.save(last);
  const [main, wal] = [readFileSync(file), readFileSync(`${file}-wal`)];
  journal.close();
  writeFileSync(file, main);
  writeFileSync(`${file}-wal`, wal);
  rmSync(`${file}-shm`, { force: true });
  return ends;
}

test("a log that a kill left behind is taken over whole", () => {
  fillAndKill();
  expect(opened()).toMatchObject({ height: TIP, log: VOTES, findings: [] });
});

test("the torn end of a write is no damage: it was promised to nobody", () => {
  const ends = fillAndKill();
  for (const cut of [1, 3000, 4120]) {
    fillAndKill();
    truncateSync(`${file}-wal`, readFileSync(`${file}-wal`).length - cut);
    expect(opened()).toMatchObject({ height: TIP, log: [], mayHaveForgotten: false });
  }
  fillAndKill();
  truncateSync(`${file}-wal`, ends[2] ?? 0);
  expect(opened()).toMatchObject({ height: 3, log: [], mayHaveForgotten: false });
});

test("what a transaction left that never came to its end is no damage later", () => {
  const FRAME_BYTES = 24 + 4096;
  const again = [...VOTES, ...VOTES, ...VOTES, ...VOTES];
  fillAndKill(again.map((entry) => ({ kind: "write", entry })));
  // All of a transaction of many frames but its last, which commits.
  truncateSync(`${file}-wal`, readFileSync(`${file}-wal`).length - FRAME_BYTES);
  const journal = new SqliteJournal(file, genesis, { kind: "write", hasRun: true });
  const entry: LogEntry = { kind: "observing", isOn: false };
  journal.save([{ kind: "write", entry }]);
  const [main, wal] = [readFileSync(file), readFileSync(`${file}-wal`)];
  journal.close();
  writeFileSync(file, main);
  writeFileSync(`${file}-wal`, wal);
  rmSync(`${file}-shm`, { force: true });
  expect(opened()).toMatchObject({ height: TIP, log: [...VOTES, entry], findings: [] });
});

test("a bit that changed within the log: what followed is lost, so the node observes", () => {
  const [, second = 0, third = 0] = fillAndKill();
  const prng = new Prng(7);
  const places = [0, 9, 17, 25, second + 1, second + 9, second + 17, second + 21, second + 100];
  for (let i = 0; i < 40; i++) places.push(second + prng.below(third - second));
  for (const at of places) {
    fillAndKill();
    const wal = readFileSync(`${file}-wal`);
    wal[at] = (wal[at] ?? 0) ^ (1 << prng.below(8));
    writeFileSync(`${file}-wal`, wal);
    const found = opened();
    expect([at, found.mayHaveForgotten]).toEqual([at, true]);
    expect(found.findings.length).toBeGreaterThan(0);
  }
});

const seed = Number(process.env["SEED"] ?? crypto.getRandomValues(new Uint32Array(1))[0]);
test(`any flipped bit is repaired, or known, or refused with words (SEED=${seed})`, () => {
  const prng = new Prng(seed);
  const whole = readFileSync(file);
  const outcomes = { untouched: 0, repaired: 0, fetched: 0, observes: 0, refused: 0 };
  for (let i = 0; i < FLIPS; i++) {
    const bit = prng.below(whole.length * 8);
    const bytes = Buffer.from(whole);
    bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    for (const end of ["-wal", "-shm", ".damaged"]) rmSync(file + end, { force: true });
    writeFileSync(file, bytes);
    outcomes[outcomeOf(`bit ${bit}`)]++;
  }
  // Most of a small file is unused space of pages.
  expect(outcomes.untouched).toBeGreaterThan(0);
  expect(outcomes.fetched + outcomes.observes).toBeGreaterThan(0);
});

function outcomeOf(name: string): "untouched" | "repaired" | "fetched" | "observes" | "refused" {
  let found: ReturnType<typeof opened>;
  try {
    found = opened();
  } catch (thrown) {
    if (!(thrown instanceof AbsError)) throw new Error(`${name}: ${thrown}`, { cause: thrown });
    return "refused";
  }
  if (found.mayHaveForgotten) return "observes";
  // No vote is lost unknown.
  expect([name, found.log]).toEqual([name, VOTES]);
  if (found.lacks !== undefined) return "fetched";
  expect([name, found.height]).toEqual([name, TIP]);
  expect([name, found.recomputed.scdRoot]).toEqual([name, tip.scd.root]);
  expect([name, found.recomputed.damaged]).toEqual([name, []]);
  return found.findings.length === 0 ? "untouched" : "repaired";
}
