/**
 * Rules of the VM's owner (`abs policy apply`): they only deny, come before the manager's, and are
 * always enforced, so that they take away and never give. docs/policy.md "Local rules". Their ids
 * begin with `local-` in every decision.
 */
import { AbsError } from "../errors.ts";
import { parseDocument } from "../store/document.ts";
import type { Policy, PolicyRule } from "./policy.ts";
import { parsePolicy } from "./schema.ts";

/** No other policy's rule may begin so (schema.ts). */
const PREFIX = "local-";

/**
 * `{ version: 1, rules: […] }`, as a policy without defaults. Throws AbsError `POLICY_INVALID`.
 * @param file only used in messages
 */
export function parseLocalRules(text: string, file: string): PolicyRule[] {
  const defaults = parseDocument(text, file, "POLICY")
    .map(["version", "defaults", "rules"])
    .get("defaults");
  defaults?.fail("local rules have no defaults.", "Only the manager's policy has them.");
  const { rules } = parsePolicy(text, file);
  for (const { place, id, action, stage } of rules) {
    if (action !== "deny") {
      throw invalid(`${place}: the rule "${id}" allows.`, "Local rules only deny.");
    }
    // A denial that is only logged would hide one of the manager's that is enforced.
    if (stage !== undefined && stage !== "enforce") {
      throw invalid(`${place}: "${id}" has the stage ${stage}.`, "Local rules are enforced.");
    }
  }
  return rules.map((rule) => ({ ...rule, id: PREFIX + rule.id, stage: "enforce" }));
}

export function withLocalRules(policy: Policy, local: readonly PolicyRule[]): Policy {
  return { ...policy, rules: [...local, ...policy.rules] };
}

export function isLocal({ id }: Pick<PolicyRule, "id">): boolean {
  return id.startsWith(PREFIX);
}

function invalid(what: string, remedy: string): AbsError {
  return new AbsError("POLICY_INVALID", what, remedy);
}
