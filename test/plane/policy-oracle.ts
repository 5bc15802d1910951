/**
 * What a policy decides, written from docs/policy.md alone: rules as the file has them, read from
 * the first to the last. Slow and obvious; shares nothing with src/policy.
 */
export interface OracleParty {
  readonly agent?: string | readonly string[];
  readonly group?: string | readonly string[];
  readonly cidr?: string | readonly string[];
}

export interface OracleRule {
  readonly id: string;
  readonly direction: "in" | "out";
  readonly from?: "any" | OracleParty;
  readonly to?: OracleParty & {
    readonly protocol?: string | readonly string[];
    readonly port?: PortValue | readonly PortValue[];
  };
  readonly app?: string;
  readonly action: "allow" | "deny";
  readonly serverFirst?: boolean;
  readonly refuse?: "drop" | "reject";
  readonly stage?: "observe" | "warn" | "enforce";
  readonly return?: "inherit" | "identify";
  readonly midstream?: OracleMidstream;
  readonly contract?: object | "random";
}

export type PortValue = number | string;
export type OracleMidstream = "allow" | "deny" | { readonly until: string };

export interface OracleDefaults {
  readonly inbound: "allow" | "deny";
  readonly outbound: "allow" | "deny";
  readonly nonInterVm: "allow" | "deny";
  readonly refuse: "drop" | "reject";
  readonly stage: "observe" | "warn" | "enforce";
  readonly midstream: OracleMidstream;
}

export interface OraclePolicy {
  readonly version: 1;
  readonly defaults: OracleDefaults;
  readonly rules: readonly OracleRule[];
}

/** Who this VM and the others are. */
export interface OracleFacts {
  readonly id: string;
  readonly groups: readonly string[];
  readonly isQuick: boolean;
  readonly peers: Readonly<
    Record<string, { readonly groups: readonly string[]; isQuick: boolean }>
  >;
  readonly apps: readonly string[];
  readonly otherTenants: readonly string[];
}

export interface OracleFlow {
  readonly direction: "in" | "out";
  readonly peer: string | undefined;
  /** Of the other end. */
  readonly address: string;
  readonly protocol: number;
  readonly port: number;
  /** "" under the tenant session; undefined before identification. */
  readonly app: string | undefined;
}

export interface OracleVerdict {
  readonly action: "allow" | "deny";
  readonly rule: string;
  readonly stage: "observe" | "warn" | "enforce";
  readonly refuse: "drop" | "reject";
  readonly serverFirst: boolean;
  readonly returnIdentify: boolean;
  /** UTC seconds; 0 never, Infinity always. */
  readonly midstreamUntil: number;
  readonly contract: object | undefined;
}

const PROTOCOLS: Readonly<Record<string, number>> = {
  icmp: 1,
  tcp: 6,
  udp: 17,
  icmpv6: 58,
  sctp: 132,
};
/** TCP, UDP, DCCP, SCTP, UDP-Lite. */
const WITH_PORTS = [6, 17, 33, 132, 136];

export function judge(policy: OraclePolicy, facts: OracleFacts, flow: OracleFlow): OracleVerdict {
  if (flow.app !== undefined || flow.peer === undefined) return judgeFor(policy, facts, flow);
  // Before identification: could some application be allowed?
  const apps = isQuick(facts, flow) ? ["", ...facts.apps] : facts.apps;
  const verdicts = apps.map((app) => judgeFor(policy, facts, { ...flow, app }));
  const allowed = verdicts.filter(({ action }) => action === "allow");
  const place = ({ rule }: OracleVerdict) => {
    const at = policy.rules.findIndex(({ id }) => id === rule);
    return at < 0 ? policy.rules.length : at;
  };
  const first = allowed.sort((left, right) => place(left) - place(right))[0];
  if (first === undefined) return judgeFor(policy, facts, { ...flow, app: "" });
  return { ...first, serverFirst: allowed.some(({ serverFirst }) => serverFirst) };
}

function judgeFor(policy: OraclePolicy, facts: OracleFacts, flow: OracleFlow): OracleVerdict {
  const { defaults } = policy;
  for (const rule of policy.rules) {
    if (!applies(rule, facts, flow)) continue;
    return {
      action: rule.action,
      rule: rule.id,
      stage: rule.stage ?? defaults.stage,
      refuse: rule.refuse ?? defaults.refuse,
      serverFirst: rule.action === "allow" && rule.serverFirst === true,
      returnIdentify: rule.return === "identify",
      midstreamUntil: until(rule.midstream ?? defaults.midstream),
      contract: typeof rule.contract === "object" ? rule.contract : undefined,
    };
  }
  return {
    ...byDefault(defaults, facts, flow),
    stage: defaults.stage,
    refuse: defaults.refuse,
    serverFirst: false,
    returnIdentify: false,
    midstreamUntil: until(defaults.midstream),
    contract: undefined,
  };
}

