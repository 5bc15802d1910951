/**
 * `abs ledger status|blocks|show|export|members|contracts|signatures`: what a node's folder holds.
 * They read the disk, so they work while the node runs and when it does not; `status` asks it
 * first.
 */
import { closeSync, openSync, writeSync } from "node:fs";
import { defineCommand } from "citty";
import { encodeBlockJson } from "../chain/block-json.ts";
import { committeeOf, memberKeysAt, newest, nextHeight } from "../chain/chain-state.ts";
import type { Attempt, BlockHash, Height } from "../chain/ledger-units.ts";
import { AbsError, messageOf } from "../errors.ts";
import { askStatus } from "../node/control-server.ts";
import { exportLines, type Ledger, openLedger, type SealedBlock } from "../node/ledger-reader.ts";
import { fileIn } from "../node/node-folder.ts";
import { isJsonOutput, outputArgument, printResult, tableText, wholeNumberOf } from "./options.ts";

const PIPE_PAUSE_MS = 1;

export const dirArgument = {
  type: "string",
  required: true,
  description: "folder of a node, as `abs ledger init` made it",
} as const;

export function reading<T>(dir: string, read: (ledger: Ledger) => T): T {
  const ledger = openLedger(dir);
  try {
    return read(ledger);
  } finally {
    ledger.close();
  }
}

async function statusOf(dir: string): Promise<Record<string, unknown>> {
  try {
    return { is_running: true, ...(await askStatus(fileIn(dir, "control"))) };
  } catch (thrown) {
    if (!(thrown instanceof AbsError) || thrown.code !== "LEDGER_NOT_RUNNING") throw thrown;
  }
  return reading(dir, ({ tip }) => ({
    is_running: false,
    chain_id: tip.chainId,
    tenant: tip.genesis.file.tenant,
    height: tip.height,
    block_hash: tip.blockHash,
    timestamp: tip.core.timestamp,
  }));
}

export const statusCommand = defineCommand({
  meta: { name: "status", description: "height, tip and peers of a node, running or not" },
  args: { dir: dirArgument, output: outputArgument },
  async run({ args }) {
    const isJson = isJsonOutput(args.output);
    const status = await statusOf(args.dir);
    const { peers, ...words } = status;
    const lines = Object.entries(words).map(([name, value]) => `${name.padEnd(13)} ${value}`);
    const table = Array.isArray(peers) ? ["", tableText(peers)] : [];
    printResult(isJson, status, [...lines, ...table].join("\n"));
  },
});

export const blocksCommand = defineCommand({
  meta: { name: "blocks", description: "the newest blocks, newest first" },
  args: {
    dir: dirArgument,
    count: { type: "string", default: "20", description: "how many" },
    output: outputArgument,
  },
  run({ args }) {
    const isJson = isJsonOutput(args.output);
    const count = wholeNumberOf("--count", args.count, 1, 100_000);
    const rows = reading(args.dir, (ledger) => {
      const { tip } = ledger;
      const heights = Array.from({ length: Math.min(count, tip.height) }, (_, i) => tip.height - i);
      return heights.flatMap((height) => {
        const block = ledger.at(height as Height);
        return block === undefined ? [] : [rowOf(block)];
      });
    });
    printResult(isJson, rows, tableText(rows));
  },
});

function rowOf({ core, body, proof, blockHash }: SealedBlock) {
  return {
    height: core.height,
    block_hash: blockHash,
    timestamp: new Date(core.timestamp * 1000).toISOString(),
    contracts: body.contracts.length,
    records: body.records.length,
    attempt: proof.quorum.attempt,
    view: proof.quorum.view,
    votes: proof.quorum.signatures.length,
  };
}

