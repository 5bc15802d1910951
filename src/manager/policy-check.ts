/**
 * A policy before it is distributed: read as an agent reads it, and compiled for every agent of the
 * tenant, so that what no agent could put in force is refused here, to the one who wrote it.
 * docs/manager.md "Policy".
 */
import { compilePolicy } from "../policy/compile.ts";
import type { PolicyNames } from "../policy/policy.ts";
import { policyWarnings } from "../policy/policy-warnings.ts";
import { parsePolicy } from "../policy/schema.ts";
import type { ManagerState } from "./manager-state.ts";
import type { MappedNode } from "./mapping-service.ts";

/** How the input is called in complaints. */
const INPUT = "input";

/**
 * @returns warnings for whoever wrote it
 * @throws AbsError POLICY_INVALID
 */
export function checkPolicy(state: ManagerState, tenant: string, text: string): string[] {
  const policy = parsePolicy(text, INPUT);
  const nodes = state.nodes.enrolled(tenant);
  const namesOf = policyNamesOf(state, tenant, nodes);
  for (const node of nodes) compilePolicy(policy, namesOf(node));
  return policyWarnings(
    policy,
    nodes.map(({ name: id, groups }) => ({ id, groups })),
  );
}

/** The names that a policy may use, as each of the tenant's enrolled `nodes` knows them. */
export function policyNamesOf(
  state: ManagerState,
  tenant: string,
  nodes: readonly MappedNode[],
): (node: MappedNode) => PolicyNames {
  const apps = ["", ...state.tenants.applicationTags(tenant).map(({ name }) => name)];
  const known = state.knownNames(tenant);
  const partyOf = ({ name, groups, mode }: MappedNode) => ({ id: name, groups, mode });
  return (node) => {
    const own = { ...partyOf(node), stage: node.stage };
    const peers = nodes.filter(({ nodeId }) => nodeId !== node.nodeId).map(partyOf);
    return { own, peers, apps, otherTenants: [], known };
  };
}
