/**
 * The same site in two ways: agents that are provisioned by a file each, and agents that enrol with
 * a manager, which gives them what the file would have said. A test's body runs over both.
 */
import { randomUUID } from "node:crypto";
import { assert } from "../../src/errors.ts";
import type { Site, SiteOptions } from "../../src/lab/site.ts";
import type { AgentPlan, ContractPlan, Tenant } from "../../src/lab/tenant.ts";
import { BARE, openSite } from "./harness.ts";
import { ManagerBed, TENANT } from "./manager-bed.ts";

export type Way = "provisioned" | "enrolled";

/** On the bare wires both are one. */
export const WAYS: readonly Way[] = BARE ? ["provisioned"] : ["provisioned", "enrolled"];
/** The manager issues more where fewer would last. */
const CONTRACTS_MIN = 2;
const DAY_SECONDS = 86_400;

/** As openSite(), with the agents of one tenant that differ in neither policy nor secrets. */
export async function openSiteBy(
  way: Way,
  name: string,
  tenant: Tenant,
  more: Partial<SiteOptions> = {},
): Promise<Site> {
  if (way === "provisioned") return await openSite(name, [tenant], more);
  return (await openBedOf(name, tenant, more)).site;
}

/** The enrolled way, where a test goes on with the manager. */
export async function openBedOf(
  name: string,
  tenant: Tenant,
  more: Partial<SiteOptions> = {},
): Promise<ManagerBed> {
  const { agents } = tenant.plan;
  const vms = agents.map(({ vm }) => vm);
  const bed = await ManagerBed.open(name, vms, more);
  try {
    await describeTenant(bed, tenant);
    for (const agent of agents) await enrol(bed, agent);
    await Promise.all(vms.map((vm) => bed.startAgent(vm.name)));
    await bed.untilSealed(tenant.plan.signatures.length);
    await bed.untilEnforced();
    const [first, second] = vms;
    if (first !== undefined && second !== undefined) await bed.untilAnswered(first.name, second);
    return bed;
  } catch (thrown) {
    await bed.close();
    throw thrown;
  }
}

/** Contracts, signatures and policy, as an administrator gives them. */
export async function describeTenant(bed: ManagerBed, { plan }: Tenant): Promise<void> {
  const of = ["--tenant", TENANT];
  await replaceContracts(bed, plan.contracts);
  const signatures = plan.signatures.map((one, i) => {
    return { sig_id: `s${i}`, version: 1, status: "enabled", ...one };
  });
  await bed.give(JSON.stringify(signatures), "sig", "add", "--publish", ...of);
  const [policy, ...others] = new Set(plan.agents.map((agent) => JSON.stringify(agent.policy)));
  assert(policy !== undefined && others.length === 0, "one policy for all agents of the site");
  await bed.give(JSON.stringify({ version: 1, ...JSON.parse(policy) }), "policy", "apply", ...of);
}

/** Others are issued, and those that there are expire. */
export async function replaceContracts(
  bed: ManagerBed,
  terms: readonly ContractPlan[],
): Promise<void> {
  const of = ["--tenant", TENANT];
  const before = await bed.contracts();
  for (let i = 0; i < Math.max(terms.length, CONTRACTS_MIN); i++) {
    const document = termsOf(terms[i % terms.length] ?? {});
    await bed.give(JSON.stringify(document), "contract", "add", ...of);
  }
  for (const scId of before) await bed.ask("contract", "expire", scId, ...of);
}

/** As Fig. 6 writes them. */
function termsOf(plan: ContractPlan): object {
  const now = Math.floor(Date.now() / 1_000);
  const { busySeconds = 3_600, idleSeconds = 600 } = plan;
  return {
    ...{ "sc-id": randomUUID(), active: "true", quickmode: String(plan.quickmode ?? false) },
    encryption_algo: plan.algorithm ?? "aes-128-gcm",
    hash_algo: plan.hash ?? "sha256",
    protection: plan.protection ?? "integrity",
    "sc-lifetime": now + 90 * DAY_SECONDS,
    lifetime: { keyregen: now + 30 * DAY_SECONDS, busytime: busySeconds, idletime: idleSeconds },
  };
}

export async function enrol(bed: ManagerBed, agent: AgentPlan, tenant = TENANT): Promise<void> {
  const { vm, apps, groups = [], carrier = "ip", mode = "full", stage = "enforce" } = agent;
  const tags = apps.flatMap((app) => ["--tag", app]);
  const invited = [...tags, ...groups.flatMap((group) => ["--group", group])];
  const token = await bed.ask("invite", "--tenant", tenant, "--name", vm.name, ...invited);
  const addresses = [vm.ipv4, vm.ipv6, ...(agent.moreAddresses ?? [])].join(",");
  const words = ["--address", addresses, "--carrier", carrier, "--dir", bed.folder(vm.name)];
  await bed.abs(vm.name, "agent", "enroll", token, ...words);
  await bed.ask("agents", "set", "--agent", vm.name, "--mode", mode, "--stage", stage);
}
