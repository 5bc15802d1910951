/**
 * A participant's disk: what was synced is there after a crash, what was only written is lost, or
 * its first part is there. Holds what the product's store holds: the log, blocks, the state at the
 * tip.
 */
import type { Block, SealProof } from "../chain/block.ts";
import type { ChainState } from "../chain/chain-state.ts";
import type { BlockHash, Hash, Height } from "../chain/ledger-units.ts";
import type { BlockHistory, LogEntry, Output } from "../chain/step-types.ts";
import type { Prng } from "./prng.ts";

/** Outputs that change the disk. */
export type DiskOutput = Extract<Output, { kind: "write" | "block" | "restore" | "repair" }>;

export function isDiskOutput(output: Output): output is DiskOutput {
  const { kind } = output;
  return kind === "write" || kind === "block" || kind === "restore" || kind === "repair";
}

type Stored = { readonly block: Block; readonly chain: ChainState };

export class Disk implements BlockHistory {
  log: LogEntry[] = [];
  /** Bits have flipped in the SCD's tables. */
  isRotten = false;
  /** Of the last body that a peer sent: it is kept in memory only. */
  bodyHeight = 0;
  private stored: Stored[] = [];
  private staged: DiskOutput[] = [];

  constructor(private readonly genesis: ChainState) {}

  get chain(): ChainState {
    return this.stored.at(-1)?.chain ?? this.genesis;
  }

  get below(): ChainState | undefined {
    if (this.stored.length === 0) return undefined;
    return this.stored.at(-2)?.chain ?? this.genesis;
  }

  get tipProof(): SealProof | undefined {
    return this.stored.at(-1)?.block.proof;
  }

  at(height: Height): Block | undefined {
    return this.stored[height - 1]?.block;
  }

  find(blockHash: BlockHash): Block | undefined {
    return this.stored.find(({ chain }) => chain.blockHash === blockHash)?.block;
  }

  /** What is read back of the SCD: its root, or another where bits have flipped. */
  get scdRoot(): Hash {
    const root = this.chain.scd.root;
    return this.isRotten ? (root.replace(/^./, (c) => (c === "0" ? "1" : "0")) as Hash) : root;
  }

  write(output: DiskOutput): void {
    this.staged.push(output);
  }

  sync(): void {
    for (const output of this.staged) this.keep(output);
    this.staged = [];
  }

  /** Whether a candidate for the next block was ever written, synced or not. */
  get hasCandidate(): boolean {
    const height = this.chain.height + 1;
    if (this.bodyHeight === height) return true;
    const isCandidate = (entry: LogEntry) =>
      entry.kind === "candidate" && entry.message.height === height;
    return (
      this.log.some(isCandidate) ||
      this.staged.some((output) => output.kind === "write" && isCandidate(output.entry))
    );
  }

  /** Unsynced writes are lost; all, or those after the first few, which are given back. */
  crash(torn: Prng | undefined): readonly DiskOutput[] {
    const count = torn === undefined ? 0 : torn.below(this.staged.length + 1);
    const kept = this.staged.slice(0, count);
    for (const output of kept) this.keep(output);
    this.staged = [];
    return kept;
  }

  wipe(): void {
    this.staged = [];
    this.stored = [];
    this.log = [];
    this.isRotten = false;
  }

  /** The same content, for a twin. */
  copyTo(other: Disk): void {
    other.log = [...this.log];
    other.stored = [...this.stored];
  }

  private keep(output: DiskOutput): void {
    switch (output.kind) {
      case "write":
        this.log.push(output.entry);
        return;
      case "block":
        this.stored.push({ block: output.block, chain: output.next });
        this.log = this.log.filter((entry) => heightOf(entry) > output.next.height);
        return;
      case "repair":
        this.isRotten = false;
        return;
      case "restore":
        return;
    }
  }
}

/** Of entries that a sealed block makes superfluous; Infinity for those that stay. */
function heightOf(entry: LogEntry): number {
  switch (entry.kind) {
    case "candidate":
    case "sent":
    case "redraw":
      return entry.message.height;
    case "lock":
    case "sealed":
    case "freeze":
    case "survey":
      return entry.height;
    default:
      return Number.POSITIVE_INFINITY;
  }
}
