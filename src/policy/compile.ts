/**
 * Policy to snapshot: names become indexes, lists become CSR arrays, ports become an index
 * (snapshot.ts). Runs on the control plane. What it refuses: names that do not exist, more rules
 * than a flow record can name. A rule meant for other agents keeps its index and never applies.
 */

import { AbsError } from "../errors.ts";
import { RESERVED_RULE_BASE, RESERVED_RULES, STAGE_NAMES } from "./decision.ts";
import {
  type ContractRequirement,
  EXCEPTION_NAMES,
  type Midstream,
  type Party,
  type Policy,
  type PolicyNames,
  type PolicyRule,
} from "./policy.ts";
import { buildPortIndex } from "./port-index.ts";
import {
  APP_ANY,
  PARTY_ANY,
  PARTY_CIDR,
  PARTY_PEERS,
  type PolicySnapshot,
  PROTOCOL_SET_WORDS,
  SETTING_EXCEPTIONS,
  SETTING_INBOUND,
  SETTING_NON_INTER_VM,
  SETTING_OUTBOUND,
  SETTING_OWN_QUICK,
  SETTING_PEER_SET_WORDS,
  SETTING_PEERS,
  SETTING_REFUSE,
  SETTING_STAGE,
  SETTING_TAGS,
  SETTINGS,
} from "./snapshot.ts";

export interface CompiledPolicy {
  readonly snapshot: PolicySnapshot;
  /** Requirements by PolicyDecision.contract. */
  readonly contracts: readonly ContractRequirement[];
  /** Rule ids by index. */
  readonly ruleIds: readonly string[];
}

/** Compiles `policy` for the agent described by `names`. Throws AbsError `POLICY_INVALID`. */
export function compilePolicy(policy: Policy, names: PolicyNames): CompiledPolicy {
  const rules = policy.rules;
  if (rules.length > RESERVED_RULE_BASE) {
    const message = `The policy has ${rules.length} rules; at most ${RESERVED_RULE_BASE} fit.`;
    throw new AbsError("POLICY_INVALID", message, "Join rules: ports and groups take lists.");
  }
  for (const rule of rules) checkNames(rule, names);
  const contracts = new Interner<ContractRequirement>();
  const stage = names.own.stage ?? policy.defaults.stage;
  const refuse = policy.defaults.refuse;
  const midstream = policy.defaults.midstream;
  const snapshot: PolicySnapshot = {
    settings: settingsOf(policy, names),
    defaultTimes: Float64Array.of(midstreamUntil(midstream)),
    peerQuick: Uint8Array.from(names.peers, (peer) => Number(peer.mode === "quick")),
    ruleAction: Uint8Array.from(rules, (rule) => Number(rule.action === "allow")),
    ruleServerFirst: Uint8Array.from(rules, (rule) => Number(rule.serverFirst)),
    ruleStage: Uint8Array.from(rules, (rule) => STAGE_NAMES.indexOf(rule.stage ?? stage)),
    ruleRefuse: Uint8Array.from(rules, (rule) => Number((rule.refuse ?? refuse) === "reject")),
    ruleReturnIdentify: Uint8Array.from(rules, (rule) => Number(rule.returnMode === "identify")),
    ruleMidstreamUntil: Float64Array.from(rules, (rule) =>
      midstreamUntil(rule.midstream ?? midstream),
    ),
    ruleContract: Uint32Array.from(rules, (rule) =>
      rule.contract === undefined ? 0 : contracts.indexOf(rule.contract) + 1,
    ),
    ruleApp: Uint32Array.from(rules, (rule) =>
      rule.app === undefined ? APP_ANY : names.apps.indexOf(rule.app),
    ),
    ...partyArrays(rules, names),
    ...protocolArrays(rules),
    ...portArrays(rules),
    otherTenants: rangeWords(names.otherTenants),
    ...buildPortIndex(rules.map((rule) => (appliesHere(rule, names) ? rule : undefined))),
  };
  return { snapshot, contracts: contracts.values, ruleIds: rules.map((rule) => rule.id) };
}

/** The name of any rule index a decision or a flow record can hold. */
export function ruleName(compiled: CompiledPolicy, rule: number): string {
  return (
    compiled.ruleIds[rule] ?? RESERVED_RULES[rule - RESERVED_RULE_BASE] ?? `unknown-rule-${rule}`
  );
}

/** The party at the other end: `from` of an inbound rule, `to` of an outbound one. */
export function remoteOf(rule: PolicyRule): Party {
  return rule.direction === "in" ? rule.from : rule.to;
}

/** Whether the rule's own end is this agent. */
export function appliesHere(rule: PolicyRule, names: PolicyNames): boolean {
  const own = rule.direction === "in" ? rule.to : rule.from;
  if (own.kind === "agent") return own.names.includes(names.own.id);
  if (own.kind === "group") return own.names.some((group) => names.own.groups.includes(group));
  return true;
}

/** UTC seconds until which the flows pass: 0 never, Infinity always. */
export function midstreamUntil(midstream: Midstream): number {
  return midstream.action === "allow" ? midstream.until : 0;
}

