/**
 * Reads a policy (design/agent.md "Policy", docs/schemas/policy.schema.json) from YAML or JSON.
 * Unknown keys, impossible values and combinations that could never apply are errors with
 * file:line:column. Names (agents, groups, applications) are checked by compile.ts, which knows
 * them.
 */

import type { DocumentMap, DocumentNode } from "../store/document.ts";
import { loadDocument, parseDocument } from "../store/document.ts";
import { PORT_PROTOCOLS, readCidrs, readPorts, readProtocol } from "../store/network-values.ts";
import type { EpochSeconds } from "../units.ts";
import { RESERVED_RULES } from "./decision.ts";
import {
  type ContractRequirement,
  EXCEPTION_NAMES,
  type Midstream,
  type Party,
  POLICY_DEFAULTS,
  type Policy,
  type PolicyDefaults,
  type PolicyRule,
} from "./policy.ts";

const ACTIONS = ["allow", "deny"] as const;
const DIRECTIONS = ["in", "out"] as const;
const REFUSES = ["drop", "reject"] as const;
const RETURNS = ["inherit", "identify"] as const;
const STAGES = ["observe", "warn", "enforce"] as const;
const PROTECTIONS = ["integrity", "confidential"] as const;
const DEFAULT_KEYS = [
  "inbound",
  "outbound",
  "refuse",
  "stage",
  "nonInterVm",
  "midstream",
  "exceptions",
] as const;
const RULE_KEYS = [
  "id",
  "direction",
  "from",
  "to",
  "app",
  "action",
  "serverFirst",
  "refuse",
  "stage",
  "return",
  "midstream",
  "contract",
] as const;
const PARTY_KEYS = ["any", "agent", "group", "cidr"] as const;
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const UUID4 = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/i;
/** A year: longer busy times are a mistake. */
const BUSY_SECONDS_MAX = 31_536_000;

/** Reads a policy file. Throws AbsError `POLICY_UNREADABLE` or `POLICY_INVALID`. */
export function loadPolicy(file: string): Policy {
  return readPolicy(loadDocument(file, "POLICY"));
}

/** Parses policy text; `file` is only used in messages. */
export function parsePolicy(text: string, file: string): Policy {
  return readPolicy(parseDocument(text, file, "POLICY"));
}

/** The policy a document node holds (a whole file, or the `policy` key of a provisioning file). */
export function readPolicy(node: DocumentNode): Policy {
  const map = node.map(["version", "defaults", "rules"]);
  const version = map.need("version");
  if (version.integer(0, 1_000_000) !== 1) version.fail("unknown version.", "Use version 1.");
  const defaults = readDefaults(map.get("defaults"));
  const rules: PolicyRule[] = [];
  const places = new Map<string, string>();
  for (const item of map.get("rules")?.list() ?? []) {
    const rule = readRule(item);
    const earlier = places.get(rule.id);
    if (earlier !== undefined) {
      item.fail(
        `the rule id "${rule.id}" is used at ${earlier} too.`,
        "Give each rule its own id.",
      );
    }
    places.set(rule.id, rule.place);
    rules.push(rule);
  }
  return { version: 1, defaults, rules };
}

function readDefaults(node: DocumentNode | undefined): PolicyDefaults {
  if (node === undefined) return POLICY_DEFAULTS;
  const map = node.map(DEFAULT_KEYS);
  const known = POLICY_DEFAULTS;
  return {
    inbound: map.get("inbound")?.oneOf(ACTIONS) ?? known.inbound,
    outbound: map.get("outbound")?.oneOf(ACTIONS) ?? known.outbound,
    refuse: map.get("refuse")?.oneOf(REFUSES) ?? known.refuse,
    stage: map.get("stage")?.oneOf(STAGES) ?? known.stage,
    nonInterVm: map.get("nonInterVm")?.oneOf(ACTIONS) ?? known.nonInterVm,
    midstream: readMidstream(map.get("midstream")) ?? known.midstream,
    exceptions:
      map
        .get("exceptions")
        ?.list()
        .map((item) => item.oneOf(EXCEPTION_NAMES)) ?? known.exceptions,
  };
}

function readRule(node: DocumentNode): PolicyRule {
  const map = node.map(RULE_KEYS);
  const direction = map.need("direction").oneOf(DIRECTIONS);
  const from = map.get("from");
  const to = map.get("to");
  const action = map.need("action").oneOf(ACTIONS);
  const app = readApp(map.get("app"));
  const refuse = map.get("refuse")?.oneOf(REFUSES);
  const stage = map.get("stage")?.oneOf(STAGES);
  const midstream = readMidstream(map.get("midstream"));
  const contract = readContract(map.get("contract"));
  if (action === "deny") forbidOnDeny(map);
  return {
    id: readRuleId(map.need("id")),
    place: node.place,
    direction,
    from: readFrom(from, direction),
    ...readTo(to, direction),
    action,
    serverFirst: map.get("serverFirst")?.boolean() ?? false,
    returnMode: map.get("return")?.oneOf(RETURNS) ?? "inherit",
    ...(app === undefined ? {} : { app }),
    ...(refuse === undefined ? {} : { refuse }),
    ...(stage === undefined ? {} : { stage }),
    ...(midstream === undefined ? {} : { midstream }),
    ...(contract === undefined ? {} : { contract }),
  };
}

function readRuleId(node: DocumentNode): string {
  const id = node.string();
  const reserved: readonly string[] = RESERVED_RULES;
  if (reserved.includes(id) || /^(default|builtin|local)-/.test(id)) {
    node.fail(
      `"${id}" is kept for built-in decisions and local rules.`,
      "Begin ids with another word.",
    );
  }
  if (NAME.test(id)) return id;
  const remedy = "Use up to 64 letters, digits, dots, dashes and underscores.";
  return node.fail(`"${id}" is not a rule id.`, remedy);
}

