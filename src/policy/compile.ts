/**
 * Policy to snapshot: names become indexes, lists become CSR arrays, ports become an index
 * (snapshot.ts). Runs on the control plane. What it refuses: names that do not exist, more rules
 * than a flow record can name. A rule meant for other agents keeps its index and never applies.
 */

import { AbsError } from "../errors.ts";
import { RESERVED_RULE_BASE, RESERVED_RULES, RULES_MAX, STAGE_NAMES } from "./decision.ts";
import {
  type ContractRequirement,
  EXCEPTION_NAMES,
  type Midstream,
  type NamedAgent,
  type Party,
  type Policy,
  type PolicyNames,
  type PolicyRule,
} from "./policy.ts";
import { buildPortIndex } from "./port-index.ts";
import {
  APP_ANY,
  FILTER_APP_ANY,
  FILTER_APP_SHIFT,
  FILTER_OUTSIDE,
  FILTER_PEERS,
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
  if (rules.length > RULES_MAX) {
    const message = `The policy has ${rules.length} rules; at most ${RULES_MAX} fit.`;
    throw new AbsError("POLICY_INVALID", message, "Join rules: ports and groups take lists.");
  }
  const known = knownNames(names);
  for (const rule of rules) checkNames(rule, names, known);
  const sets = new PeerSets(names.peers);
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
    ...partyArrays(rules, sets),
    ...protocolArrays(rules),
    ...portArrays(rules),
    otherTenants: rangeWords(names.otherTenants),
    ...buildPortIndex(
      rules.map((rule) => (appliesHere(rule, names) ? rule : undefined)),
      Uint32Array.from(rules, (rule) => filterOf(rule, names, sets)),
    ),
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
export function appliesHere(rule: PolicyRule, { own }: { readonly own: NamedAgent }): boolean {
  const end = ownEndOf(rule);
  if (end.kind === "agent") return end.names.includes(own.id);
  if (end.kind === "group") return end.names.some((group) => own.groups.includes(group));
  return true;
}

/** The party at the own end: `to` of an inbound rule, `from` of an outbound one. */
export function ownEndOf(rule: PolicyRule): Party {
  return rule.direction === "in" ? rule.to : rule.from;
}

/** UTC seconds until which the flows pass: 0 never, Infinity always. */
export function midstreamUntil(midstream: Midstream): number {
  return midstream.action === "allow" ? midstream.until : 0;
}

interface Known {
  readonly agents: ReadonlySet<string>;
  readonly groups: ReadonlySet<string>;
}

function knownNames({ own, peers, known }: PolicyNames): Known {
  const ids = peers.map(({ id }) => id);
  const groups = peers.flatMap((peer) => peer.groups);
  return {
    agents: new Set([own.id, ...ids, ...(known?.agents ?? [])]),
    groups: new Set([...own.groups, ...groups, ...(known?.groups ?? [])]),
  };
}

function checkNames(rule: PolicyRule, names: PolicyNames, { agents, groups }: Known): void {
  const fail = (reason: string, remedy: string): never => {
    throw new AbsError("POLICY_INVALID", `${rule.place}: rule "${rule.id}": ${reason}`, remedy);
  };
  if (rule.app !== undefined && names.apps.indexOf(rule.app) < 1) {
    const known = names.apps.slice(1).join(", ") || "none";
    fail(`no tag is issued for the application "${rule.app}".`, `Applications: ${known}.`);
  }
  for (const party of [rule.from, rule.to]) {
    if (party.kind === "agent") {
      for (const id of party.names) {
        if (agents.has(id)) continue;
        fail(`there is no agent "${id}".`, `Agents: ${[...agents].join(", ")}.`);
      }
    } else if (party.kind === "group") {
      for (const group of party.names) {
        if (groups.has(group)) continue;
        const all = [...groups].join(", ") || "none";
        fail(`no agent is in the group "${group}".`, `Groups: ${all}.`);
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

function partyArrays(rules: readonly PolicyRule[], sets: PeerSets) {
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
      rulePeerSet[i] = sets.indexOf(party).row;
    }
  }
  const peerSets = Uint32Array.from(sets.rows.flat());
  return { ruleParty, rulePeerSet, ruleRangeStart, ranges: Uint32Array.from(ranges), peerSets };
}

/** What keeps a rule from being looked at for most questions that it does not bear on. */
function filterOf(rule: PolicyRule, names: PolicyNames, sets: PeerSets): number {
  const party = remoteOf(rule);
  const app = rule.app === undefined ? FILTER_APP_ANY : names.apps.indexOf(rule.app);
  let ends = FILTER_PEERS;
  if (party.kind === "agent" || party.kind === "group") ends = sets.indexOf(party).filter;
  else if (rule.app === undefined) ends |= FILTER_OUTSIDE;
  return ((app << FILTER_APP_SHIFT) | ends) >>> 0;
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

type NamedParty = Extract<Party, { kind: "agent" | "group" }>;

/** Sets of peers by what names them: many rules name the same. */
class PeerSets {
  readonly rows: number[][] = [];
  readonly #known = new Map<string, { readonly row: number; readonly filter: number }>();

  constructor(readonly peers: PolicyNames["peers"]) {}

  indexOf(party: NamedParty): { readonly row: number; readonly filter: number } {
    const key = `${party.kind} ${party.names.join(" ")}`;
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const row = new Array<number>(Math.ceil(this.peers.length / 32)).fill(0);
    let filter = 0;
    for (const [peer, { id, groups }] of this.peers.entries()) {
      const theirs = party.kind === "agent" ? [id] : groups;
      if (!theirs.some((name) => party.names.includes(name))) continue;
      row[peer >>> 5] = ((row[peer >>> 5] ?? 0) | (1 << (peer & 31))) >>> 0;
      filter |= 1 << (peer & 15);
    }
    const found = { row: this.rows.length, filter };
    this.rows.push(row);
    this.#known.set(key, found);
    return found;
  }
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
