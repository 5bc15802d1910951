/** Opens a node's journal for writing, with the state that its blocks give. */

import { replayChain } from "./chain-replay.ts";
import type { OpenJournal } from "./ledger-process.ts";
import { SqliteJournal } from "./sqlite-journal.ts";

export const openJournal: OpenJournal = (file, genesis, crypto) => {
  const journal = new SqliteJournal(file, genesis, "write");
  const replayed = replayChain(genesis, journal.blocks(), crypto);
  return { journal, contents: { ...replayed, log: journal.log() } };
};
