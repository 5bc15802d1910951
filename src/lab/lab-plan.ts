/**
 * Who is who in `abs lab`: tenant A with its VMs web, db and rogue, tenant B with other, all on one
 * switch and one subnet. App1 is a Redis client whose first payload names the user app1; `ping` is
 * ICMP echo. rogue and other are played as compromised: their own agents believe what suits them.
 */
import { randomUUID } from "node:crypto";
import { type AgentPlan, type Provisioning, type SignaturePlan, Tenant } from "./tenant.ts";
import type { VmPlan } from "./topology.ts";

export const APP1_USER = { name: "app1", password: "correct-horse" } as const;
export const REDIS_PORT = 6_379;
/** A second server on db that no rule opens. */
export const CLOSED_PORT = 6_380;

export type VmName = "web" | "db" | "rogue" | "other";

export const VMS: Readonly<Record<VmName, VmPlan>> = {
  web: vm("web", 11),
  db: vm("db", 12),
  rogue: vm("rogue", 13),
  other: vm("other", 21),
};
/** On the same wire and nobody's VM: what an attacker at the bridge calls itself. */
export const STRANGER: VmPlan = vm("stranger", 99);

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
  /** Quick mode with a contract whose proof never changes: no replay window, no integrity. */
  readonly constantProof: boolean;
}

export const DB_RULES: readonly Readonly<Record<string, unknown>>[] = [
  {
    id: "app1-to-redis",
    direction: "in",
    from: { group: "tenant-a" },
    app: "app1",
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

export const DEFAULT_SETTINGS: LabSettings = {
  agents: "run",
  onStop: "closed",
  webApps: ["app1", "ping"],
  rogueApps: ["ping"],
  otherIsTenantA: false,
  app1Signature: "mark",
  dbRules: DB_RULES,
  constantProof: false,
};

const ANYTHING = ["in", "out"].map((direction) => ({
  id: `anything-${direction}`,
  direction,
  action: "allow",
}));

/** AUTH with two arguments, the first of which is app1: the first thing redis-cli --user says. */
const APP1_MARK = "*3\\x0d\\x0a$4\\x0d\\x0aAUTH\\x0d\\x0a$4\\x0d\\x0aapp1\\x0d\\x0a";

function signatures(settings: LabSettings): SignaturePlan[] {
  const marked = settings.app1Signature === "mark";
  return [
    {
      app_name: "app1",
      description: "a Redis client that logs in as app1",
      dst_port: String(REDIS_PORT),
      proto_type: "tcp",
      contents: marked ? [{ offset: 0, depth: 24, expr: APP1_MARK }] : [],
    },
    { app_name: "ping", description: "ICMP echo", proto_type: "icmp", contents: [] },
    { app_name: "ping", description: "ICMPv6 echo", proto_type: "icmpv6", contents: [] },
  ];
}

/** The two tenants, keys drawn anew. */
export function labTenants(settings: LabSettings): Tenant[] {
  const rogue: AgentPlan = {
    vm: VMS.rogue,
    groups: ["tenant-a"],
    apps: settings.rogueApps,
    policy: { rules: ANYTHING },
    lies: claimsEverything,
  };
  const other: AgentPlan = {
    vm: VMS.other,
    groups: settings.otherIsTenantA ? ["tenant-a"] : [],
    apps: ["app1", "ping"],
    policy: { rules: ANYTHING },
  };
  const mode = settings.constantProof ? "quick" : "full";
  const web: AgentPlan = {
    vm: VMS.web,
    groups: ["tenant-a"],
    apps: settings.webApps,
    mode,
    policy: {
      rules: settings.constantProof
        ? ANYTHING
        : [
            { id: "app1-out", direction: "out", app: "app1", action: "allow" },
            { id: "ping-out", direction: "out", app: "ping", action: "allow" },
          ],
    },
  };
  const db: AgentPlan = {
    vm: VMS.db,
    groups: ["tenant-a"],
    apps: ["ping"],
    mode,
    policy: { rules: settings.constantProof ? ANYTHING : settings.dbRules },
  };
  const common = {
    apps: ["app1", "ping"],
    signatures: signatures(settings),
    contracts: settings.constantProof ? [{ quickmode: true }] : [{}, {}],
  };
  const members = settings.otherIsTenantA ? [web, db, rogue, other] : [web, db, rogue];
  const tenantA = new Tenant({ ...common, name: "tenant-a", agents: members });
  if (settings.otherIsTenantA) return [tenantA];
  // It knows db's address and public key, and takes db for a peer; over IPv4 only, so that over
  // IPv6 it sends without any field, as honest neighbours do.
  const db4 = { ...tenantA.peerEntry("db"), addresses: [VMS.db.ipv4] };
  const believer: AgentPlan = { ...other, lies: (truth) => ({ ...truth, peers: [db4] }) };
  const tenantB = new Tenant({ ...common, name: "tenant-b", agents: [believer] });
  return [tenantA, tenantB];
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
