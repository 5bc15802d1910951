/** What a process has used of the processors: /proc/PID/stat (proc(5)). */
import { readFileSync } from "node:fs";

/** USER_HZ, the same on every Linux that runs x86-64. */
const TICKS_PER_S = 100;
const USER_TICKS = 11;
const SYSTEM_TICKS = 12;

/** All its threads, in seconds since its start; 0: it is gone. */
export function cpuSecondsOf(pid: number): number {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch {
    return 0;
  }
  // The name, in brackets, may hold anything.
  const words = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return (Number(words[USER_TICKS]) + Number(words[SYSTEM_TICKS])) / TICKS_PER_S;
}