function forbidOnDeny(map: DocumentMap): void {
  for (const key of ["serverFirst", "return", "midstream", "contract"]) {
    map.get(key)?.fail("has no meaning on a rule that denies.", `Remove "${key}".`);
  }
}

function readApp(node: DocumentNode | undefined): string | undefined {
  const app = node?.string();
  if (node === undefined || app === undefined || app === "any") return undefined;
  return NAME.test(app) ? app : node.fail(`"${app}" is not an application name.`, "See `tags`.");
}

function readFrom(node: DocumentNode | undefined, direction: "in" | "out"): Party {
  if (node === undefined) return { kind: "any" };
  for (const key of ["protocol", "port"]) {
    if (!node.keys().includes(key)) continue;
    const remedy = `Move "${key}" to "to": rules match the port the flow goes to.`;
    node.fail(`"${key}" does not belong in "from".`, remedy);
  }
  const party = readParty(node, PARTY_KEYS);
  return direction === "in" ? party : forbidOwnCidr(node, party);
}

function readTo(
  node: DocumentNode | undefined,
  direction: "in" | "out",
): Pick<PolicyRule, "to" | "protocols" | "ports"> {
  if (node === undefined) return { to: { kind: "any" } };
  const party = readParty(node, [...PARTY_KEYS, "protocol", "port"]);
  const to = direction === "out" ? party : forbidOwnCidr(node, party);
  if (!node.isMap()) return { to };
  const map = node.map([...PARTY_KEYS, "protocol", "port"]);
  const protocols = readProtocols(map.get("protocol"));
  const portNode = map.get("port");
  const anyPort = portNode === undefined || (!portNode.isList() && portNode.string() === "any");
  const ports = anyPort ? undefined : readPorts(portNode);
  if (ports !== undefined && protocols?.some((number) => !PORT_PROTOCOLS.includes(number))) {
    const remedy = 'Name tcp or udp as "protocol", or remove "port".';
    (portNode ?? node).fail("a protocol of this rule has no ports.", remedy);
  }
  return {
    to,
    ...(protocols === undefined ? {} : { protocols }),
    ...(ports === undefined ? {} : { ports }),
  };
}

/** The own end is this VM whatever its address: only agent and group can be told apart there. */
function forbidOwnCidr(node: DocumentNode, party: Party): Party {
  if (party.kind !== "cidr") return party;
  const remedy = "Use agent or group for the own end; cidr is for the other one.";
  return node.fail("cidr would name this VM's own address.", remedy);
}

function readParty(node: DocumentNode, keys: readonly string[]): Party {
  if (!node.isMap()) {
    node.oneOf(["any"]);
    return { kind: "any" };
  }
  const map = node.map(keys);
  const named = PARTY_KEYS.filter((key) => map.has(key));
  const second = named[1];
  if (second !== undefined) {
    map.need(second).fail(`"${named[0]}" and "${second}" exclude each other.`, "Keep one.");
  }
  const kind = named[0];
  if (kind === undefined) return { kind: "any" };
  const value = map.need(kind);
  if (kind === "any") {
    if (!value.boolean()) value.fail("any: false matches nothing.", 'Write "any: true".');
    return { kind: "any" };
  }
  return kind === "cidr"
    ? { kind, ranges: nonEmpty(value, readCidrs(value)) }
    : { kind, names: nonEmpty(value, readNames(value)) };
}

function readNames(node: DocumentNode): string[] {
  if (node.isList()) return node.list().flatMap(readNames);
  const name = node.string();
  return NAME.test(name) ? [name] : node.fail(`"${name}" is not a name.`, "See the peer list.");
}

function nonEmpty<T>(node: DocumentNode, values: T[]): T[] {
  return values.length > 0 ? values : node.fail("the list is empty.", "Name at least one.");
}

function readProtocols(node: DocumentNode | undefined): number[] | undefined {
  if (node === undefined) return undefined;
  if (node.isList()) {
    const protocols = node.list().map((item) => readProtocol(item));
    return nonEmpty(node, protocols);
  }
  return node.string() === "any" ? undefined : [readProtocol(node)];
}

function readMidstream(node: DocumentNode | undefined): Midstream | undefined {
  if (node === undefined) return undefined;
  if (!node.isMap()) {
    const action = node.oneOf(ACTIONS);
    return action === "deny" ? { action } : { action, until: Infinity as EpochSeconds };
  }
  const until = node.map(["until"]).need("until");
  const text = until.string();
  const millis = /^\d{4}-\d\d-\d\dT/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(millis)) until.fail(`"${text}" is not a time.`, "Write 2026-01-31T12:00:00Z.");
  return { action: "allow", until: Math.floor(millis / 1000) as EpochSeconds };
}

function readContract(node: DocumentNode | undefined): ContractRequirement | undefined {
  if (node === undefined) return undefined;
  if (!node.isMap()) {
    node.oneOf(["random"]);
    return undefined;
  }
  const map = node.map(["scId", "protection", "maxBusySeconds"]);
  const scId = map.get("scId");
  const id = scId?.string().toLowerCase();
  if (scId !== undefined && !UUID4.test(id ?? "")) {
    scId.fail(`"${id}" is not an SC-ID.`, "SC-IDs are version 4 UUIDs.");
  }
  const protection = map.get("protection")?.oneOf(PROTECTIONS);
  const maxBusySeconds = map.get("maxBusySeconds")?.integer(1, BUSY_SECONDS_MAX);
  return {
    ...(id === undefined ? {} : { scId: id }),
    ...(protection === undefined ? {} : { protection }),
    ...(maxBusySeconds === undefined ? {} : { maxBusySeconds }),
  };
}
