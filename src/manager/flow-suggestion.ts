/**
 * Rules for a tenant's policy that allow what agents refused, each naming both ends: of a flow
 * between two agents the one that begins needs one, and the one that answers. policy/suggest.ts
 * makes them for one agent. docs/manager.md "Flows".
 */
import type { SuggestedRule, Suggestion } from "../answers/flows.ts";
import type { ObservedFlow } from "../policy/observed-flows.ts";
import { PolicyAnswers } from "../policy/question.ts";
import { withRulesAdded } from "../policy/rule-insertion.ts";
import { parsePolicy } from "../policy/schema.ts";
import { type SuggestedRule as RuleOfAgent, suggest } from "../policy/suggest.ts";
import { bothQuestions } from "./flow-question.ts";
import type { ManagerState } from "./manager-state.ts";
import type { MappedNode } from "./mapping-service.ts";
import { policyNamesOf } from "./policy-check.ts";
import type { ReportedFlow } from "./reported-flows.ts";

export function suggestRules(
  state: ManagerState,
  tenant: string,
  flows: readonly ReportedFlow[],
): Suggestion {
  const { version, body } = state.tenants.policy(tenant);
  const policy = parsePolicy(body, "policy");
  const nodes = state.nodes.enrolled(tenant);
  const namesOf = policyNamesOf(state, tenant, nodes);
  const taken = new Set(policy.rules.map(({ id }) => id));
  const rules: SuggestedRule[] = [];
  let [unknownApp, deniedByRule] = [0, 0];
  for (const [node, asked] of byNode(flows, nodes)) {
    const found = suggest(asked, new PolicyAnswers(policy, namesOf(node)), taken);
    for (const { rule } of found.suggestions) {
      taken.add(rule.id);
      rules.push(atBothEnds(rule, node.name));
    }
    unknownApp += found.unknownApp;
    deniedByRule += found.deniedByRule;
  }
  const document = rules.length === 0 ? body : withRulesAdded(body, rules);
  return { version, document, rules, unknown_app: unknownApp, denied_by_rule: deniedByRule };
}

/** Each question once: both ends may have told of it. */
function byNode(
  flows: readonly ReportedFlow[],
  nodes: readonly MappedNode[],
): ReadonlyMap<MappedNode, readonly ObservedFlow[]> {
  const found = new Map<MappedNode, Map<string, ObservedFlow>>();
  for (const { node, observed } of flows.flatMap((flow) => bothQuestions(flow, nodes))) {
    const own = found.get(node) ?? new Map<string, ObservedFlow>();
    found.set(node, own.set(JSON.stringify(observed.question), observed));
  }
  return new Map([...found].map(([node, asked]) => [node, [...asked.values()]]));
}

/** The policy is every agent's: the rule must say whose it is. */
function atBothEnds(rule: RuleOfAgent, agent: string): SuggestedRule {
  const { id, direction, from = {}, to = {}, ...more } = rule;
  const ends =
    direction === "in" ? { from, to: { agent, ...to } } : { from: { agent, ...from }, to };
  return { id, direction, ...ends, ...more };
}
