/**
 * What another policy would do with the flows of the past (`abs policy replay`): each is asked of
 * both policies, by the data plane's own function. design/agent.md "Policy".
 */
import type { PolicyQuestion } from "./explain.ts";
import type { ObservedFlow } from "./observed-flows.ts";
import type { PolicyAnswer, PolicyAnswers } from "./question.ts";

export interface ReplayedFlow {
  readonly question: PolicyQuestion;
  /** Decisions of the log on it. */
  readonly count: number;
  readonly last: string;
  /** By the policy now, and by the draft. */
  readonly now: PolicyAnswer;
  readonly draft: PolicyAnswer;
}

export interface Replay {
  /** Different flows, and those that both policies decide alike. */
  readonly flows: number;
  readonly same: number;
  /** Flows whose action changes; most decided first. */
  readonly changed: readonly ReplayedFlow[];
  /** Flows that stay allowed, or denied, by another rule. */
  readonly otherRule: number;
  /** How many flows each rule of the draft decides. */
  readonly hits: ReadonlyMap<string, number>;
}

export function replay(
  flows: Iterable<ObservedFlow>,
  now: PolicyAnswers,
  draft: PolicyAnswers,
): Replay {
  const changed: ReplayedFlow[] = [];
  const hits = new Map<string, number>();
  let count = 0;
  let otherRule = 0;
  for (const flow of flows) {
    count++;
    const before = now.answer(flow.question);
    const after = draft.answer(flow.question);
    hits.set(after.rule, (hits.get(after.rule) ?? 0) + 1);
    if (before.action === after.action) {
      if (before.rule !== after.rule) otherRule++;
      continue;
    }
    const { question, last } = flow;
    changed.push({ question, count: flow.count, last, now: before, draft: after });
  }
  changed.sort((left, right) => right.count - left.count);
  return { flows: count, same: count - changed.length - otherRule, changed, otherRule, hits };
}
