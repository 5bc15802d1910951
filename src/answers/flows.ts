/** Answers about flows that agents reported, and what a policy says of them. */
import { type Static, Type } from "typebox";
import { count, flag, list, moment, said, texts, word } from "./answer-values.ts";

const direction = word(["in", "out"], "as the agent sees it");
const action = word(["allow", "deny"], "what the policy decides");
const app = said("application that was proven or recognised; empty: none");
const port = count("of who answers, 0 to 65535");
const policyVersion = count("version of the policy that was asked");

const verdict = word(
  ["allowed", "refused", "would-refuse"],
  "would-refuse: refused, were the stage enforce",
);
export type Verdict = Static<typeof verdict>;

const flow = Type.Object({
  direction,
  address: said("IP address of the other end"),
  peer: said("name of the agent at the other end; empty: none is known"),
  app,
  protocol: said("name of the IP protocol, or its number"),
  port,
  verdict,
  rule: said("id of the rule that decided, or name of a default; empty: none did"),
  reason: said("why packets were dropped; empty: they were not"),
  count: count("how often it was decided"),
  id: said("of agent and question: the same flow has the same again"),
  agent: said("name of the agent that decided"),
  first: moment("when it was reported first, since the manager started"),
  last: moment("when it was reported last"),
});
export type Flow = Static<typeof flow>;

export const flowRows = list(flow, "what was seen last comes first");

const considered = Type.Object({
  rule: said("id of the rule"),
  applies: flag("whether it decides"),
  why: said("in words"),
});

export const explanation = Type.Object({
  version: policyVersion,
  action,
  rule: said("id of the rule that decides, or name of a default"),
  stage: word(["observe", "warn", "enforce"], "what becomes of a packet that is refused"),
  serverFirst: flag("whether the end that answers may send first"),
  refuse: word(["drop", "reject"], "reject: who sent a refused packet is told"),
  considered: list(considered, "rules in the order of the policy, up to the one that decides"),
});
export type Explanation = Static<typeof explanation>;

function oneOrMore(description: string) {
  return Type.Union([Type.String(), texts("each of them")], { description });
}

const portOrRange = Type.Union([Type.Integer({ minimum: 0 }), Type.String()]);

const ruleEnd = Type.Object({
  agent: Type.Optional(oneOrMore("names of agents")),
  cidr: Type.Optional(oneOrMore("networks in CIDR notation")),
  protocol: Type.Optional(said("name of the IP protocol, or its number")),
  port: Type.Optional(
    Type.Union([portOrRange, list(portOrRange, "each of them")], {
      description: "a port, a range like 8000-8099, or a list of both",
    }),
  ),
});

const suggestedRule = Type.Object({
  id: said("of the rule"),
  direction,
  from: ruleEnd,
  to: ruleEnd,
  app: Type.Optional(said("application that the rule is about")),
  action: word(["allow"], "what the rule does"),
});
export type SuggestedRule = Static<typeof suggestedRule>;

export const suggestion = Type.Object({
  version: policyVersion,
  document: said("the policy with these rules, YAML"),
  rules: list(suggestedRule, "as a policy has them: docs/policy.md"),
  unknown_app: count("flows that no rule can allow before their application is recognised"),
  denied_by_rule: count("flows that a rule of the policy denies: somebody meant that"),
});
export type Suggestion = Static<typeof suggestion>;

const changedFlow = Type.Object({
  agent: said("name of the agent that decides"),
  direction,
  other: said("the other end: name of its agent, or its address"),
  app,
  port,
  count: count("how often it was decided"),
  now: said("action and rule of the policy as it is"),
  draft: said("action and rule of the policy that is tried"),
});
export type ChangedFlow = Static<typeof changedFlow>;

export const replay = Type.Object({
  flows: count("how many were asked of both policies"),
  same: count("how many both decide by the same rule"),
  other_rule: count("how many stay allowed, or refused, by another rule"),
  changed: list(changedFlow, "flows whose action changes, most often decided first"),
});
export type Replay = Static<typeof replay>;
