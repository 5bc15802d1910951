/**
 * The simulated network: when a message arrives, how often, or whether it does. Every fault has a
 * generator of its own, so that the others act the same without it.
 */
import { type Fault, type FaultKind, isActive, type Participant } from "./fault.ts";
import { Prng } from "./prng.ts";

const LATENCY_MS_MIN = 1;
const LATENCY_MS_MAX = 12;

export class Network {
  private readonly latency: Prng;
  private readonly faults: readonly { readonly fault: Fault; readonly prng: Prng }[];

  constructor(
    seed: number,
    faults: readonly Fault[],
    private readonly count: (kind: FaultKind) => void,
  ) {
    this.latency = Prng.of(seed, 1000);
    this.faults = faults.map((fault, i) => ({ fault, prng: Prng.of(seed, 2000 + i) }));
  }

  /** Milliseconds after which each copy arrives; none: it is lost. */
  delays(nowMs: number, from: Participant, to: Participant): number[] {
    let delayMs = this.latency.between(LATENCY_MS_MIN, LATENCY_MS_MAX);
    let copyMs = 0;
    for (const { fault, prng } of this.faults) {
      if (!isActive(fault, nowMs) || !isOnLink(fault, from, to)) continue;
      if (isCut(fault) || (fault.kind === "loss" && prng.chance(fault.share))) {
        this.count(fault.kind);
        return [];
      }
      if (fault.kind === "slow") delayMs += fault.ms;
      else if (fault.kind === "reorder") delayMs += prng.below(fault.ms);
      else if (fault.kind === "duplicate" && prng.chance(fault.share)) copyMs = fault.ms;
      else continue;
      this.count(fault.kind);
    }
    return copyMs === 0 ? [delayMs] : [delayMs, delayMs + copyMs];
  }
}

function isCut(fault: Fault): boolean {
  return fault.kind === "partition" || fault.kind === "one-way";
}

function isOnLink(fault: Fault, from: Participant, to: Participant): boolean {
  const isFrom = fault.participants.includes(from);
  const isTo = fault.participants.includes(to);
  switch (fault.kind) {
    case "partition":
      return isFrom !== isTo;
    case "one-way":
      return isFrom && !isTo;
    case "loss":
    case "slow":
    case "reorder":
    case "duplicate":
      return isFrom || isTo;
    default:
      return false;
  }
}
