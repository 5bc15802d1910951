/**
 * A node's checkpoint on its disk: {"block_hash":…,"height":…}. docs/ledger.md "Checkpoints".
 * Enrolment writes the first, each renewal of the certificate a higher one; a lower one is never
 * taken, so that an old token cannot undo a newer one.
 */
import { existsSync, renameSync, writeFileSync } from "node:fs";
import { canonicalJson, parseJsonText } from "../chain/canonical-json.ts";
import { JsonFields } from "../chain/json-fields.ts";
import type { BlockHash, Height } from "../chain/ledger-units.ts";
import type { Checkpoint } from "../chain/step-types.ts";
import { AbsError } from "../errors.ts";
import { fileIn, readBytes } from "./node-folder.ts";

/** @throws AbsError CHECKPOINT_INVALID */
export function loadCheckpoint(dir: string): Checkpoint | undefined {
  const file = fileIn(dir, "checkpoint");
  if (!existsSync(file)) return undefined;
  const json = parseJsonText(readBytes(file));
  const fields = new JsonFields("value" in json ? json.value : undefined);
  const height = fields.integer("height", 0, Number.MAX_SAFE_INTEGER) as Height;
  const blockHash = fields.hash("block_hash") as string as BlockHash;
  fields.end();
  if ("value" in json && fields.complaint === undefined) return { height, blockHash };
  throw new AbsError(
    "CHECKPOINT_INVALID",
    `${file}: ${"fault" in json ? json.fault : fields.complaint}.`,
    "Without it a newcomer believes whom it meets first: ask the manager for it again.",
  );
}

/**
 * Keeps a checkpoint, whole or not at all; false where a higher one is known.
 * @throws AbsError CHECKPOINT_CONFLICT for another hash at the height of the one that is known
 */
export function saveCheckpoint(dir: string, checkpoint: Checkpoint): boolean {
  const known = loadCheckpoint(dir);
  if (known !== undefined && known.height > checkpoint.height) return false;
  if (known?.height === checkpoint.height && known.blockHash !== checkpoint.blockHash) {
    throw new AbsError(
      "CHECKPOINT_CONFLICT",
      `Block ${known.height} is ${known.blockHash} by the checkpoint that is known.`,
      "Two histories were vouched for: ask the manager which is right before anything else.",
    );
  }
  const file = fileIn(dir, "checkpoint");
  const bytes = canonicalJson({ height: checkpoint.height, block_hash: checkpoint.blockHash });
  writeFileSync(`${file}.new`, bytes);
  renameSync(`${file}.new`, file);
  return true;
}
