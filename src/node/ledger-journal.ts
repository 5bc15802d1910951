/**
 * What the runner asks of the disk: everything a participant must not forget, synced when save()
 * returns. sqlite-journal.ts keeps it; this is the seam, so that the order of writing and sending
 * can be tested without a disk.
 */
import type { SealProof } from "../chain/block.ts";
import type { ChainState } from "../chain/chain-state.ts";
import type { LedgerCrypto } from "../chain/crypto-interface.ts";
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
  /** Blocks whose bodies do not fit, which peers have. */
  readonly damaged: readonly Height[];
  /** What only opening it anew repairs. */
  readonly broken?: string | undefined;
};

/** What an opened journal was found to be. */
export type JournalCondition = {
  /** What was damaged, and what was done about it. */
  readonly findings: readonly string[];
  /** What this node signed may be lost: rule 8. */
  readonly mayHaveForgotten: boolean;
  /** This block is damaged, and later ones are not: it only catches up until it has it again. */
  readonly lacks: Height | undefined;
};

export const SOUND: JournalCondition = {
  findings: [],
  mayHaveForgotten: false,
  lacks: undefined,
};

export interface LedgerJournal {
  readonly history: BlockHistory;
  /** All of them or none; on the disk when it returns. Throws when the disk refuses. */
  save(outputs: readonly SavedOutput[]): void;
  /** The SCD's root of what is on the disk now, and blocks there that do not fit. */
  recompute(): Recomputed;
  close(): void;
}

export type OpenedJournal = {
  readonly journal: LedgerJournal;
  readonly contents: JournalContents;
  /** Undefined: SOUND. */
  readonly condition?: JournalCondition;
};

export type OpenJournal = (words: {
  readonly file: string;
  readonly genesis: ChainState;
  readonly crypto: LedgerCrypto;
  /** These keys have signed before: a disk that knows nothing of it was lost. */
  readonly hasRun: boolean;
}) => OpenedJournal;

export function isSaved(output: Output): output is SavedOutput {
  return ["write", "block", "restore", "repair"].includes(output.kind);
}
