/**
 * Who is who in `abs lab`: tenant A (`default` at the manager) with its VMs web, db, rogue and
 * cache, and late, which joins in the story; tenant B with other; a manager; all on one switch and
 * one subnet. App1 is a Redis client whose first payload names the user app1, App2 one that names
 * app2; `ping` is ICMP echo. rogue and other are played as compromised: liars.ts.
 */
import type { RulePlan, SignaturePlan } from "./tenant.ts";
import type { VmPlan } from "./topology.ts";

export const APP1_USER = { name: "app1", password: "correct-horse" } as const;
export const APP2_USER = { name: "app2", password: "battery-staple" } as const;
export const REDIS_PORT = 6_379;
/** A second server on db that no rule opens. */
export const CLOSED_PORT = 6_380;

/** As README's commands make it. */
export const TENANT_A = "default";
export const TENANT_B = "tenant-b";

export type VmName = "web" | "db" | "rogue" | "cache" | "other" | "late";

export const VMS: Readonly<Record<VmName, VmPlan>> = {
  web: vm("web", 11),
  db: vm("db", 12),
  rogue: vm("rogue", 13),
  cache: vm("cache", 14),
  late: vm("late", 15),
  other: vm("other", 21),
};
/** On the same wire and nobody's VM: what an attacker at the bridge calls itself. */
export const STRANGER: VmPlan = vm("stranger", 99);
/** The manager's machine; it has no agent. */
export const MANAGER: VmPlan = vm("manager", 9);
/** A machine that takes another's address. */
export const THIEF: VmPlan = vm("thief", 16);

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
  /** Of web; undefined: as its stage says. */
  readonly onStop: "open" | undefined;
  /** Applications that the manager lets these VMs claim. */
  readonly webApps: readonly string[];
  readonly rogueApps: readonly string[];
  readonly lateApps: readonly string[];
  readonly otherIsTenantA: boolean;
  readonly app1Signature: "mark" | "port-only";
  /** Inbound rules of db, of cache, and of all. */
  readonly dbRules: readonly RulePlan[];
  readonly cacheRules: readonly RulePlan[];
  readonly pingRules: readonly RulePlan[];
  readonly ledger: LedgerSettings;
  /** Quick mode with a contract whose proof never changes: no replay window, no integrity. */
  readonly constantProof: boolean;
  /** Whose address the thief takes: db's, or one that nobody has. */
  readonly stolen: "db" | "nobody's";
  /** Whom the manager revokes in the story. */
  readonly revoked: VmName;
}

/** Tenant A's ledger, and what a sabotage changes of it. */
export interface LedgerSettings {
  /** Its master is the manager; "killed": as soon as all is set up. */
  readonly master: "run" | "killed";
  /** The others' agents never run. */
  readonly validators: readonly VmName[];
  readonly contracts: number;
  /** What web's agent has: the secrets that the ledger has commitments of, or others. */
  readonly webSecrets: "right" | "wrong";
  /** VMs whose agents are stopped before the story begins. */
  readonly stopped: readonly VmName[];
}

/** Redis for one application. */
function redisRule(app: string): RulePlan {
  return {
    id: `${app}-to-redis`,
    direction: "in",
    app,
    to: { protocol: "tcp", port: REDIS_PORT },
    action: "allow",
  };
}

export const DB_RULES = [redisRule("app1")];
export const CACHE_RULES = [redisRule("app2")];
const PING_RULE: RulePlan = {
  id: "ping-in",
  direction: "in",
  app: "ping",
  to: { protocol: ["icmp", "icmpv6"] }, // without it the rule would open every port to that tag
  action: "allow",
};

export const LEDGER: LedgerSettings = {
  master: "run",
  validators: ["web", "db", "rogue", "cache"],
  contracts: 4,
  webSecrets: "right",
  stopped: [],
};

export const DEFAULT_SETTINGS: LabSettings = {
  agents: "run",
  onStop: undefined,
  webApps: ["app1", "app2", "ping"],
  rogueApps: ["ping"],
  lateApps: ["app1", "ping"],
  otherIsTenantA: false,
  app1Signature: "mark",
  dbRules: DB_RULES,
  cacheRules: CACHE_RULES,
  pingRules: [PING_RULE],
  ledger: LEDGER,
  constantProof: false,
  stolen: "db",
  revoked: "late",
};

export const ANYTHING: readonly RulePlan[] = ["in", "out"].map((direction) => ({
  id: `anything-${direction}`,
  direction,
  action: "allow",
}));

/** AUTH with two arguments, the first a user: the first thing redis-cli --user says. */
function userMark(user: string): string {
  return `*3\\x0d\\x0a$4\\x0d\\x0aAUTH\\x0d\\x0a$${user.length}\\x0d\\x0a${user}\\x0d\\x0a`;
}

/** What `abs manager sig add` is given. */
export function signaturesOf(settings: LabSettings): SignaturePlan[] {
  const marked = settings.app1Signature === "mark";
  const redis = { dst_port: String(REDIS_PORT), proto_type: "tcp" };
  const markOf = (user: string) => [{ offset: 0, depth: 24, expr: userMark(user) }];
  const plans: SignaturePlan[] = [
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
  return plans.map((plan, i) => ({ sig_id: `s${i}`, version: 1, status: "enabled", ...plan }));
}

/** What `abs manager policy apply` is given: one policy, whose rules name the VMs they are for. */
export function policyOf(settings: LabSettings): { version: 1; rules: readonly RulePlan[] } {
  const outward = ["app1", "app2", "ping"].map((app) => {
    return { id: `${app}-out`, direction: "out", app, action: "allow" };
  });
  const rules = [
    ...outward,
    ...settings.dbRules.map((rule) => ruleFor("db", rule)),
    ...settings.cacheRules.map((rule) => ruleFor("cache", rule)),
    ...settings.pingRules,
  ];
  return { version: 1, rules: settings.constantProof ? ANYTHING : rules };
}

function ruleFor(vm: VmName, rule: RulePlan): RulePlan {
  return { ...rule, to: { ...(rule["to"] as RulePlan | undefined), agent: vm } };
}
