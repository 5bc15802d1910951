/**
 * How much of the processor a child may take: at the start packets wait for it; later it must give
 * way to the data plane, which on a small machine shares its cores.
 */
import { giveWay } from "../native/child-priority.ts";

export type ChildUrgency = "now" | "beside-traffic";

const NICE = 15;

export function setUrgency(pid: number, urgency: ChildUrgency): void {
  if (urgency === "beside-traffic") giveWay(pid, NICE);
}
