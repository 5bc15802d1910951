/**
 * How an agent takes a state of its manager: signatures first, which the ledger must hold, then its
 * folder whole. `abs agent enroll`, `abs agent sync` and the running agent's link all come by here.
 * docs/manager.md "Updates".
 */
import { type WritingWords, writeAgentFolder } from "./agent-folder.ts";
import type { AgentState } from "./agent-state.ts";
import { committedOf } from "./appdb-file.ts";
import { requireCommitted } from "./commitment-check.ts";

/** @throws AbsError SIGNATURE_NOT_ON_LEDGER, and what writing and checking the folder throws */
export async function takeState(
  dir: string,
  state: AgentState,
  words: WritingWords,
): Promise<void> {
  await requireCommitted(dir, state.signatures.map(committedOf));
  writeAgentFolder(dir, state, words);
}
