/**
 * What the runner asks of the disk: everything a participant must not forget, synced when sync()
 * returns. sqlite-journal.ts keeps it; this is the seam, so that the order of writing and sending
 * can be tested without a disk.
 */
import type { SealProof } from "../chain/block.ts";
import type { ChainState } from "../chain/chain-state.ts";
import type { Hash, Height } from "../chain/ledger-units.ts";
import type { BlockHistory, LogEntry, Output } from "../chain/step-types.ts";

/** Outputs of a step that go to the disk. */
export type SavedOutput = Extract<Output, { kind: "write" | "block" | "restore" | "repair" }>;

/** What a participant is created with again. */
export type JournalContents = {
  readonly chain: ChainState;
  readonly below: ChainState | undefined;
  readonly tipProof: SealProof | undefined;
  readonly log: readonly LogEntry[];
};

export type Recomputed = {
  readonly height: Height;
  readonly scdRoot: Hash;
  readonly damaged: readonly Height[];
};

export interface LedgerJournal {
  readonly history: BlockHistory;
  /** Written, and read back by `history`; all of them or none. Throws when the disk refuses. */
  save(outputs: readonly SavedOutput[]): void;
  /** All that was saved is on the disk when it returns. Throws when the disk refuses. */
  sync(): void;
  /**
   * The SCD's root of what is on the disk at one moment, and blocks there that do not fit. It reads
   * a part at a time and lets others work between. Undefined: the journal was closed meanwhile.
   */
  recompute(): Promise<Recomputed | undefined>;
  close(): void;
}

export function isSaved(output: Output): output is SavedOutput {
  return ["write", "block", "restore", "repair"].includes(output.kind);
}