function applies(rule: OracleRule, facts: OracleFacts, flow: OracleFlow): boolean {
  if (rule.direction !== flow.direction) return false;
  const [own, other] = rule.direction === "in" ? [rule.to, rule.from] : [rule.from, rule.to];
  if (!isOwn(own, facts) || !isOther(other, facts, flow)) return false;
  const { protocol, port } = rule.to ?? {};
  const protocols = listOf(protocol);
  if (protocol !== undefined && !protocols.includes("any")) {
    if (!protocols.some((name) => PROTOCOLS[name] === flow.protocol)) return false;
  }
  if (port !== undefined && port !== "any") {
    if (!WITH_PORTS.includes(flow.protocol)) return false;
    if (!listOf(port).some((value) => holdsPort(value, flow.port))) return false;
  }
  const app = rule.app === "any" ? undefined : rule.app;
  if (flow.peer === undefined) {
    if (app !== undefined) return false;
    const letsIn = rule.action === "allow" && rule.direction === "in";
    return !letsIn || (typeof rule.from === "object" && rule.from.cidr !== undefined);
  }
  if (rule.action === "deny") return app === undefined || app === flow.app;
  if (isQuick(facts, flow)) return true;
  return flow.app !== "" && (app === undefined || app === flow.app);
}

function byDefault(
  defaults: OracleDefaults,
  facts: OracleFacts,
  flow: OracleFlow,
): { action: "allow" | "deny"; rule: string } {
  if (flow.peer === undefined) {
    if (flow.direction === "in") return { action: "deny", rule: "default-outside" };
    if (["224.0.0.0/4", "255.255.255.255/32", "ff00::/8"].some((cidr) => holds(cidr, flow.address)))
      return { action: "deny", rule: "default-multicast" };
    if (facts.otherTenants.some((cidr) => holds(cidr, flow.address)))
      return { action: "deny", rule: "default-other-tenant" };
    return { action: defaults.nonInterVm, rule: "default-non-inter-vm" };
  }
  const way = flow.direction === "in" ? "inbound" : "outbound";
  if (defaults[way] === "allow" && flow.app === "" && !isQuick(facts, flow)) {
    return { action: "deny", rule: "default-tag-required" };
  }
  return { action: defaults[way], rule: `default-${way}` };
}

function isQuick(facts: OracleFacts, flow: OracleFlow): boolean {
  if (flow.direction === "in") return facts.isQuick;
  return flow.peer !== undefined && facts.peers[flow.peer]?.isQuick === true;
}

function isOwn(own: "any" | OracleParty | undefined, facts: OracleFacts): boolean {
  if (own === undefined || own === "any") return true;
  if (own.agent !== undefined) return listOf(own.agent).includes(facts.id);
  if (own.group !== undefined) return listOf(own.group).some((name) => facts.groups.includes(name));
  return true;
}

function isOther(
  other: "any" | OracleParty | undefined,
  facts: OracleFacts,
  { peer, address }: OracleFlow,
): boolean {
  if (other === undefined || other === "any") return true;
  const groups = peer === undefined ? [] : (facts.peers[peer]?.groups ?? []);
  if (other.agent !== undefined) return peer !== undefined && listOf(other.agent).includes(peer);
  if (other.group !== undefined) return listOf(other.group).some((name) => groups.includes(name));
  if (other.cidr !== undefined) return listOf(other.cidr).some((cidr) => holds(cidr, address));
  return true;
}

function until(midstream: OracleMidstream): number {
  if (midstream === "deny") return 0;
  return midstream === "allow" ? Infinity : Date.parse(midstream.until) / 1000;
}

function holdsPort(value: PortValue, port: number): boolean {
  const [low, high] = String(value).split("-").map(Number);
  return low !== undefined && port >= low && port <= (high ?? low);
}

function holds(cidr: string, address: string): boolean {
  const [network = "", length] = cidr.split("/");
  if (network.includes(":") !== address.includes(":")) return false;
  const bits = network.includes(":") ? 128 : 32;
  const shift = BigInt(bits - Number(length ?? bits));
  return numberOf(network) >> shift === numberOf(address) >> shift;
}

function numberOf(address: string): bigint {
  if (!address.includes(":")) {
    return address.split(".").reduce((sum, part) => (sum << 8n) | BigInt(part), 0n);
  }
  const [head = "", tail] = address.split("::");
  const before = head.split(":").filter(Boolean);
  const after = (tail ?? "").split(":").filter(Boolean);
  const zeros = new Array<string>(8 - before.length - after.length).fill("0");
  return [...before, ...zeros, ...after].reduce(
    (sum, part) => (sum << 16n) | BigInt(`0x${part}`),
    0n,
  );
}

function listOf<T>(value: T | readonly T[] | undefined): readonly T[] {
  if (value === undefined) return [];
  return Array.isArray(value) ? value : [value as T];
}
