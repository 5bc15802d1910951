/** What a provisioning file compiles to: policy and signatures as the workers read them. */
import { type CompiledSignatures, compileSignatures } from "../dpi/compile.ts";
import { type CompiledPolicy, compilePolicy } from "../policy/compile.ts";
import type { ContractRule } from "../session/contract.ts";
import type { TagIndex } from "../units.ts";
import { type Provisioning, policyNames, tagIndexOf } from "./provisioning.ts";

export function compileProvisioning(provisioning: Provisioning): {
  policy: CompiledPolicy;
  signatures: CompiledSignatures;
} {
  return {
    policy: compilePolicy(provisioning.policy, policyNames(provisioning)),
    signatures: compileSignatures(provisioning.signatures, (app) =>
      tagIndexOf(provisioning.tags, app),
    ),
  };
}

/** What the first rule that names this application asks of its contract. */
export function contractRuleFor(
  provisioning: Provisioning,
  tag: TagIndex,
): ContractRule | undefined {
  const app = provisioning.tags[tag]?.name;
  if (app === undefined || app === "") return undefined;
  return provisioning.policy.rules.find((rule) => rule.app === app && rule.contract !== undefined)
    ?.contract;
}
