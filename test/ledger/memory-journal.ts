/** A journal in memory, for tests of what is around it: the product's is SQLite. */
import type { Block } from "../../src/chain/block.ts";
import { blockHashOf } from "../../src/chain/block-core.ts";
import type { ChainState } from "../../src/chain/chain-state.ts";
import type { BlockHash, Height } from "../../src/chain/ledger-units.ts";
import type { LogEntry } from "../../src/chain/step-types.ts";
import type {
  JournalContents,
  LedgerJournal,
  Recomputed,
  SavedOutput,
} from "../../src/node/ledger-journal.ts";

export class MemoryJournal implements LedgerJournal {
  readonly log: LogEntry[] = [];
  readonly blocks = new Map<Height, Block>();
  readonly states: ChainState[];
  readonly history = {
    at: (height: Height): Block | undefined => this.blocks.get(height),
    find: (blockHash: BlockHash): Block | undefined =>
      [...this.blocks.values()].find(({ core }) => blockHashOf(core) === blockHash),
  };
  /** What save() and sync() throw, for tests of a disk that fails. */
  failure: Error | undefined;
  onSave: (outputs: readonly SavedOutput[]) => void = () => {};
  onSync: () => void = () => {};

  constructor(genesis: ChainState) {
    this.states = [genesis];
  }

  contents(): JournalContents {
    const chain = this.states.at(-1) as ChainState;
    const tipProof = this.blocks.get(chain.height)?.proof;
    return { chain, below: this.states.at(-2), tipProof, log: this.log };
  }

  save(outputs: readonly SavedOutput[]): void {
    if (this.failure !== undefined) throw this.failure;
    this.onSave(outputs);
    for (const output of outputs) {
      if (output.kind === "write") this.log.push(output.entry);
      if (output.kind !== "block") continue;
      this.blocks.set(output.next.height, output.block);
      this.states.push(output.next);
    }
  }

  sync(): void {
    if (this.failure !== undefined) throw this.failure;
    this.onSync();
  }

  async recompute(): Promise<Recomputed> {
    const { height, scd } = this.states.at(-1) as ChainState;
    return { height, scdRoot: scd.root, damaged: [] };
  }

  close(): void {}
}
