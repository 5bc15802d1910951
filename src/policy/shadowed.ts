/**
 * Rules that never decide, because an earlier one covers all that they are about: at one agent, or
 * at each of a tenant. Who applies a policy is warned of them (policy-warnings.ts). docs/policy.md.
 * Says only what holds for certain, and looks at one earlier rule at a time: rules that are covered
 * by several together are not found.
 */
import type { IpRange } from "../wire/ip-text.ts";
import { appliesHere, ownEndOf, remoteOf } from "./compile.ts";
import type { NamedAgent, Party, Policy, PolicyNames, PolicyRule } from "./policy.ts";

/** Each is compared with all before it. */
export const COMPARED_MAX = 2_000;

export interface ShadowedRule {
  readonly rule: PolicyRule;
  readonly by: PolicyRule;
  /** The earlier one does the opposite. */
  readonly contradicts: boolean;
}

export function shadowedRules(policy: Policy, names: PolicyNames): ShadowedRule[] {
  return shadowedAtEach(policy, [names.own]);
}

/** Those that decide at none of the `agents`, though they are about some. */
export function shadowedAtEach(policy: Policy, agents: readonly NamedAgent[]): ShadowedRule[] {
  // Many rules have the same own end.
  const sets = new Map<string, ReadonlySet<NamedAgent>>();
  const setOf = (rule: PolicyRule) => {
    const end = JSON.stringify(ownEndOf(rule));
    const set = sets.get(end) ?? new Set(agents.filter((own) => appliesHere(rule, { own })));
    sets.set(end, set);
    return set;
  };
  const rules = policy.rules
    .slice(0, COMPARED_MAX)
    .map((rule) => ({ rule, at: setOf(rule) }))
    .filter(({ at }) => at.size > 0);
  return rules.flatMap(({ rule, at }, i) => {
    const by = rules
      .slice(0, i)
      .find((earlier) => covers(earlier.rule, rule) && isWithin(at, earlier.at))?.rule;
    return by === undefined ? [] : [{ rule, by, contradicts: by.action !== rule.action }];
  });
}

function isWithin(inner: ReadonlySet<unknown>, outer: ReadonlySet<unknown>): boolean {
  return inner === outer || [...inner].every((one) => outer.has(one));
}

function covers(earlier: PolicyRule, later: PolicyRule): boolean {
  return (
    earlier.direction === later.direction &&
    coversApp(earlier, later) &&
    coversEnd(earlier, later) &&
    (earlier.protocols === undefined ||
      later.protocols?.every((number) => earlier.protocols?.includes(number)) === true) &&
    (earlier.ports === undefined ||
      later.ports?.every(({ low, high }) =>
        earlier.ports?.some((range) => range.low <= low && range.high >= high),
      ) === true)
  );
}

function coversApp(earlier: PolicyRule, later: PolicyRule): boolean {
  if (earlier.app !== undefined) return earlier.app === later.app;
  // An allow rule for any application still wants a proven one.
  return earlier.action === "deny" || later.action === "allow" || later.app !== undefined;
}

function coversEnd(earlier: PolicyRule, later: PolicyRule): boolean {
  const party = remoteOf(earlier);
  const other = remoteOf(later);
  if (party.kind === "any") {
    // To the outside, "any" opens nothing.
    const isOpen = earlier.action === "deny" || earlier.direction === "out";
    return isOpen || other.kind === "agent" || other.kind === "group" || isSame(earlier, later);
  }
  return partyCovers(party, other);
}

function isSame(earlier: PolicyRule, later: PolicyRule): boolean {
  return remoteOf(later).kind === "any" && earlier.action === later.action;
}

function partyCovers(party: Party, other: Party): boolean {
  if (party.kind === "any" || other.kind !== party.kind) return false;
  if (party.kind !== "cidr") {
    return other.kind !== "cidr" && other.names.every((name) => party.names.includes(name));
  }
  if (other.kind !== "cidr") return false;
  return other.ranges.every((range) => party.ranges.some((known) => holds(known, range)));
}

function holds(outer: IpRange, inner: IpRange): boolean {
  if (outer.version !== inner.version) return false;
  return compare(outer.low, inner.low) <= 0 && compare(outer.high, inner.high) >= 0;
}

function compare(left: readonly number[], right: readonly number[]): number {
  const at = left.findIndex((word, i) => word !== right[i]);
  return at < 0 ? 0 : (left[at] ?? 0) - (right[at] ?? 0);
}

/** For people: `file:line:column: …`. */
export function shadowedWords({ rule, by, contradicts }: ShadowedRule): string {
  const how = contradicts ? ", and does the opposite" : "";
  return `${rule.place}: rule "${rule.id}" never decides: "${by.id}" before it covers it${how}.`;
}
