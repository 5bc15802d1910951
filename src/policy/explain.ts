/**
 * Why a policy decides as it does (`abs policy explain`): the decision and each rule considered,
 * in words. The slow, obvious reading of the rules, written without the snapshot, so that it also
 * serves as the oracle of policy-view.ts.
 */

import { PORT_PROTOCOLS } from "../store/network-values.ts";
import { type IpAddress, rangeContains } from "../wire/ip-text.ts";
import { appliesHere, remoteOf } from "./compile.ts";
import type { Action, Direction, Party, Policy, PolicyNames, PolicyRule, Stage } from "./policy.ts";

export interface PolicyQuestion {
  readonly direction: Direction;
  /** Id of the agent at the other end; undefined: nobody of the tenant. */
  readonly peer: string | undefined;
  /** Address of the other end. */
  readonly address: IpAddress;
  /** IP protocol number. */
  readonly protocol: number;
  /** The responder's port. */
  readonly port: number;
  /** Proven application; "" under the tenant session; undefined before identification. */
  readonly app: string | undefined;
}

export interface RuleConsidered {
  readonly rule: string;
  readonly applies: boolean;
  readonly why: string;
}

export interface PolicyExplanation {
  readonly action: Action;
  /** Id of the deciding rule, or the name of a reserved one. */
  readonly rule: string;
  readonly serverFirst: boolean;
  readonly stage: Stage;
  readonly considered: readonly RuleConsidered[];
}

/** Decides on `question` and tells why. */
export function explainPolicy(
  policy: Policy,
  names: PolicyNames,
  question: PolicyQuestion,
): PolicyExplanation {
  if (question.app !== undefined || question.peer === undefined) {
    return explainFor(policy, names, question);
  }
  // Nothing is known of the application: could any of them be allowed?
  const apps = isQuick(names, question) ? ["", ...names.apps.slice(1)] : names.apps.slice(1);
  const order = new Map(policy.rules.map(({ id }, i) => [id, i]));
  const place = ({ rule }: PolicyExplanation) => order.get(rule) ?? policy.rules.length;
  const allowed = apps
    .map((app) => explainFor(policy, names, { ...question, app }))
    .filter(({ action }) => action === "allow")
    .sort((left, right) => place(left) - place(right));
  const first = allowed[0];
  if (first === undefined) return explainFor(policy, names, { ...question, app: "" });
  return { ...first, serverFirst: allowed.some(({ serverFirst }) => serverFirst) };
}

function explainFor(
  policy: Policy,
  names: PolicyNames,
  question: PolicyQuestion,
): PolicyExplanation {
  const agentStage = names.own.stage ?? policy.defaults.stage;
  const considered: RuleConsidered[] = [];
  for (const rule of policy.rules) {
    const objection = objectionTo(rule, names, question);
    const why = objection ?? "everything it asks for is met";
    considered.push({ rule: rule.id, applies: objection === undefined, why });
    if (objection !== undefined) continue;
    const { action, serverFirst } = rule;
    return { action, rule: rule.id, serverFirst, stage: rule.stage ?? agentStage, considered };
  }
  const fallback = defaultFor(policy, names, question);
  return { ...fallback, serverFirst: false, stage: agentStage, considered };
}

/** Why the rule does not apply, or undefined when it does. */
function objectionTo(
  rule: PolicyRule,
  names: PolicyNames,
  question: PolicyQuestion,
): string | undefined {
  if (rule.direction !== question.direction) return `it is about direction ${rule.direction}`;
  if (!appliesHere(rule, names)) return "its own end is another agent";
  if (!partyHolds(remoteOf(rule), names, question)) return "the other end is not the one it names";
  if (rule.protocols !== undefined && !rule.protocols.includes(question.protocol)) {
    return "it is about other protocols";
  }
  if (rule.ports !== undefined) {
    if (!PORT_PROTOCOLS.includes(question.protocol)) return "the protocol has no ports";
    const held = rule.ports.some(({ low, high }) => question.port >= low && question.port <= high);
    if (!held) return "it is about other ports";
  }
  return question.peer === undefined
    ? outsideObjection(rule, question)
    : appObjection(rule, names, question);
}

function outsideObjection(rule: PolicyRule, question: PolicyQuestion): string | undefined {
  if (rule.app !== undefined) return "nobody outside the tenant proves an application";
  const letsIn = rule.action === "allow" && question.direction === "in";
  if (letsIn && remoteOf(rule).kind === "any") {
    return "only a cidr lets in traffic from outside the tenant";
  }
  return undefined;
}

function appObjection(
  rule: PolicyRule,
  names: PolicyNames,
  question: PolicyQuestion,
): string | undefined {
  if (rule.action === "deny") {
    if (rule.app === undefined || rule.app === question.app) return undefined;
    return "it is about another application";
  }
  if (isQuick(names, question)) return undefined;
  if (question.app === "") return "no application has been proven";
  if (rule.app === undefined || rule.app === question.app) return undefined;
  return "it is about another application";
}

function partyHolds(party: Party, names: PolicyNames, question: PolicyQuestion): boolean {
  switch (party.kind) {
    case "any":
      return true;
    case "cidr":
      return party.ranges.some((range) => rangeContains(range, question.address));
    case "agent":
      return question.peer !== undefined && party.names.includes(question.peer);
    case "group": {
      const peer = names.peers.find(({ id }) => id === question.peer);
      return peer?.groups.some((group) => party.names.includes(group)) ?? false;
    }
  }
}

/** Whether the end that receives asks for the tenant only. */
function isQuick(names: PolicyNames, question: PolicyQuestion): boolean {
  if (question.direction === "in") return names.own.mode === "quick";
  return names.peers.find(({ id }) => id === question.peer)?.mode === "quick";
}

function defaultFor(
  policy: Policy,
  names: PolicyNames,
  question: PolicyQuestion,
): { action: Action; rule: string } {
  const { defaults } = policy;
  if (question.peer === undefined) {
    if (question.direction === "in") return { action: "deny", rule: "default-outside" };
    if (isMulticast(question.address)) return { action: "deny", rule: "default-multicast" };
    if (names.otherTenants.some((range) => rangeContains(range, question.address))) {
      return { action: "deny", rule: "default-other-tenant" };
    }
    return { action: defaults.nonInterVm, rule: "default-non-inter-vm" };
  }
  const inbound = question.direction === "in";
  const action = inbound ? defaults.inbound : defaults.outbound;
  const rule = inbound ? "default-inbound" : "default-outbound";
  if (action === "deny" || isQuick(names, question) || question.app !== "") return { action, rule };
  return { action: "deny", rule: "default-tag-required" };
}

function isMulticast({ version, words }: IpAddress): boolean {
  if (version === 6) return words[0] >>> 24 === 0xff;
  return words[3] >>> 28 === 14 || words[3] === 0xffff_ffff;
}
