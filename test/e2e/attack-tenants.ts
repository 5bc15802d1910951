/**
 * Who is on the site of the attack tests, in both ways (enrolled-site.ts): an honest client and
 * server, and compromised VMs, whose agents start from a file of their own making. Where a manager
 * is, those have enrolled, and the file has what their root read in the enrolled agent's folder.
 */
import { readFileSync, rmSync } from "node:fs";
import { generateContractSecret } from "../../src/agent/keys.ts";
import type { Site } from "../../src/lab/site.ts";
import type { AgentPlan, Provisioning, RulePlan } from "../../src/lab/tenant.ts";
import type { VmPlan } from "../../src/lab/topology.ts";
import { describeTenant, enrol, replaceContracts } from "./enrolled-site.ts";
import {
  APPS,
  CLIENT,
  OPEN_RULES,
  OTHER,
  openAgent,
  openSite,
  PORTS,
  ROGUE,
  SERVER,
  SIGNATURES,
  tenantOf,
} from "./harness.ts";
import { ManagerBed } from "./manager-bed.ts";

export const LIAR: VmPlan = {
  name: "liar",
  ipv4: "10.78.0.14",
  ipv6: "fd78:ab5::14",
  mac: "02:ab:0e:00:00:14",
};
const OTHER_TENANT = "tenant-o";

/** The site, and what its compromised VMs can start from. */
export interface Attacked {
  readonly site: Site;
  /** The file of a VM, with the contracts' secrets as they are. */
  readonly fileOf: (vm: string) => Provisioning;
  /** The same with secrets that were good once and are no more. */
  readonly outdatedFileOf: (vm: string) => Promise<Provisioning>;
}

const SERVER_RULES: readonly RulePlan[] = [
  rule("load-clients", "load", { group: "clients" }),
  // Open to every VM of the tenant, so that the tag alone decides.
  rule("redis-all", "redis", "any"),
  rule("ssh-all", "ssh", "any"),
  rule("ping-all", "ping", "any"),
  { id: "load-out", direction: "out", app: "load", action: "allow" },
];

function rule(id: string, app: string, from: unknown): RulePlan {
  const port = app === "load" ? "7000-7010" : PORTS[app as keyof typeof PORTS];
  // Without the protocols the rule of ping would open every port to its tag.
  const ping = { protocol: ["icmp", "icmpv6"] };
  const to = app === "ping" ? ping : { protocol: app === "load" ? "udp" : "tcp", port };
  return { id, direction: "in", from, app, action: "allow", to };
}

const ANYTHING: readonly RulePlan[] = ["in", "out"].map((direction) => ({
  id: `anything-${direction}`,
  direction,
  action: "allow",
}));

/**
 * Believes that everybody is in quick mode, so that its agent asks no questions and seals anything.
 */
function believesInQuick(truth: Provisioning): Provisioning {
  const peers = truth["peers"] as readonly Provisioning[];
  const node = truth["node"] as Provisioning;
  return {
    ...truth,
    node: { ...node, mode: "quick" },
    peers: peers.map((peer) => ({ ...peer, mode: "quick" })),
  };
}

function claimsAllTags(truth: Provisioning): Provisioning {
  return { ...truth, node: { ...(truth["node"] as Provisioning), tags: APPS } };
}

/** Compromised, all of them; what they believe is their agents' part. */
const VILLAINS: readonly AgentPlan[] = [
  openAgent(ROGUE, {
    apps: [],
    stage: "observe",
    policy: { rules: ANYTHING },
    lies: believesInQuick,
  }),
  openAgent(LIAR, { apps: ["ping"], policy: { rules: ANYTHING }, lies: claimsAllTags }),
];
const HONEST: readonly AgentPlan[] = [
  openAgent(CLIENT, { groups: ["clients"] }),
  openAgent(SERVER, { policy: { rules: SERVER_RULES } }),
];

