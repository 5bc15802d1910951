/**
 * What an agent wants to know of the SCD: each contract that it holds a secret of, as it now is,
 * and which commitment each generation of its secret had since when. The SCD has the newest
 * generation only; those before are read from the blocks. docs/ledger.md "Contracts".
 */
import type { Block } from "../chain/block.ts";
import type { ChainState } from "../chain/chain-state.ts";
import { type ContractEntry, decodeContract } from "../chain/contract-entry.ts";
import type { Hash, Height } from "../chain/ledger-units.ts";
import { decodeRecord } from "../chain/record-schema.ts";
import type { BlockHistory } from "../chain/step-types.ts";
import type { EpochSeconds } from "../units.ts";

export type GenerationCommitment = {
  readonly generation: number;
  readonly commitment: Hash;
  /** Time stamp of the block that brought it. */
  readonly since: EpochSeconds;
};

export type ScdContract = {
  readonly scId: string;
  /** Undefined: the SCD has no such contract, or it has expired. */
  readonly entry: ContractEntry | undefined;
  /** By generation, ascending. */
  readonly generations: readonly GenerationCommitment[];
};

const ID_KEY = '"sc-id":"';
const ID_CHARACTERS = 36;

export class ScdWatch {
  readonly #generations = new Map<string, GenerationCommitment[]>();

  /** @param chain the state at the tip of `history` */
  constructor(
    readonly scIds: readonly string[],
    chain: ChainState,
    history: BlockHistory,
  ) {
    for (const scId of scIds) this.#generations.set(scId, []);
    const regenerated = scIds.filter((scId) => (entryOf(chain, scId)?.generation ?? 0) > 1);
    if (regenerated.length === 0) return;
    for (let height = 1; height <= chain.height; height++) {
      const block = history.at(height as Height);
      if (block !== undefined) this.note(block);
    }
  }

  /** A block was sealed. @returns whether it is about one of the contracts */
  note({ core, body }: Block): boolean {
    const contracts = body.contracts.filter((bytes) => this.#isWatched(bytes));
    const records = body.records.filter((bytes) => this.#isWatched(bytes));
    for (const bytes of contracts) {
      const read = decodeContract(bytes);
      if ("contract" in read) this.#add(read.contract, core.timestamp);
    }
    for (const bytes of records) {
      const read = decodeRecord(bytes);
      if ("record" in read && read.record.kind === "SC_UPDATE") {
        this.#add(read.record, core.timestamp);
      }
    }
    return contracts.length + records.length > 0;
  }

  /** All that are watched, in their order. */
  contracts(chain: ChainState): ScdContract[] {
    return this.scIds.map((scId) => {
      const entry = entryOf(chain, scId);
      const known = this.#generations.get(scId) ?? [];
      if (entry !== undefined && known.at(-1)?.generation !== entry.generation) {
        this.#add(entry, 0 as EpochSeconds); // of before the watch: its first generation
      }
      return { scId, entry, generations: [...known] };
    });
  }

  /** By the id in its canonical text: most of a block is about somebody else's contracts. */
  #isWatched(bytes: Uint8Array): boolean {
    const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const at = text.indexOf(ID_KEY);
    if (at < 0) return false;
    const from = at + ID_KEY.length;
    return this.#generations.has(text.toString("latin1", from, from + ID_CHARACTERS));
  }

  #add(
    at: Pick<ContractEntry, "scId" | "generation" | "secretCommitment">,
    since: EpochSeconds,
  ): void {
    const known = this.#generations.get(at.scId);
    if (known === undefined || (known.at(-1)?.generation ?? 0) >= at.generation) return;
    known.push({ generation: at.generation, commitment: at.secretCommitment, since });
  }
}

function entryOf(chain: ChainState, scId: string): ContractEntry | undefined {
  const found = chain.scd.find(scId);
  if (found === undefined) return undefined;
  const read = decodeContract(found.bytes);
  return "contract" in read ? read.contract : undefined;
}
