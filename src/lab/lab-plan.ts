/**
 * Who is who in `abs lab`: tenant A with its VMs web, db, rogue and cache, tenant B with other, all
 * on one switch and one subnet, and the master of tenant A's ledger, whose validators are its VMs.
 * App1 is a Redis client whose first payload names the user app1, App2 one that names app2; `ping`
 * is ICMP echo. rogue and other are played as compromised: their own agents believe what suits
 * them.
 */
import { randomUUID } from "node:crypto";
import {
  type AgentPlan,
  type ContractPlan,
  type Provisioning,
  type SignaturePlan,
  Tenant,
} from "./tenant.ts";
import type { VmPlan } from "./topology.ts";

export const APP1_USER = { name: "app1", password: "correct-horse" } as const;
export const APP2_USER = { name: "app2", password: "battery-staple" } as const;
export const REDIS_PORT = 6_379;
/** A second server on db that no rule opens. */
export const CLOSED_PORT = 6_380;

export type VmName = "web" | "db" | "rogue" | "cache" | "other";

export const VMS: Readonly<Record<VmName, VmPlan>> = {
  web: vm("web", 11),
  db: vm("db", 12),
  rogue: vm("rogue", 13),
  cache: vm("cache", 14),
  other: vm("other", 21),
};
/** On the same wire and nobody's VM: what an attacker at the bridge calls itself. */
export const STRANGER: VmPlan = vm("stranger", 99);
/** The machine of the ledger's master; it has no agent, and only validators speak with it. */
export const MANAGER: VmPlan = vm("manager", 9);

function vm(name: string, number: number): VmPlan {
  const digits = String(number).padStart(2, "0");
  return {
    name,
    ipv4: `10.77.0.${number}`,
    ipv6: `fd77:ab5::${number}`,
    mac: `02:ab:05:00:00:${digits}`,
  };
}

/** What a sabotage changes before the lab comes up; every field as it should be by default. */
export interface LabSettings {
  readonly agents: "run" | "none";
  readonly onStop: "closed" | "open";
  /** Applications that the manager lets these nodes claim. */
  readonly webApps: readonly string[];
  readonly rogueApps: readonly string[];
  readonly otherIsTenantA: boolean;
  readonly app1Signature: "mark" | "port-only";
  readonly dbRules: readonly Readonly<Record<string, unknown>>[];
  readonly cacheRules: readonly Readonly<Record<string, unknown>>[];
  readonly ledger: LedgerSettings;
  /** Quick mode with a contract whose proof never changes: no replay window, no integrity. */
  readonly constantProof: boolean;
}

/** Tenant A's ledger, and what a sabotage changes of it. */
export interface LedgerSettings {
  readonly master: "run" | "none";
  /** The others have their contracts from their own file. */
  readonly validators: readonly VmName[];
  readonly contracts: number;
  /** What the ledger has commitments of: the secrets that the VMs hold, or others. */
  readonly commitments: "right" | "wrong";
  /** VMs whose agents are stopped before the story begins. */
  readonly stopped: readonly VmName[];
}

/** Redis for one application, and ping. */
function redisRules(app: string): readonly Readonly<Record<string, unknown>>[] {
  return [
    {
      id: `${app}-to-redis`,
      direction: "in",
      from: { group: "tenant-a" },
      app,
      to: { protocol: "tcp", port: REDIS_PORT },
      action: "allow",
    },
    {
      id: "ping-in",
      direction: "in",
      from: { group: "tenant-a" },
      app: "ping",
      to: { protocol: ["icmp", "icmpv6"] }, // without it the rule would open every port to that tag
      action: "allow",
    },
  ];
}

export const DB_RULES = redisRules("app1");
export const CACHE_RULES = redisRules("app2");

export const LEDGER: LedgerSettings = {
  master: "run",
  validators: ["web", "db", "rogue", "cache"],
  contracts: 4,
  commitments: "right",
  stopped: [],
};

export const DEFAULT_SETTINGS: LabSettings = {
  agents: "run",
  onStop: "closed",
  webApps: ["app1", "app2", "ping"],
  rogueApps: ["ping"],
  otherIsTenantA: false,
  app1Signature: "mark",
  dbRules: DB_RULES,
  cacheRules: CACHE_RULES,
  ledger: LEDGER,
  constantProof: false,
};

const ANYTHING = ["in", "out"].map((direction) => ({
  id: `anything-${direction}`,
  direction,
  action: "allow",
}));

/** AUTH with two arguments, the first a user: the first thing redis-cli --user says. */
function userMark(user: string): string {
  return `*3\\x0d\\x0a$4\\x0d\\x0aAUTH\\x0d\\x0a$${user.length}\\x0d\\x0a${user}\\x0d\\x0a`;
}

