/** How much room a disk has, for those who ask before they write. */
import { statfsSync } from "node:fs";

/** Bytes that may still be written on the disk of this folder or file. */
export function freeBytes(path: string): number {
  const { bavail, bsize } = statfsSync(path);
  return bavail * bsize;
}