/** Agents with a file each. */
export async function openProvisioned(): Promise<Attacked> {
  const victim = tenantOf([...HONEST, ...VILLAINS], { contracts: [{ generation: 2 }] });
  const server = { ...victim.peerEntry(SERVER.name), addresses: [SERVER.ipv4] };
  const lies = (truth: Provisioning) => ({ ...truth, peers: [server] });
  const stranger = openAgent(OTHER, { policy: { rules: ANYTHING }, lies });
  const others = tenantOf([stranger], { name: OTHER_TENANT });
  const fileOf = (vm: string) => victim.provisioningOf(vm);
  const old = () => ({ generation: 1, secret: generateContractSecret().secret });
  return {
    site: await openSite("attacks", [victim, others]),
    fileOf,
    outdatedFileOf: async (vm) => {
      const truth = fileOf(vm);
      const contracts = truth["contracts"] as readonly Provisioning[];
      return { ...truth, contracts: contracts.map((contract) => ({ ...contract, ...old() })) };
    },
  };
}

/** Agents that a manager looks after; it tells one policy to all of the tenant. */
export async function openEnrolled(): Promise<Attacked> {
  const bed = await ManagerBed.open("attacks", [CLIENT, SERVER, ROGUE, LIAR, OTHER]);
  try {
    return await enrolAll(bed);
  } catch (thrown) {
    await bed.close();
    throw thrown;
  }
}

async function enrolAll(bed: ManagerBed): Promise<Attacked> {
  const out = OPEN_RULES.filter((rule) => rule["direction"] === "out");
  const policy = { rules: [...SERVER_RULES.filter(({ id }) => id !== "load-out"), ...out] };
  const honest = HONEST.map((agent) => ({ ...agent, policy }));
  await describeTenant(bed, tenantOf(honest, { contracts: [{}] }));
  for (const agent of [...honest, ...VILLAINS]) await enrol(bed, agent);
  await bed.ask("tenant", "add", OTHER_TENANT);
  await enrol(bed, openAgent(OTHER), OTHER_TENANT);
  const names = honest.map(({ vm }) => vm.name);
  for (const name of names) await bed.startAgent(name);
  await bed.untilSealed(SIGNATURES.length);
  await bed.untilEnforced(names);
  await bed.untilAnswered(CLIENT.name, SERVER);
  const villains = villainFiles(bed);
  const fileOf = (vm: string) => villains.get(vm)?.() ?? {};
  for (const vm of villains.keys()) await bed.site.startAgent(vm, fileOf(vm)).ready();
  return {
    site: bed.site,
    fileOf,
    outdatedFileOf: async (vm) => {
      const outdated = fileOf(vm);
      await replaceContracts(bed, [{}]);
      await bed.untilEnforced(names);
      await bed.untilAnswered(CLIENT.name, SERVER);
      return outdated;
    },
  };
}

/** Of each compromised VM; its folder is gone then, and with it the way to its manager. */
function villainFiles(bed: ManagerBed): Map<string, () => Provisioning> {
  const read = (vm: string) => {
    return JSON.parse(readFileSync(`${bed.folder(vm)}/provisioning.json`, "utf8")) as Provisioning;
  };
  const known = read(CLIENT.name)["peers"] as readonly Provisioning[];
  const server = known.find(({ id }) => id === SERVER.name);
  const onlyServer = [{ ...server, addresses: [SERVER.ipv4] }];
  const lies = (truth: Provisioning) => ({ ...truth, peers: onlyServer });
  const stranger = openAgent(OTHER, { policy: { rules: ANYTHING }, lies });
  const files = [...VILLAINS, stranger].map((agent) => {
    const { name } = agent.vm;
    const held = read(name);
    rmSync(bed.folder(name), { recursive: true });
    // The tenant's secrets of today are the client's as well.
    const today = () => (agent === stranger ? held : read(CLIENT.name));
    return [name, () => ownFile(agent, held, today())] as const;
  });
  return new Map(files);
}

/** A file without manager and ledger: keys and secrets are those that were given. */
function ownFile(agent: AgentPlan, held: Provisioning, today: Provisioning): Provisioning {
  const { lies = (truth: Provisioning) => truth, ...honest } = agent;
  const drawn = tenantOf([honest]).provisioningOf(agent.vm.name);
  const [terms] = drawn["contracts"] as readonly Provisioning[];
  const secrets = today["contracts"] as readonly Provisioning[];
  const { staticKey } = held["node"] as Provisioning;
  const { secret: _secret, generation: _generation, id: _id, ...rest } = terms ?? {};
  return lies({
    ...drawn,
    node: { ...(drawn["node"] as Provisioning), staticKey },
    ...{ tenant: held["tenant"], tags: today["tags"], peers: held["peers"] },
    contracts: secrets.map((contract) => ({ ...rest, ...contract })),
  });
}
