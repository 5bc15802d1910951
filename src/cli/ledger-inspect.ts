/**
 * `abs ledger stake|proof|evidence`: the Trusted Nodes List, the proof that a contract is under a
 * sealed root, and who was proven to lie. docs/ledger.md "Members and stake", "SCD root",
 * "Evidence". They read the disk.
 */
import { defineCommand } from "citty";
import { newest } from "../chain/chain-state.ts";
import { readEvidence } from "../chain/evidence.ts";
import { decodeRecord } from "../chain/record-schema.ts";
import { verifyScdProof } from "../chain/scd-tree.ts";
import { stakeJson } from "../chain/stake.ts";
import { AbsError } from "../errors.ts";
import type { Ledger } from "../node/ledger-reader.ts";
import { dirArgument, reading } from "./ledger-read.ts";
import { isJsonOutput, outputArgument, printResult, tableText } from "./options.ts";

export const stakeCommand = defineCommand({
  meta: { name: "stake", description: "the Trusted Nodes List: resources, score and weight" },
  args: { dir: dirArgument, output: outputArgument },
  run({ args }) {
    const isJson = isJsonOutput(args.output);
    const rows = reading(args.dir, ({ tip }) => (newest(tip.tnl) ?? []).map(stakeJson));
    printResult(isJson, rows, tableText(rows));
  },
});

export const proofCommand = defineCommand({
  meta: {
    name: "proof",
    description: "that a contract is under the scd_root of the newest block: two inclusion proofs",
  },
  args: {
    id: { type: "positional", required: true, description: "sc-id" },
    dir: dirArgument,
  },
  run({ args }) {
    const result = reading(args.dir, ({ tip }) => {
      const entry = tip.scd.find(args.id);
      const proof = tip.scd.proof(args.id);
      if (entry === undefined || proof === undefined) return undefined;
      return {
        height: tip.height,
        block_hash: tip.blockHash,
        scd_root: tip.core.scdRoot,
        entry: Buffer.from(entry.bytes).toString(),
        shelf: proof.shelf,
        shelf_root: proof.shelfRoot,
        in_shelf: proof.inShelf,
        in_tree: proof.inTree,
        holds: verifyScdProof(entry.bytes, proof, tip.core.scdRoot),
      };
    });
    if (result !== undefined) return printResult(true, result, "");
    const what = `The ledger has no contract ${args.id} in force.`;
    throw new AbsError("CONTRACT_ABSENT", what, "`abs ledger contracts` lists those it has.");
  },
});

function evidenceOf(ledger: Ledger) {
  const { chainId } = ledger.tip;
  return [...ledger.blocks()].flatMap(({ core, body }) =>
    body.records.flatMap((bytes) => {
      const read = decodeRecord(bytes);
      if (!("record" in read) || read.record.kind !== "EVIDENCE") return [];
      const found = readEvidence(chainId, read.record.evidence);
      if (typeof found === "string") return [];
      const { offender, height, isMaster } = found;
      return [{ recorded_at: core.height, offender, lied_at: height, is_master: isMaster }];
    }),
  );
}

export const evidenceCommand = defineCommand({
  meta: { name: "evidence", description: "who signed two texts that contradict, and where" },
  args: { dir: dirArgument, output: outputArgument },
  run({ args }) {
    const isJson = isJsonOutput(args.output);
    const rows = reading(args.dir, evidenceOf);
    printResult(isJson, rows, tableText(rows));
  },
});
