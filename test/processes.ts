/** Other processes as /proc has them; one that has gone meanwhile is no error. */
import { readFileSync } from "node:fs";

/** A file of a process in /proc; empty: there is no such process any more. */
export function readProcess(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "utf8");
  } catch {
    return "";
  }
}

/** Those that the main thread of a process has started and that still are. */
export function childrenOf(pid: number): number[] {
  const words = readProcess(pid, `task/${pid}/children`).trim().split(" ");
  return words.filter((word) => word !== "").map(Number);
}
