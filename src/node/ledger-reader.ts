/** A node's folder for commands that only read: the chain on its disk, recomputed. */
import type { Block } from "../chain/block.ts";
import { blockHashOf } from "../chain/block-core.ts";
import { encodeBlockJson } from "../chain/block-json.ts";
import { type JsonObject, parseCanonical } from "../chain/canonical-json.ts";
import { type ChainState, recordedTerm } from "../chain/chain-state.ts";
import { encodeGenesis } from "../chain/genesis-file.ts";
import type { BlockHash, Height, Term } from "../chain/ledger-units.ts";
import { exportLine } from "../chain/verify-chain.ts";
import { damaged, replayChain } from "./chain-replay.ts";
import { createLedgerCrypto } from "./ledger-crypto.ts";
import { fileIn, loadGenesis } from "./node-folder.ts";
import { SqliteJournal } from "./sqlite-journal.ts";

export type SealedBlock = Block & { readonly blockHash: BlockHash };

/** @throws AbsError whatever is wrong with the folder */
export function openLedger(dir: string): Ledger {
  return new Ledger(dir);
}

export class Ledger {
  /** Of the sealed chain. */
  readonly tip: ChainState;
  readonly #journal: SqliteJournal;

  constructor(dir: string) {
    const crypto = createLedgerCrypto();
    const genesis = loadGenesis(dir, crypto);
    const access = { kind: "read", hasRun: false } as const;
    this.#journal = new SqliteJournal(fileIn(dir, "store"), genesis, access);
    const { chain, fault } = replayChain(genesis, this.#journal.blocks(), crypto);
    if (fault !== undefined) throw damaged(fault);
    this.tip = chain;
  }

  at(height: Height): SealedBlock | undefined {
    return named(this.#journal.history.at(height));
  }

  find(blockHash: BlockHash): SealedBlock | undefined {
    return named(this.#journal.history.find(blockHash));
  }

  *blocks(): Generator<Block> {
    for (const block of this.#journal.blocks()) if (block !== undefined) yield block;
  }

  /** In force at the tip, with their SC_UPDATEs applied; by id. */
  contracts(): JsonObject[] {
    return this.#entries().filter((object) => "sc-id" in object);
  }

  /** The newest SIGNATURE record of each application signature that is not decommissioned. */
  signatures(): JsonObject[] {
    return this.#entries()
      .filter((object) => object["kind"] === "SIGNATURE")
      .sort((left, right) =>
        String(left["signature_id"]) < String(right["signature_id"]) ? -1 : 1,
      );
  }

  #entries(): JsonObject[] {
    return [...this.tip.scd.entries()].flatMap(({ bytes }) => {
      const json = parseCanonical(bytes);
      return "value" in json ? [json.value as JsonObject] : [];
    });
  }

  /** Of the chain, or of a MASTER_TERM that acts and that no block has recorded yet. */
  newestTerm(): Term {
    const heard = this.#journal.log().map((entry) => {
      return entry.kind === "term" ? entry.message.term : 0;
    });
    return Math.max(recordedTerm(this.tip), ...heard) as Term;
  }

  close(): void {
    this.#journal.close();
  }
}

function named(block: Block | undefined): SealedBlock | undefined {
  return block === undefined ? undefined : { ...block, blockHash: blockHashOf(block.core) };
}

/** Genesis file, then blocks: what `abs ledger verify` reads. */
export function* exportLines(ledger: Ledger): Generator<Uint8Array> {
  yield exportLine(encodeGenesis(ledger.tip.genesis.file));
  for (const block of ledger.blocks()) yield exportLine(encodeBlockJson(block));
}