export const showCommand = defineCommand({
  meta: { name: "show", description: "one block whole, as JSON with the paper's names" },
  args: {
    block: { type: "positional", required: true, description: "height or block hash" },
    dir: dirArgument,
  },
  run({ args }) {
    const { block: wanted } = args;
    const isHash = /^[0-9a-f]{64}$/.test(wanted);
    const text = reading(args.dir, (ledger) => {
      const block = isHash
        ? ledger.find(wanted as BlockHash)
        : ledger.at(wholeNumberOf("The block", wanted, 1, Number.MAX_SAFE_INTEGER) as Height);
      if (block !== undefined) return Buffer.from(encodeBlockJson(block)).toString();
      const { height } = ledger.tip;
      const what = `The chain in ${args.dir} has no block ${wanted}; its tip is ${height}.`;
      throw new AbsError("BLOCK_ABSENT", what, "`abs ledger blocks` lists those it has.");
    });
    process.stdout.write(`${text}\n`);
  },
});

export const exportCommand = defineCommand({
  meta: {
    name: "export",
    description: "the whole chain as lines of JSON, genesis file first: `verify` reads it",
  },
  args: {
    dir: dirArgument,
    file: { type: "string", description: "write to this file instead of standard output" },
  },
  run({ args }) {
    reading(args.dir, (ledger) => {
      let file = 1;
      try {
        if (args.file !== undefined) file = openSync(args.file, "wx", 0o644);
        for (const line of exportLines(ledger)) writeAll(file, line);
      } catch (cause) {
        if (cause instanceof AbsError) throw cause;
        const what = `The chain cannot be exported: ${messageOf(cause)}.`;
        throw new AbsError(
          "EXPORT_UNWRITABLE",
          what,
          "Name a new --file on a disk with room.",
          cause,
        );
      } finally {
        if (file !== 1) closeSync(file);
      }
    });
  },
});

function writeAll(file: number, bytes: Uint8Array): void {
  for (let start = 0; start < bytes.length; ) {
    try {
      start += writeSync(file, bytes, start);
    } catch (thrown) {
      // A pipe whose reader is slower than this.
      if ((thrown as { code?: unknown }).code !== "EAGAIN") throw thrown;
      Bun.sleepSync(PIPE_PAUSE_MS);
    }
  }
}

export const membersCommand = defineCommand({
  meta: { name: "members", description: "who is a member, with stake and a seat in the next draw" },
  args: { dir: dirArgument, output: outputArgument },
  run({ args }) {
    const isJson = isJsonOutput(args.output);
    const rows = reading(args.dir, ({ tip }) => {
      const committee = committeeOf(tip, 0 as Attempt);
      const stakes = new Map((newest(tip.tnl) ?? []).map((stake) => [stake.nodeId, stake]));
      return [...tip.members.values()].map(({ nodeId, keys, revokedFrom, revokedBy }) => {
        const stake = stakes.get(nodeId);
        const seat = committee.indexOf(nodeId);
        return {
          node_id: nodeId,
          is_effective: memberKeysAt(tip, nodeId, nextHeight(tip)) !== undefined,
          weight: stake?.weight ?? 0,
          seat: seat < 0 ? null : seat,
          keys: keys.length,
          revoked: revokedFrom === undefined ? null : `${revokedFrom} by ${revokedBy}`,
        };
      });
    });
    printResult(isJson, rows, tableText(rows));
  },
});

export const contractsCommand = defineCommand({
  meta: { name: "contracts", description: "Security Contracts in force, as they now are" },
  args: { dir: dirArgument, output: outputArgument },
  run({ args }) {
    const isJson = isJsonOutput(args.output);
    const contracts = reading(args.dir, (ledger) => ledger.contracts());
    const rows = contracts.map((contract) => ({
      "sc-id": contract["sc-id"],
      encryption: contract["encryption_algo"],
      active: contract["active"],
      generation: contract["generation"],
      seq: contract["seq"],
    }));
    printResult(isJson, contracts, tableText(rows));
  },
});

export const signaturesCommand = defineCommand({
  meta: {
    name: "signatures",
    description: "application signatures that the ledger has commitments of, as they now are",
  },
  args: { dir: dirArgument, output: outputArgument },
  run({ args }) {
    const isJson = isJsonOutput(args.output);
    const signatures = reading(args.dir, (ledger) => ledger.signatures());
    const rows = signatures.map(({ signature_id, version, status, seq, commitment }) => ({
      ...{ signature_id, version, status, seq, commitment },
    }));
    printResult(isJson, signatures, tableText(rows));
  },
});
