/**
 * What another policy would do with the flows that agents reported: each is asked of both, for the
 * agent that reported it. policy/replay.ts does it for one agent. docs/manager.md "Flows".
 */
import type { ChangedFlow, Replay } from "../answers/flows.ts";
import { PolicyAnswers } from "../policy/question.ts";
import { replay } from "../policy/replay.ts";
import { parsePolicy } from "../policy/schema.ts";
import { formatAddress } from "../wire/ip-text.ts";
import { ownQuestion } from "./flow-question.ts";
import type { ManagerState } from "./manager-state.ts";
import { checkPolicy, policyNamesOf } from "./policy-check.ts";
import type { ReportedFlow } from "./reported-flows.ts";

/** @throws AbsError POLICY_INVALID */
export function replayFlows(
  state: ManagerState,
  tenant: string,
  { document, flows }: { readonly document: string; readonly flows: readonly ReportedFlow[] },
): Replay {
  checkPolicy(state, tenant, document);
  const draft = parsePolicy(document, "input");
  const now = parsePolicy(state.tenants.policy(tenant).body, "policy");
  const nodes = state.nodes.enrolled(tenant);
  const namesOf = policyNamesOf(state, tenant, nodes);
  const changed: ChangedFlow[] = [];
  let [count, same, otherRule] = [0, 0, 0];
  const asked = flows.flatMap((flow) => ownQuestion(flow, nodes));
  for (const node of new Set(asked.map((one) => one.node))) {
    const own = asked.filter((one) => one.node === node).map(({ observed }) => observed);
    const names = namesOf(node);
    const found = replay(own, new PolicyAnswers(now, names), new PolicyAnswers(draft, names));
    count += found.flows;
    same += found.same;
    otherRule += found.otherRule;
    changed.push(...found.changed.map((one) => changedRow(node.name, one)));
  }
  changed.sort((left, right) => right.count - left.count);
  return { flows: count, same, other_rule: otherRule, changed };
}

type Changed = ReturnType<typeof replay>["changed"][number];

function changedRow(agent: string, { question, count, now, draft }: Changed): ChangedFlow {
  const { direction, peer, address, port, app = "" } = question;
  return {
    ...{ agent, direction, other: peer ?? formatAddress(address), app, port, count },
    ...{ now: `${now.action} by ${now.rule}`, draft: `${draft.action} by ${draft.rule}` },
  };
}
