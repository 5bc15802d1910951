/** A child that gives way to everything else on the machine. */
import { setPriority } from "node:os";

/** @param nice 1 to 19 (setpriority(2)) */
export function giveWay(pid: number, nice: number): void {
  try {
    setPriority(pid, nice);
  } catch {
    // It has ended already.
  }
}
