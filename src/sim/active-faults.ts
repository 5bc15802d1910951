/**
 * Which fault hits whom now: asked at every step of every participant, so the faults are sorted by
 * kind and participant once.
 */
import { type Fault, type FaultKind, isActive, type Participant } from "./fault.ts";

export class ActiveFaults {
  private readonly byKind = new Map<FaultKind, Map<Participant, Fault[]>>();

  constructor(faults: readonly Fault[]) {
    for (const fault of faults) {
      const hit = this.byKind.get(fault.kind) ?? new Map<Participant, Fault[]>();
      this.byKind.set(fault.kind, hit);
      for (const participant of fault.participants) {
        hit.set(participant, [...(hit.get(participant) ?? []), fault]);
      }
    }
  }

  find(kind: FaultKind, participant: Participant, nowMs: number): Fault | undefined {
    const faults = this.byKind.get(kind)?.get(participant);
    return faults?.find((fault) => isActive(fault, nowMs));
  }
}
