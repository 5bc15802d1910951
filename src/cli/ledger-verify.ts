/**
 * `abs ledger verify [FILE]`: recomputes an exported chain from its genesis file, offline, or the
 * chain in a node's folder. docs/ledger.md "Export". Exit 0: it holds; 1: it does not.
 */
import { createReadStream } from "node:fs";
import { defineCommand } from "citty";
import type { BlockHash, ChainId, Height } from "../chain/ledger-units.ts";
import { type Checkpoint, type Verification, verifyChain } from "../chain/verify-chain.ts";
import { AbsError, messageOf } from "../errors.ts";
import { createLedgerCrypto } from "../node/ledger-crypto.ts";
import { exportLines, openLedger } from "../node/ledger-reader.ts";
import {
  isJsonOutput,
  optionError,
  outputArgument,
  printResult,
  wholeNumberOf,
} from "./options.ts";

const HASH = /^[0-9a-f]{64}$/;

/** What the user trusts already. @throws AbsError OPTION_INVALID */
function checkpointOf(chain: string | undefined, checkpoint: string | undefined): Checkpoint {
  if (chain !== undefined && !HASH.test(chain)) {
    throw optionError(`--chain ${chain} is not 64 lower-case hex digits.`, "Copy it from `init`.");
  }
  const [height, hash] = checkpoint?.split(":") ?? [];
  if (hash !== undefined && !HASH.test(hash)) {
    throw optionError(`--checkpoint ${checkpoint} is not HEIGHT:HASH.`, "Copy it from `status`.");
  }
  return {
    ...(chain === undefined ? {} : { chainId: chain as ChainId }),
    ...(height === undefined
      ? {}
      : { height: wholeNumberOf("--checkpoint", height, 0, Number.MAX_SAFE_INTEGER) as Height }),
    ...(hash === undefined ? {} : { blockHash: hash as BlockHash }),
  };
}

async function* chunksOf(file: string): AsyncGenerator<Uint8Array> {
  const stream = file === "-" ? process.stdin : createReadStream(file);
  try {
    for await (const chunk of stream) yield chunk;
  } catch (cause) {
    const what = `${file} cannot be read: ${messageOf(cause)}.`;
    throw new AbsError("LEDGER_FILE_UNREADABLE", what, "`abs ledger export` writes one.", cause);
  }
}

async function verifyFolder(dir: string, checkpoint: Checkpoint): Promise<Verification> {
  const ledger = openLedger(dir);
  try {
    return await verifyChain(exportLines(ledger), createLedgerCrypto(), checkpoint);
  } finally {
    ledger.close();
  }
}

export const verifyCommand = defineCommand({
  meta: {
    name: "verify",
    description:
      "recompute an exported chain, or that of a node's folder, from its genesis file: every " +
      "root, committee, quorum and seal. Exit code 0: it holds, 1: it does not.",
  },
  args: {
    file: { type: "positional", required: false, description: "an export; `-` reads from a pipe" },
    dir: { type: "string", description: "instead of a file: folder of a node" },
    chain: { type: "string", description: "the chain id that it must have" },
    checkpoint: { type: "string", description: "HEIGHT or HEIGHT:HASH that it must have" },
    output: outputArgument,
  },
  async run({ args }) {
    const isJson = isJsonOutput(args.output);
    const checkpoint = checkpointOf(args.chain, args.checkpoint);
    const { file, dir } = args;
    if ((file === undefined) === (dir === undefined)) {
      throw optionError(
        "Name a FILE or a --dir, one of them.",
        "`abs ledger export` writes files.",
      );
    }
    const found =
      file === undefined
        ? await verifyFolder(dir ?? "", checkpoint)
        : await verifyChain(chunksOf(file), createLedgerCrypto(), checkpoint);
    if (found.isValid) {
      const { chainId, height, blockHash } = found.state;
      const result = { valid: true, height, error: null, chain_id: chainId, block_hash: blockHash };
      printResult(isJson, result, `valid: ${height} blocks of chain ${chainId}, tip ${blockHash}`);
      return;
    }
    const { height, error } = found;
    const where = height < 0 ? "its first line" : `height ${height}`;
    printResult(isJson, { valid: false, height, error }, `NOT valid, ${where}: ${error}`);
    process.exitCode = 1;
  },
});
