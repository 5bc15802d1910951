/**
 * Offline verification of an exported chain: `abs ledger verify FILE`. docs/ledger.md "Export". The
 * first line is the canonical genesis file, every other line a block, each line ended by one line
 * feed. Everything is recomputed from the genesis file: roots, committees, quorums, VRF proofs,
 * seals. What it cannot know: whether this genesis file is the tenant's (compare the chain id), and
 * whether blocks were cut off the end (compare the height, or give a checkpoint).
 */
import { applyBlock, withSeal } from "./apply-block.ts";
import { BLOCK_JSON_BYTES_MAX, decodeBlockJson } from "./block-json.ts";
import { JSON_BYTES_MAX } from "./canonical-json.ts";
import type { ChainState } from "./chain-state.ts";
import type { LedgerCrypto } from "./crypto-interface.ts";
import { genesisState } from "./genesis-block.ts";
import { encodeGenesis, parseGenesis } from "./genesis-file.ts";
import type { BlockHash, ChainId, Height } from "./ledger-units.ts";
import { checkSeal } from "./seal-check.ts";

/** What the verifier trusts already; nothing that conflicts with it is accepted. */
export type Checkpoint = {
  readonly chainId?: ChainId;
  readonly height?: Height;
  readonly blockHash?: BlockHash;
};

export type Verification =
  | { readonly isValid: true; readonly state: ChainState }
  /** `height` is that of the line that is wrong; -1 is the genesis file's own. */
  | { readonly isValid: false; readonly height: number; readonly error: string };

const LINE_FEED = 0x0a;
const LINE_BYTES_MAX = Math.max(JSON_BYTES_MAX, BLOCK_JSON_BYTES_MAX);

/** Verifies a stream of chunks of an exported chain. Never throws for what is in them. */
export async function verifyChain(
  chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  crypto: LedgerCrypto,
  checkpoint: Checkpoint = {},
): Promise<Verification> {
  const verifier = new ChainVerifier(crypto, checkpoint);
  for await (const chunk of chunks) {
    verifier.take(chunk);
    if (verifier.isOver) break;
  }
  return verifier.finish();
}

/** Line by line, for whoever has the chunks. */
export class ChainVerifier {
  private failure: Verification | undefined;
  private rest = new Uint8Array(0);

  constructor(
    private readonly crypto: LedgerCrypto,
    private readonly checkpoint: Checkpoint = {},
    /** Where an earlier verification came to; undefined: the first line is the genesis file. */
    private state?: ChainState,
  ) {}

  /** Whether more lines change nothing. */
  get isOver(): boolean {
    return this.failure !== undefined;
  }

  take(chunk: Uint8Array): void {
    const bytes = new Uint8Array(this.rest.length + chunk.length);
    bytes.set(this.rest);
    bytes.set(chunk, this.rest.length);
    let start = 0;
    while (this.failure === undefined) {
      const end = bytes.indexOf(LINE_FEED, start);
      if (end < 0) break;
      this.line(bytes.subarray(start, end));
      start = end + 1;
    }
    this.rest = bytes.slice(start);
    if (this.rest.length > LINE_BYTES_MAX) this.fail("a line is too long");
  }

  finish(): Verification {
    if (this.rest.length > 0) this.fail("the last line does not end");
    if (this.failure !== undefined) return this.failure;
    if (this.state === undefined) return { isValid: false, height: -1, error: "nothing to verify" };
    const { height } = this.checkpoint;
    if (height !== undefined && this.state.height < height) {
      this.fail(`the chain ends below the checkpoint at height ${height}`);
    }
    return this.failure ?? { isValid: true, state: this.state };
  }

  private line(bytes: Uint8Array): void {
    if (this.state === undefined) this.genesis(bytes);
    else this.block(this.state, bytes);
  }

  private genesis(bytes: Uint8Array): void {
    const read = parseGenesis(bytes);
    if ("complaint" in read) return this.fail(`genesis file: ${read.complaint}`);
    if (Buffer.compare(encodeGenesis(read.file), bytes) !== 0) {
      return this.fail("genesis file: it is not in its canonical form");
    }
    const state = genesisState(read.file, this.crypto);
    if (typeof state === "string") return this.fail(`genesis file: ${state}`);
    const { chainId } = this.checkpoint;
    if (chainId !== undefined && chainId !== state.chainId) {
      return this.fail(`it is chain ${state.chainId}, not ${chainId}`);
    }
    this.accept(state);
  }

  private block(state: ChainState, bytes: Uint8Array): void {
    const read = decodeBlockJson(bytes);
    if ("complaint" in read) return this.fail(read.complaint);
    const { core, body, proof } = read.block;
    const next = applyBlock(state, core, body, this.crypto);
    if ("fault" in next) return this.fail(`${next.fault}: ${next.detail}`);
    const seal = checkSeal(state, next, proof, this.crypto);
    if ("fault" in seal) return this.fail(`${seal.fault}: ${seal.detail}`);
    this.accept(withSeal(next, seal));
  }

  private accept(state: ChainState): void {
    const { height, blockHash } = this.checkpoint;
    if (state.height === height && blockHash !== undefined && state.blockHash !== blockHash) {
      this.state = state;
      return this.fail(`block ${height} is ${state.blockHash}, the checkpoint ${blockHash}`);
    }
    this.state = state;
  }

  private fail(error: string): void {
    const height = this.state === undefined ? -1 : this.state.height + 1;
    this.failure ??= { isValid: false, height, error };
  }
}

/** The lines of an export, in order: genesis file, then blocks. */
export function exportLine(canonical: Uint8Array): Uint8Array {
  const line = new Uint8Array(canonical.length + 1);
  line.set(canonical);
  line[canonical.length] = LINE_FEED;
  return line;
}
