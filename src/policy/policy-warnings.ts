/**
 * What in a policy surely is a mistake, or will be one if nothing else changes, and yet no error:
 * rules that never decide, and rules about nobody. For whoever applies it. docs/policy.md.
 */
import { ownEndOf, remoteOf } from "./compile.ts";
import type { NamedAgent, Party, Policy, PolicyRule } from "./policy.ts";
import { shadowedAtEach, shadowedWords } from "./shadowed.ts";

/** More are counted only. */
const WARNINGS_MAX = 20;

/** @param agents of the tenant, as they are now; with none yet, all rules are about nobody. */
export function policyWarnings(policy: Policy, agents: readonly NamedAgent[]): string[] {
  if (agents.length === 0) return [];
  const ids = new Set(agents.map(({ id }) => id));
  const groups = new Set(agents.flatMap((agent) => agent.groups));
  const meansNobody = (end: Party) => {
    const known = end.kind === "agent" ? ids : groups;
    return "names" in end && !end.names.some((name) => known.has(name));
  };
  const nobody = policy.rules.filter(
    (rule) => meansNobody(ownEndOf(rule)) || meansNobody(remoteOf(rule)),
  );
  const shadowed = shadowedAtEach(policy, agents);
  return limited([...nobody.map(nobodyWords), ...shadowed.map(shadowedWords)]);
}

function limited(warnings: readonly string[]): string[] {
  const more = warnings.length - WARNINGS_MAX;
  return more <= 0 ? [...warnings] : [...warnings.slice(0, WARNINGS_MAX), `${more} more.`];
}

function nobodyWords({ place, id }: PolicyRule): string {
  return `${place}: rule "${id}" decides nothing now: at one end it means no enrolled agent.`;
}