function checkNames(rule: PolicyRule, names: PolicyNames): void {
  const fail = (reason: string, remedy: string): never => {
    throw new AbsError("POLICY_INVALID", `${rule.place}: rule "${rule.id}": ${reason}`, remedy);
  };
  if (rule.app !== undefined && names.apps.indexOf(rule.app) < 1) {
    const known = names.apps.slice(1).join(", ") || "none";
    fail(`no tag is issued for the application "${rule.app}".`, `Applications: ${known}.`);
  }
  for (const party of [rule.from, rule.to]) {
    if (party.kind === "agent") {
      const peers = names.peers.map((peer) => peer.id);
      const known = new Set([names.own.id, ...peers, ...(names.known?.agents ?? [])]);
      for (const id of party.names) {
        if (!known.has(id)) fail(`there is no agent "${id}".`, `Agents: ${[...known].join(", ")}.`);
      }
    } else if (party.kind === "group") {
      const peers = names.peers.flatMap((peer) => peer.groups);
      const known = new Set([...names.own.groups, ...peers, ...(names.known?.groups ?? [])]);
      for (const group of party.names) {
        const all = [...known].join(", ") || "none";
        if (!known.has(group)) fail(`no agent is in the group "${group}".`, `Groups: ${all}.`);
      }
    }
  }
}

function settingsOf(policy: Policy, names: PolicyNames): Uint32Array {
  const defaults = policy.defaults;
  const settings = new Uint32Array(SETTINGS);
  settings[SETTING_OWN_QUICK] = Number(names.own.mode === "quick");
  settings[SETTING_STAGE] = STAGE_NAMES.indexOf(names.own.stage ?? defaults.stage);
  settings[SETTING_REFUSE] = Number(defaults.refuse === "reject");
  settings[SETTING_INBOUND] = Number(defaults.inbound === "allow");
  settings[SETTING_OUTBOUND] = Number(defaults.outbound === "allow");
  settings[SETTING_NON_INTER_VM] = Number(defaults.nonInterVm === "allow");
  let exceptions = 0;
  for (const name of defaults.exceptions) exceptions |= 1 << EXCEPTION_NAMES.indexOf(name);
  settings[SETTING_EXCEPTIONS] = exceptions;
  settings[SETTING_TAGS] = names.apps.length;
  settings[SETTING_PEERS] = names.peers.length;
  settings[SETTING_PEER_SET_WORDS] = Math.ceil(names.peers.length / 32);
  return settings;
}

function partyArrays(rules: readonly PolicyRule[], names: PolicyNames) {
  const sets = new Interner<number[]>();
  const ranges: number[] = [];
  const ruleRangeStart = new Uint32Array(rules.length + 1);
  const ruleParty = new Uint8Array(rules.length);
  const rulePeerSet = new Uint32Array(rules.length);
  for (const [i, rule] of rules.entries()) {
    const party = remoteOf(rule);
    ruleRangeStart[i + 1] = ruleRangeStart[i] ?? 0;
    if (party.kind === "any") {
      ruleParty[i] = PARTY_ANY;
    } else if (party.kind === "cidr") {
      ruleParty[i] = PARTY_CIDR;
      ruleRangeStart[i + 1] = (ruleRangeStart[i] ?? 0) + party.ranges.length;
      for (const word of rangeWords(party.ranges)) ranges.push(word);
    } else {
      ruleParty[i] = PARTY_PEERS;
      const set = new Array<number>(Math.ceil(names.peers.length / 32)).fill(0);
      for (const [peer, { id, groups }] of names.peers.entries()) {
        const inParty =
          party.kind === "agent"
            ? party.names.includes(id)
            : groups.some((group) => party.names.includes(group));
        if (inParty) set[peer >>> 5] = ((set[peer >>> 5] ?? 0) | (1 << (peer & 31))) >>> 0;
      }
      rulePeerSet[i] = sets.indexOf(set);
    }
  }
  const peerSets = Uint32Array.from(sets.values.flat());
  return { ruleParty, rulePeerSet, ruleRangeStart, ranges: Uint32Array.from(ranges), peerSets };
}

function protocolArrays(rules: readonly PolicyRule[]) {
  const sets = new Interner<number[]>();
  const ruleProtocolSet = Uint32Array.from(rules, (rule) => {
    const protocols = rule.protocols;
    const set = new Array<number>(PROTOCOL_SET_WORDS).fill(
      protocols === undefined ? 2 ** 32 - 1 : 0,
    );
    for (const protocol of protocols ?? []) {
      set[protocol >>> 5] = ((set[protocol >>> 5] ?? 0) | (1 << (protocol & 31))) >>> 0;
    }
    return sets.indexOf(set);
  });
  return { ruleProtocolSet, protocolSets: Uint32Array.from(sets.values.flat()) };
}

function portArrays(rules: readonly PolicyRule[]) {
  const rulePortStart = new Uint32Array(rules.length + 1);
  const ports: number[] = [];
  for (const [i, rule] of rules.entries()) {
    for (const { low, high } of rule.ports ?? []) ports.push(((low << 16) | high) >>> 0);
    rulePortStart[i + 1] = ports.length;
  }
  return { rulePortStart, ports: Uint32Array.from(ports) };
}

function rangeWords(ranges: PolicyNames["otherTenants"]): Uint32Array {
  return Uint32Array.from(ranges.flatMap((range) => [range.version, ...range.low, ...range.high]));
}

/** Numbers equal values (by their JSON) alike, in order of first appearance. */
class Interner<T> {
  readonly values: T[] = [];
  private readonly numbers = new Map<string, number>();

  indexOf(value: T): number {
    const key = JSON.stringify(value);
    const known = this.numbers.get(key);
    if (known !== undefined) return known;
    this.numbers.set(key, this.values.length);
    this.values.push(value);
    return this.values.length - 1;
  }
}