function signatures(settings: LabSettings): SignaturePlan[] {
  const marked = settings.app1Signature === "mark";
  const redis = { dst_port: String(REDIS_PORT), proto_type: "tcp" };
  const markOf = (user: string) => [{ offset: 0, depth: 24, expr: userMark(user) }];
  return [
    {
      app_name: "app1",
      description: "a Redis client that logs in as app1",
      ...redis,
      contents: marked ? markOf(APP1_USER.name) : [],
    },
    {
      app_name: "app2",
      description: "a Redis client that logs in as app2",
      ...redis,
      contents: markOf(APP2_USER.name),
    },
    { app_name: "ping", description: "ICMP echo", proto_type: "icmp", contents: [] },
    { app_name: "ping", description: "ICMPv6 echo", proto_type: "icmpv6", contents: [] },
  ];
}

const APPS = ["app1", "app2", "ping"];

/** The two tenants, keys drawn anew. Validators' folders are below `ledgerDirectory`. */
export function labTenants(settings: LabSettings, ledgerDirectory: string): Tenant[] {
  const members = membersOfA(settings).map((agent) => {
    const isValidator = settings.ledger.validators.some((name) => name === agent.vm.name);
    if (!isValidator) return agent;
    return { ...agent, ledgerDirectory: `${ledgerDirectory}/${agent.vm.name}` };
  });
  const terms: readonly ContractPlan[] = settings.constantProof ? [{ quickmode: true }] : [{}];
  const common = {
    apps: APPS,
    signatures: signatures(settings),
    contracts: Array.from({ length: settings.ledger.contracts }, () => terms).flat(),
  };
  const tenantA = new Tenant({ ...common, name: "tenant-a", agents: members });
  if (settings.otherIsTenantA) return [tenantA];
  // It knows db's address and public key, and takes db for a peer; over IPv4 only, so that over
  // IPv6 it sends without any field, as honest neighbours do.
  const db4 = { ...tenantA.peerEntry("db"), addresses: [VMS.db.ipv4] };
  const believer: AgentPlan = { ...OTHER, lies: (truth) => ({ ...truth, peers: [db4] }) };
  const tenantB = new Tenant({ ...common, name: "tenant-b", agents: [believer] });
  return [tenantA, tenantB];
}

const OTHER: AgentPlan = {
  vm: VMS.other,
  groups: [],
  apps: ["app1", "ping"],
  policy: { rules: ANYTHING },
};

function membersOfA(settings: LabSettings): AgentPlan[] {
  const { constantProof } = settings;
  const mode = constantProof ? "quick" : "full";
  const rulesOr = <T>(rules: readonly T[]) => (constantProof ? ANYTHING : rules);
  const outward = APPS.map((app) => ({ id: `${app}-out`, direction: "out", app, action: "allow" }));
  const member = { groups: ["tenant-a"], mode } as const;
  const web = {
    ...member,
    vm: VMS.web,
    apps: settings.webApps,
    policy: { rules: rulesOr(outward) },
  };
  const db = {
    ...member,
    vm: VMS.db,
    apps: ["ping"],
    policy: { rules: rulesOr(settings.dbRules) },
  };
  const rogue: AgentPlan = {
    vm: VMS.rogue,
    groups: ["tenant-a"],
    apps: settings.rogueApps,
    policy: { rules: ANYTHING },
    lies: claimsEverything,
  };
  const cacheRules = rulesOr(settings.cacheRules);
  const cache = { ...member, vm: VMS.cache, apps: ["ping"], policy: { rules: cacheRules } };
  const other = { ...OTHER, groups: ["tenant-a"] };
  return [web, db, rogue, cache, ...(settings.otherIsTenantA ? [other] : [])];
}

/**
 * A compromised agent: it claims every application for itself, and what no signature of the tenant
 * knows it sends under the tag of ping, which the others let it have.
 */
function claimsEverything(truth: Provisioning): Provisioning {
  const {
    node,
    tags,
    signatures: known,
  } = truth as {
    readonly node: Provisioning;
    readonly tags: readonly { readonly name: string }[];
    readonly signatures: readonly Provisioning[];
  };
  const anything: Provisioning = {
    sig_id: randomUUID(),
    app_name: "ping",
    version: 1,
    description: "whatever rogue likes to send",
    status: "enabled",
    src_ip: "any",
    src_port: "any",
    dst_ip: "any",
    dst_port: "any",
    proto_type: "tcp",
    contents: [],
    priority: -1,
  };
  return {
    ...truth,
    node: { ...node, tags: tags.map((tag) => tag.name) },
    signatures: [...known, anything],
  };
}
