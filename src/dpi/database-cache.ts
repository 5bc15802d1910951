/**
 * Compiled signatures on disk, found by what they were compiled from: the contents, the version of
 * Hyperscan, the CPU. A file: 8 bytes of magic, the SHA-256 of what follows, what abs_match_save
 * wrote. It is code as far as Hyperscan is concerned, so only a file that nobody but root or the
 * program's own user can write is read, and its digest is checked; anything else is as good as no
 * file, and is replaced.
 */
import {
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  fsyncSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { concat } from "../bytes.ts";

const MAGIC = Buffer.from("ABSHS\0\0\x02", "latin1");
const DIGEST_BYTES = 32;
const PREFIX = "signatures-";
const SUFFIX = ".hs";
const FILE_BYTES_MAX = 512 * 1024 * 1024;
const OPEN_TO_OTHERS = 0o077;
const WRITABLE_BY_OTHERS = 0o022;
/** The running ones, and those before them for a way back. */
const FILES_KEPT = 2;

/** `versions`: of the shim's libraries. */
export function cacheKey(entries: Uint8Array, versions: string): string {
  const machine = `${versions}\0${cpus()[0]?.model ?? ""}\0`;
  return new Bun.CryptoHasher("sha256").update(machine).update(entries).digest("hex");
}

/** What was kept under `key`; undefined when there is nothing to trust. */
export function readCached(folder: string, key: string): Uint8Array | undefined {
  if (!isOurs(folder)) return undefined;
  let descriptor: number;
  try {
    descriptor = openSync(pathOf(folder, key), constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch {
    return undefined; // not there, or a link
  }
  try {
    const { uid, mode, size } = fstatSync(descriptor);
    const isFile = (mode & constants.S_IFMT) === constants.S_IFREG;
    if (!isFile || !isOwner(uid) || (mode & OPEN_TO_OTHERS) !== 0) return undefined;
    if (size <= MAGIC.length + DIGEST_BYTES || size > FILE_BYTES_MAX) return undefined;
    const bytes = readFileSync(descriptor);
    const saved = bytes.subarray(MAGIC.length + DIGEST_BYTES);
    const head = Buffer.concat([MAGIC, digestOf(saved)]);
    return head.equals(bytes.subarray(0, head.length)) ? new Uint8Array(saved) : undefined;
  } finally {
    closeSync(descriptor);
  }
}

/** Keeps `saved` under `key`. False when the folder does not allow it: that costs time only. */
export function writeCached(folder: string, key: string, saved: Uint8Array): boolean {
  if (!isOurs(folder)) return false;
  const path = pathOf(folder, key);
  const fresh = `${path}.new`;
  try {
    rmSync(fresh, { force: true });
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
    const descriptor = openSync(fresh, flags, 0o600);
    try {
      fchmodSync(descriptor, 0o600);
      const bytes = concat(MAGIC, digestOf(saved), saved);
      for (let done = 0; done < bytes.length; ) done += writeSync(descriptor, bytes, done);
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
    renameSync(fresh, path);
    forgetOld(folder, path);
    return true;
  } catch {
    return false;
  }
}

function pathOf(folder: string, key: string): string {
  return join(folder, PREFIX + key + SUFFIX);
}

function digestOf(bytes: Uint8Array): Buffer {
  return new Bun.CryptoHasher("sha256").update(bytes).digest();
}

/** Whether nobody else can put files into the folder. */
function isOurs(folder: string): boolean {
  const status = statSync(folder, { throwIfNoEntry: false });
  if (status === undefined || !status.isDirectory()) return false;
  return isOwner(status.uid) && (status.mode & WRITABLE_BY_OTHERS) === 0;
}

function isOwner(uid: number): boolean {
  return uid === 0 || uid === process.geteuid?.();
}

function forgetOld(folder: string, newest: string): void {
  const names = readdirSync(folder).filter(
    (name) => name.startsWith(PREFIX) && name.endsWith(SUFFIX),
  );
  const others = names.map((name) => join(folder, name)).filter((path) => path !== newest);
  const age = (path: string) => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  others.sort((left, right) => age(right) - age(left));
  for (const path of others.slice(FILES_KEPT - 1)) rmSync(path, { force: true });
}
