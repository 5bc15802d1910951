/**
 * One process a folder: two that sign with the same keys would vote twice, which is evidence of a
 * lie and revokes the node for good. flock(2) ends with the process, however it ends.
 */
import { dlopen, FFIType } from "bun:ffi";
import { closeSync, openSync } from "node:fs";
import { AbsError } from "../errors.ts";

const LOCK_EX = 2;
const LOCK_NB = 4;

const { flock } = dlopen("libc.so.6", {
  flock: { args: [FFIType.i32, FFIType.i32], returns: FFIType.i32 },
}).symbols;

/**
 * Held until the process ends, or what is returned is called.
 * @throws AbsError LEDGER_FOLDER_BUSY
 */
export function lockFolder(file: string): () => void {
  const descriptor = openSync(file, "a", 0o600);
  if (flock(descriptor, LOCK_EX | LOCK_NB) === 0) return () => closeSync(descriptor);
  closeSync(descriptor);
  throw new AbsError(
    "LEDGER_FOLDER_BUSY",
    `Another process runs with the folder of ${file}.`,
    "Stop it first: one node must never run twice.",
  );
}
