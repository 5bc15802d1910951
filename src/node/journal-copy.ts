/**
 * A ledger's folder that was put back from a backup: what it signed at the open height since then
 * is not on its disk. docs/ledger.md "A master's copy". Candidates and votes of the backup go, as
 * others may have followed them; what holds whatever came after stays.
 */
import { createLedgerCrypto } from "./ledger-crypto.ts";
import { fileIn, loadGenesis } from "./node-folder.ts";
import { SqliteJournal } from "./sqlite-journal.ts";

const KEPT: readonly string[] = ["sealed", "redraw", "parked"];

/** From now on the node that runs with this folder is one that may have forgotten (rule 8). */
export function forgetVotes(dir: string): void {
  const genesis = loadGenesis(dir, createLedgerCrypto());
  const access = { kind: "write", hasRun: true } as const;
  const journal = new SqliteJournal(fileIn(dir, "store"), genesis, access);
  try {
    const kept = journal.log().filter(({ kind }) => KEPT.includes(kind));
    journal.forget(journal.tip(), kept);
  } finally {
    journal.close();
  }
}
