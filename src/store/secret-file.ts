/**
 * Secrets in documents: hex in place, or `{ file: PATH }`. A file that holds secrets must belong to
 * root or to the user who runs `abs` and be closed to everybody else. Error messages never show the
 * value, not even a wrong one.
 */

import { readFileSync, statSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { fromHex } from "../bytes.ts";
import { AbsError, messageOf } from "../errors.ts";
import type { DocumentNode } from "./document.ts";

const OPEN_TO_OTHERS = 0o077;

/** Throws AbsError `SECRET_FILE_OPEN` when others than its owner may read or change `file`. */
export function requirePrivate(file: string): void {
  let mode: number;
  let owner: number;
  try {
    const status = statSync(file);
    if (!status.isFile()) return; // a pipe or /dev/stdin: its reader is whoever opened it
    mode = status.mode;
    owner = status.uid;
  } catch (thrown) {
    const message = `${file} cannot be read: ${messageOf(thrown)}.`;
    throw new AbsError("PROVISIONING_UNREADABLE", message, "Check the path.", thrown);
  }
  const quoted = `'${file.replaceAll("'", "'\\''")}'`;
  if ((mode & OPEN_TO_OTHERS) !== 0) {
    const bits = (mode & 0o777).toString(8);
    const message = `${file} holds secrets, but its mode ${bits} opens it to other users.`;
    throw new AbsError("SECRET_FILE_OPEN", message, `Run: chmod 600 ${quoted}`);
  }
  const self = process.geteuid?.() ?? 0;
  if (owner !== 0 && owner !== self) {
    const message = `${file} holds secrets, but belongs to user ${owner}.`;
    throw new AbsError("SECRET_FILE_OPEN", message, `Run: chown ${self} ${quoted}`);
  }
}

/** `path` as written in a document, which counts from the document's own folder. */
export function besideDocument(node: DocumentNode, path: string): string {
  return resolve(dirname(node.file), path);
}

/** `sizeBytes` bytes, or up to `sizeBytesMax`, in hex, that nobody else may know. */
export function readSecret(
  node: DocumentNode,
  sizeBytes: number,
  sizeBytesMax = sizeBytes,
): Uint8Array {
  const read = (text: string): Uint8Array | undefined => {
    const bytes = fromHex(text);
    const fits = bytes !== undefined && bytes.length >= sizeBytes && bytes.length <= sizeBytesMax;
    return fits ? bytes : undefined;
  };
  const fail = (): never =>
    node.fail(`it is not ${2 * sizeBytes} hex digits.`, "`abs keys generate` draws one.");
  if (!node.isMap()) return read(node.string()) ?? fail();
  const fileNode = node.map(["file"]).need("file");
  const file = besideDocument(node, fileNode.string());
  requirePrivate(file);
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (thrown) {
    // A directory, for one: it passes for private.
    return fileNode.fail(`${file} cannot be read: ${messageOf(thrown)}.`, "Check the path.");
  }
  return read(text.trim()) ?? fail();
}

/** Exactly `sizeBytes` bytes in hex that may be shown. */
export function readHex(node: DocumentNode, sizeBytes: number): Uint8Array {
  const text = node.string();
  return (
    fromExactHex(text, sizeBytes) ??
    node.fail(`"${text}" is not ${2 * sizeBytes} hex digits.`, "Write it as hexadecimal.")
  );
}

function fromExactHex(text: string, sizeBytes: number): Uint8Array | undefined {
  const bytes = fromHex(text);
  return bytes?.length === sizeBytes ? bytes : undefined;
}
