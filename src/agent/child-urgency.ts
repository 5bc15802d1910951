/**
 * How much of the processor a child may take: at the start packets wait for it; later it must give
 * way to the data plane, which on a small machine shares its cores.
 */
import { setPriority } from "node:os";

export type ChildUrgency = "now" | "beside-traffic";

const NICE = 15;

export function giveWay(pid: number, urgency: ChildUrgency): void {
  if (urgency === "now") return;
  try {
    setPriority(pid, NICE);
  } catch {
    // It has ended already.
  }
}
