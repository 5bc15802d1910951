/**
 * Opens a node's journal for writing, with the state that its blocks give, and repairs what is
 * damaged. docs/ledger.md "Disk". What can be recomputed is written anew; a block is fetched from
 * peers, and until it is here the node only catches up; where votes may be lost the node observes,
 * as after a wiped disk; a file that is no database any more is set aside, as a disk that was lost.
 */
import { renameSync, rmSync } from "node:fs";
import type { ChainState } from "../chain/chain-state.ts";
import type { Height } from "../chain/ledger-units.ts";
import { rootOf } from "../chain/merkle.ts";
import type { LogEntry } from "../chain/step-types.ts";
import { messageOf } from "../errors.ts";
import { walFault } from "../store/wal-check.ts";
import { replayChain } from "./chain-replay.ts";
import type { JournalCondition, OpenedJournal, OpenJournal } from "./ledger-journal.ts";
import { SqliteJournal } from "./sqlite-journal.ts";
import { storeDamaged, storeFault } from "./store-errors.ts";

const NO_MEMBERS = rootOf([]);

/** @throws AbsError for what no repair helps: another chain, a newer version, a full disk */
export const openJournal: OpenJournal = (words) => {
  try {
    return open(words, []);
  } catch (thrown) {
    if (storeFault(thrown) !== "damaged") throw thrown;
    // As a disk that was lost: it observes, and fetches all.
    return open({ ...words, hasRun: true }, [setAside(words.file, messageOf(thrown))]);
  }
};

function open(words: Parameters<OpenJournal>[0], before: readonly string[]): OpenedJournal {
  const { file, genesis, hasRun } = words;
  // Before SQLite opens it: that drops what does not fit.
  const tailFault = walFault(file);
  const journal = new SqliteJournal(file, genesis, { kind: "write", hasRun });
  try {
    const fault = journal.structureFault();
    if (fault !== undefined) throw storeDamaged(file, fault);
    return examined(journal, words, before, tailFault);
  } catch (thrown) {
    journal.close();
    throw thrown;
  }
}

/** Only one is kept, or they would fill the disk. */
function setAside(file: string, why: string): string {
  renameSync(file, `${file}.damaged`);
  for (const end of ["-wal", "-shm"]) rmSync(file + end, { force: true });
  return `${why.replace(/\.$/, "")}; it was set aside as ${file}.damaged`;
}

function examined(
  journal: SqliteJournal,
  { genesis, crypto, hasRun }: Parameters<OpenJournal>[0],
  before: readonly string[],
  tailFault: string | undefined,
): OpenedJournal {
  const findings = [...before, ...journal.findings];
  const isLost = journal.isNew && hasRun;
  if (isLost && before.length === 0) findings.push("nothing of the chain is on the disk");
  const { fault, ...replayed } = replayChain(genesis, journal.blocks(), crypto);
  const top = fault === undefined ? replayed.chain.height : intactTip(journal);
  const lost = whatIsLost(journal, top);
  if (tailFault !== undefined) lost.push(tailFault);
  findings.push(...lost);
  // Nothing on the disk tells how far it went, or what it signed there.
  if (lost.length > 0) journal.forget(top, sealedAbove(journal, top));
  const lacks = fault !== undefined && fault.height <= top ? fault.height : undefined;
  if (lacks === undefined) findings.push(...repairTables(journal, replayed.chain));
  else findings.push(`block ${lacks}: ${fault?.why}; it is fetched again`);
  const log = journal.log();
  const condition: JournalCondition = {
    findings,
    mayHaveForgotten: log.some((entry) => entry.kind === "observing" && entry.isOn),
    lacks,
  };
  return { journal, contents: { ...replayed, log }, condition };
}

/** Why what this node signed may not all be known any more; empty: it is. */
function whatIsLost(journal: SqliteJournal, top: Height): string[] {
  const lost: string[] = [];
  if (journal.areVotesDamaged()) lost.push("votes are missing or damaged");
  const { writtenTip } = journal;
  if (writtenTip === undefined) lost.push("the record of how far the chain went is damaged");
  else if (top !== writtenTip) lost.push(`block ${writtenTip}, the newest, is damaged`);
  return lost;
}

/** A master may have sealed the damaged tip and told nobody: it seals no other hash there. */
function sealedAbove(journal: SqliteJournal, top: Height): LogEntry[] {
  const height = (top + 1) as Height;
  const blockHash = journal.hashAt(height);
  return blockHash === undefined ? [] : [{ kind: "sealed", height, blockHash }];
}

/** What the chain says anyway. */
function repairTables(journal: SqliteJournal, chain: ChainState): string[] {
  const isScdRight = journal.scdRoot() === chain.scd.root;
  const members = journal.membershipRoot();
  if (isScdRight && members === chain.core.membershipRoot) return journal.repairHashes();
  journal.rewrite(chain);
  const found: string[] = [];
  if (!isScdRight) found.push("the contracts did not give the sealed root: they were written anew");
  // A file that has just been made, or was of version 1, has none.
  const areNew = members === NO_MEMBERS;
  if (members !== chain.core.membershipRoot && !areNew) {
    found.push("the members did not give the sealed root: they were written anew");
  }
  return [...found, ...journal.repairHashes()];
}

/** The highest block that can be read: it tells how far the chain went. */
function intactTip(journal: SqliteJournal): Height {
  let top = 0 as Height;
  for (const block of journal.blocks()) if (block !== undefined) top = block.core.height;
  return top;
}
