/**
 * Damage in SQLite's write-ahead log. SQLite takes a log up to the first frame whose checksum does
 * not fit and drops the rest without a word: right for the torn end of a write, wrong where a bit
 * has changed in the middle, since transactions that were on the disk are gone then. A frame that
 * fits and commits behind one that does not tells them apart. The format:
 * https://sqlite.org/fileformat2.html#walformat
 */
import { existsSync, readFileSync } from "node:fs";

const HEADER_BYTES = 32;
const FRAME_HEADER_BYTES = 24;
const MAGIC = 0x377f0682;
const PAGE_BYTES_MIN = 512;
const PAGE_BYTES_MAX = 65_536;

type Sum = readonly [number, number];

/** Why what the log of this database held last may be lost; undefined: it is not. */
export function walFault(databaseFile: string): string | undefined {
  const file = `${databaseFile}-wal`;
  if (!existsSync(file)) return undefined;
  return walBytesFault(readFileSync(file));
}

export function walBytesFault(bytes: Uint8Array): string | undefined {
  if (bytes.length <= HEADER_BYTES) return undefined;
  const log = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const magic = log.getUint32(0);
  const pageBytes = log.getUint32(8);
  const isLittle = (magic & 1) === 0;
  const stored: Sum = [log.getUint32(24), log.getUint32(28)];
  const isHeaderRight =
    (magic & ~1) === MAGIC &&
    pageBytes >= PAGE_BYTES_MIN &&
    pageBytes <= PAGE_BYTES_MAX &&
    isSame(stored, sumOf(log, { from: 0, end: 24, isLittle }, [0, 0]));
  if (!isHeaderRight) return "the head of the write-ahead log is damaged";
  return framesFault(log, { pageBytes, isLittle, head: stored });
}

type Layout = { readonly pageBytes: number; readonly isLittle: boolean; readonly head: Sum };

/** Frames of an earlier use of the file, which have other salts, come last. */
function framesFault(log: DataView, { pageBytes, isLittle, head }: Layout): string | undefined {
  const salts: Sum = [log.getUint32(16), log.getUint32(20)];
  const frameBytes = FRAME_HEADER_BYTES + pageBytes;
  // What a frame's sum begins with: the one before it, as it is stored and as it should be.
  let starts: readonly Sum[] = [head];
  let broken: number | undefined;
  for (let number = 1, at = HEADER_BYTES; at + frameBytes <= log.byteLength; number++) {
    const stored: Sum = [log.getUint32(at + 16), log.getUint32(at + 20)];
    const sums = starts.map((start) => {
      const words = sumOf(log, { from: at, end: at + 8, isLittle }, start);
      const page = { from: at + FRAME_HEADER_BYTES, end: at + frameBytes, isLittle };
      return sumOf(log, page, words);
    });
    const isOfThisUse = isSame(salts, [log.getUint32(at + 8), log.getUint32(at + 12)]);
    const isRight = isOfThisUse && sums.some((sum) => isSame(sum, stored));
    // Frames of a transaction that did not come to its end may lie there too: none commits.
    const commits = log.getUint32(at + 4) !== 0;
    if (isRight && commits && broken !== undefined) {
      return `frame ${broken} of the write-ahead log is damaged: what was written since is lost`;
    }
    if (!isRight) broken ??= number;
    starts = isRight ? [stored] : [stored, ...sums.slice(0, 1)];
    at += frameBytes;
  }
  return undefined;
}

function isSame(one: Sum, other: Sum): boolean {
  return one[0] === other[0] && one[1] === other[1];
}

/** Of a stretch whose size is a multiple of eight bytes. */
function sumOf(
  log: DataView,
  { from, end, isLittle }: { from: number; end: number; isLittle: boolean },
  [first, second]: Sum,
): Sum {
  let [one, other] = [first, second];
  for (let at = from; at < end; at += 8) {
    one = (one + log.getUint32(at, isLittle) + other) >>> 0;
    other = (other + log.getUint32(at + 4, isLittle) + one) >>> 0;
  }
  return [one, other];
}
