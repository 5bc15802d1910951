/**
 * Two session keys of an agent, and when the old one goes. docs/manager.md "Keys". First all others
 * hear of the new key, and take both; when they do, the agent uses the new one alone; when it does,
 * the others forget the old one. So at no moment does anybody begin a session with a key that the
 * other side does not take. Who does not report holds each of the two up for a day at most.
 */
import type { AbsEvent } from "../observe/event-record.ts";
import type { EpochSeconds } from "../units.ts";
import type { ManagerState } from "./manager-state.ts";
import type { MappedNode } from "./mapping-service.ts";

/** An agent that was away for longer has to hear from the manager before it meets that one anew. */
export const WAIT_SECONDS_MAX = 24 * 3600;

/** Goes on with all overlaps of a tenant whose next step is due. */
export function followOverlaps(state: ManagerState, tenant: string): AbsEvent[] {
  if (!state.nodes.hasOverlaps(tenant)) return [];
  const nodes = state.nodes.enrolled(tenant);
  const steps = nodes.flatMap((node) => stepOf(node, nodes, state.now()) ?? []);
  if (steps.length === 0) return [];
  state.transaction(() => {
    for (const { node, step } of steps) {
      if (step === "alone") state.nodes.useNewSessionKey(node.nodeId);
      else state.nodes.forgetOldSessionKey(node.nodeId);
    }
    state.tenants.countUp(tenant);
  });
  return steps
    .filter(({ step }) => step === "over")
    .map(({ node }) => ({ event: "agent-session-key-alone", node: node.nodeId }));
}

type Step = { readonly node: MappedNode; readonly step: "alone" | "over" };

function stepOf(node: MappedNode, all: readonly MappedNode[], now: EpochSeconds): Step | undefined {
  const { sessionOld, sessionFrom = 0, sessionAlone, sessionSince = node.enrolledAt } = node;
  if (sessionOld === undefined) return undefined;
  const waited = now - sessionSince;
  if (sessionAlone !== undefined) {
    const isUsed = node.enforcedVersion >= sessionAlone || waited >= 2 * WAIT_SECONDS_MAX;
    return isUsed ? { node, step: "over" } : undefined;
  }
  const haveHeard = all.every(
    (other) => other.nodeId === node.nodeId || other.enforcedVersion >= sessionFrom,
  );
  return haveHeard || waited >= WAIT_SECONDS_MAX ? { node, step: "alone" } : undefined;
}
