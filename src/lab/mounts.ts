/**
 * Mounts below a directory: an agent that was killed leaves its private network namespace mounted
 * in its state directory, and neither the directory nor the namespace goes away before it is
 * unmounted.
 */
import { readFileSync } from "node:fs";
import { unmount } from "../takeover/libc.ts";

/** Unmounts everything mounted at or below `directory`. */
export function releaseMounts(directory: string): void {
  const mounted = mountsBelow(readFileSync("/proc/self/mountinfo", "utf8"), directory);
  for (const path of mounted.reverse()) unmount(path);
}

/** Mount points at or below `directory`, in the order they were mounted. */
export function mountsBelow(mountinfo: string, directory: string): string[] {
  return mountinfo
    .split("\n")
    .map((line) => unescapePath(line.split(" ")[4] ?? ""))
    .filter((path) => path === directory || path.startsWith(`${directory}/`));
}

/** mountinfo writes space, tab, newline and backslash as three octal digits. */
function unescapePath(path: string): string {
  return path.replace(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}
