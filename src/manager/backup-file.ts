/**
 * A backup is one file: `abs-backup\n`, the length of a head in 4 bytes, the head (JSON: version,
 * time, files), the files, the SHA-256 of all before it, and that digest sealed under the data key.
 * docs/manager.md "Backup". The digest finds damage; the seal finds another data key, and whoever
 * changed the file without having it. Written beside and renamed: a backup is whole or not there.
 */
import {
  closeSync,
  createReadStream,
  fsyncSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { dirname } from "node:path";
import { ascii, equalBytes } from "../bytes.ts";
import { isObject, parseJsonText } from "../chain/canonical-json.ts";
import { JsonFields } from "../chain/json-fields.ts";
import { AbsError, messageOf } from "../errors.ts";
import type { Sealer } from "./sealer.ts";

const MAGIC = ascii("abs-backup\n");
const FORMAT = 1;
const HEAD_BYTES_MAX = 16 * 1024 * 1024;
const FILES_MAX = 100_000;
const NAME_CHARACTERS_MAX = 200;
const COPIED_BYTES = 1024 * 1024;
const DIGEST_BYTES = 32;
/** Nonce 24, digest 32, tag 16. */
const SEALED_BYTES = 72;
const PLACE = "backup";

/** A file within a backup, by its name in the manager's folder. */
export type BackupPart = { readonly name: string; readonly sizeBytes: number };
export type PartSource = { readonly name: string; readonly path: string };
export type BackupHead = {
  /** UNIX seconds. */
  readonly madeAt: number;
  /** Of the manager's database. */
  readonly schema: number;
  readonly files: readonly BackupPart[];
};

/** @throws AbsError BACKUP_UNWRITABLE: what was there before is still there */
export function writeBackup(
  file: string,
  words: { readonly madeAt: number; readonly schema: number; readonly sealer: Sealer },
  sources: readonly PartSource[],
): number {
  const beside = `${file}.new`;
  const { madeAt, schema, sealer } = words;
  try {
    rmSync(beside, { force: true });
    const descriptor = openSync(beside, "wx", 0o600);
    try {
      const files = sources.map(({ name, path }) => ({ name, size: statSync(path).size }));
      const head = ascii(JSON.stringify({ format: FORMAT, made_at: madeAt, schema, files }));
      const hasher = new Bun.CryptoHasher("sha256");
      const put = (bytes: Uint8Array): void => {
        hasher.update(bytes);
        putAll(descriptor, bytes);
      };
      put(MAGIC);
      put(lengthOf(head));
      put(head);
      for (const [i, { path }] of sources.entries()) copyPart(path, files[i]?.size ?? 0, put);
      const digest = new Uint8Array(hasher.digest());
      putAll(descriptor, digest);
      putAll(descriptor, sealer.seal(PLACE, digest));
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
    renameSync(beside, file);
    syncFolder(dirname(file));
    return statSync(file).size;
  } catch (cause) {
    rmSync(beside, { force: true });
    throw new AbsError(
      "BACKUP_UNWRITABLE",
      `${file} cannot be written: ${messageOf(cause)}.`,
      "Make room, or name another file; the manager and an older backup there are as they were.",
      cause,
    );
  }
}

/**
 * Reads all of it once: nothing of a file that is damaged, newer, or not sealed under this data key
 * is given out. @throws AbsError BACKUP_UNREADABLE, BACKUP_DAMAGED, BACKUP_NEWER, BACKUP_KEY_WRONG
 */
export async function checkBackup(file: string, sealer: Sealer): Promise<BackupHead> {
  const { head, dataStart, sizeBytes } = readHead(file);
  const dataBytes = head.files.reduce((sum, part) => sum + part.sizeBytes, 0);
  const end = dataStart + dataBytes;
  if (end + DIGEST_BYTES + SEALED_BYTES !== sizeBytes) throw damaged(file, "its length is wrong");
  const hasher = new Bun.CryptoHasher("sha256");
  for await (const bytes of createReadStream(file, { end: end - 1 })) hasher.update(bytes);
  const digest = new Uint8Array(hasher.digest());
  if (!equalBytes(digest, readAt(file, end, DIGEST_BYTES))) {
    throw damaged(file, "its checksum does not fit");
  }
  requireSeal(file, sealer, digest, readAt(file, end + DIGEST_BYTES, SEALED_BYTES));
  return head;
}

/** One part of a checked file, to `path`, which must not exist. */
export async function unpackPart(
  file: string,
  head: BackupHead,
  name: string,
  path: string,
): Promise<void> {
  let start = readHead(file).dataStart;
  for (const part of head.files) {
    if (part.name === name) {
      const descriptor = openSync(path, "wx", 0o600);
      try {
        const end = start + part.sizeBytes - 1;
        const bytes = part.sizeBytes === 0 ? [] : createReadStream(file, { start, end });
        for await (const some of bytes) putAll(descriptor, some as Uint8Array);
        fsyncSync(descriptor);
      } finally {
        closeSync(descriptor);
      }
      return;
    }
    start += part.sizeBytes;
  }
}

export function syncFolder(dir: string): void {
  const descriptor = openSync(dir, "r");
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

function readHead(file: string): {
  readonly head: BackupHead;
  readonly dataStart: number;
  readonly sizeBytes: number;
} {
  let sizeBytes: number;
  try {
    sizeBytes = statSync(file).size;
    const start = readAt(file, 0, MAGIC.length + 4);
    if (start.length < MAGIC.length + 4 || !equalBytes(start.subarray(0, MAGIC.length), MAGIC)) {
      throw damaged(file, "it is no backup of `abs manager backup`");
    }
    const headBytes = new DataView(start.buffer, start.byteOffset).getUint32(MAGIC.length);
    const dataStart = MAGIC.length + 4 + headBytes;
    if (headBytes > HEAD_BYTES_MAX || dataStart > sizeBytes) throw damaged(file, "its head is cut");
    return {
      head: decodeHead(file, readAt(file, MAGIC.length + 4, headBytes)),
      dataStart,
      sizeBytes,
    };
  } catch (cause) {
    if (cause instanceof AbsError) throw cause;
    const what = `${file} cannot be read: ${messageOf(cause)}.`;
    throw new AbsError("BACKUP_UNREADABLE", what, "Check the path and who you are.", cause);
  }
}

function decodeHead(file: string, bytes: Uint8Array): BackupHead {
  const json = parseJsonText(bytes);
  const format = "value" in json && isObject(json.value) ? json.value["format"] : undefined;
  if (typeof format === "number" && format > FORMAT) {
    throw new AbsError(
      "BACKUP_NEWER",
      `${file} has format ${format}; this \`abs\` knows ${FORMAT}.`,
      "Use the newer `abs` that wrote it.",
    );
  }
  const fields = new JsonFields("value" in json ? json.value : undefined);
  const head = {
    format: fields.integer("format", FORMAT, FORMAT),
    madeAt: fields.integer("made_at", 0, 2 ** 40),
    schema: fields.integer("schema", 1, 2 ** 31),
    files: fields.list("files", FILES_MAX).map((value) => {
      const part = new JsonFields(value);
      const name = part.text("name", NAME_CHARACTERS_MAX);
      const sizeBytes = part.integer("size", 0, Number.MAX_SAFE_INTEGER);
      part.end();
      if (part.complaint !== undefined) throw damaged(file, part.complaint);
      return { name, sizeBytes };
    }),
  };
  fields.end();
  if (fields.complaint !== undefined) throw damaged(file, fields.complaint);
  return head;
}

function requireSeal(file: string, sealer: Sealer, digest: Uint8Array, sealed: Uint8Array): void {
  try {
    if (equalBytes(sealer.open(PLACE, sealed), digest)) return;
  } catch (cause) {
    throw keyWrong(file, cause);
  }
  throw keyWrong(file);
}

function keyWrong(file: string, cause?: unknown): AbsError {
  return new AbsError(
    "BACKUP_KEY_WRONG",
    `${file} was not sealed under this data key, or somebody has changed it since.`,
    "Give the data key of the manager that made it: --data-key FILE.",
    cause,
  );
}

function damaged(file: string, why: string): AbsError {
  const what = `${file} is damaged: ${why}.`;
  return new AbsError("BACKUP_DAMAGED", what, "Take another copy of it, or an older backup.");
}

function copyPart(path: string, sizeBytes: number, put: (bytes: Uint8Array) => void): void {
  const descriptor = openSync(path, "r");
  try {
    const buffer = new Uint8Array(COPIED_BYTES);
    for (let left = sizeBytes; left > 0; ) {
      const count = readSync(descriptor, buffer, 0, Math.min(left, COPIED_BYTES), null);
      if (count === 0) throw new Error(`${path} became shorter`);
      put(buffer.subarray(0, count));
      left -= count;
    }
  } finally {
    closeSync(descriptor);
  }
}

function putAll(descriptor: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) done += writeSync(descriptor, bytes, done);
}

function readAt(file: string, position: number, sizeBytes: number): Uint8Array {
  const descriptor = openSync(file, "r");
  try {
    const bytes = new Uint8Array(sizeBytes);
    return bytes.subarray(0, readSync(descriptor, bytes, 0, sizeBytes, position));
  } finally {
    closeSync(descriptor);
  }
}

function lengthOf(bytes: Uint8Array): Uint8Array {
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, bytes.length);
  return length;
}
