/**
 * Sites for the e2e tests: a client and a server (and more VMs where a test asks) with agents from
 * dist/abs, the applications they use, and what the tests measure with. With ABS_E2E=bare the
 * agents are left out: every positive test must pass on the bare wires too, which shows that a
 * failure is the agent's. Namespaces begin with `abst-e2e-`.
 */
import { resolve } from "node:path";
import { removeSite, Site, type SiteOptions } from "../../src/lab/site.ts";
import {
  type AgentPlan,
  type ContractPlan,
  type RulePlan,
  type SignaturePlan,
  Tenant,
  type TenantPlan,
} from "../../src/lab/tenant.ts";
import type { VmPlan } from "../../src/lab/topology.ts";

export const BARE = process.env["ABS_E2E"] === "bare";
/** ABS_PROGRAM names another build than dist/abs. */
export const ABS = [process.env["ABS_PROGRAM"] ?? resolve(import.meta.dir, "../../dist/abs")];
export const UDP_LOAD = resolve(import.meta.dir, "../../dist/udp_load");

export const CLIENT: VmPlan = vm("client", 11);
export const SERVER: VmPlan = vm("server", 12);
export const ROGUE: VmPlan = vm("rogue", 13);
export const OTHER: VmPlan = vm("other", 21);
export const STRANGER: VmPlan = vm("stranger", 99);

function vm(name: string, number: number): VmPlan {
  const mac = `02:ab:0e:00:00:${String(number).padStart(2, "0")}`;
  return { name, ipv4: `10.78.0.${number}`, ipv6: `fd78:ab5::${number}`, mac };
}

export const PORTS = {
  redis: 6_379,
  postgres: 5_432,
  mysql: 3_306,
  ssh: 22,
  http: 8_080,
  iperf: 5_201,
  load: 7_000,
} as const;

/** What the programs of the tests say first; design/agent.md "Application signatures". */
export const SIGNATURES: readonly SignaturePlan[] = [
  tcp("redis", PORTS.redis, [{ offset: 0, depth: 64, expr: "/^\\*[0-9]+\\x0d\\x0a\\$/" }]),
  // SSLRequest: its length 8 and its code.
  tcp("postgres", PORTS.postgres, [
    { offset: 0, depth: 8, expr: "\\x00\\x00\\x00\\x08\\x04\\xd2\\x16\\x2f" },
  ]),
  // The client's answer to the greeting carries packet number 1.
  tcp("mysql", PORTS.mysql, [{ offset: 3, depth: 4, expr: "\\x01" }]),
  tcp("ssh", PORTS.ssh, [{ offset: 0, depth: 8, expr: "SSH-2.0-" }]),
  tcp("http", PORTS.http, [{ offset: 0, depth: 32, expr: "/^(GET|PUT|HEAD) \\//" }]),
  // iperf3 opens every connection with a cookie of 36 letters and digits.
  tcp("iperf", PORTS.iperf, [{ offset: 0, depth: 37, expr: "/^[a-z2-7]{36}\\x00/" }]),
  { app_name: "iperf", proto_type: "udp", dst_port: String(PORTS.iperf), contents: [] },
  { app_name: "load", proto_type: "udp", dst_port: "7000-7010", contents: [] },
  { app_name: "ping", proto_type: "icmp", contents: [] },
  { app_name: "ping", proto_type: "icmpv6", contents: [] },
];

function tcp(app: string, port: number, contents: readonly unknown[]): SignaturePlan {
  return { app_name: app, proto_type: "tcp", dst_port: String(port), contents };
}

export const APPS = [...new Set(SIGNATURES.map((signature) => signature.app_name))];

/** Everything that has a signature may come in and go out; mysql and ssh greet first. */
export const OPEN_RULES: readonly RulePlan[] = [
  ...["mysql", "ssh"].map((app) => ({
    id: `${app}-in`,
    direction: "in",
    app,
    to: { protocol: "tcp", port: PORTS[app as "mysql" | "ssh"] },
    action: "allow",
    serverFirst: true,
  })),
  ...APPS.filter((app) => app !== "mysql" && app !== "ssh").map((app) => ({
    id: `${app}-in`,
    direction: "in",
    app,
    action: "allow",
  })),
  ...APPS.map((app) => ({ id: `${app}-out`, direction: "out", app, action: "allow" })),
];

/** The plan of an agent that may do everything its signatures name. */
export function openAgent(vm: VmPlan, more: Partial<AgentPlan> = {}): AgentPlan {
  return { vm, apps: APPS, stage: "enforce", policy: { rules: OPEN_RULES }, ...more };
}

/** A tenant of the given agents with the usual signatures. */
export function tenantOf(agents: readonly AgentPlan[], more: Partial<TenantPlan> = {}): Tenant {
  const contracts: readonly ContractPlan[] = [{}, {}];
  return new Tenant({
    name: "tenant-e",
    apps: APPS,
    signatures: SIGNATURES,
    contracts,
    agents,
    ...more,
  });
}

/**
 * Opens a site of its own for a test file; `name` is one word and tells the files apart. What an
 * earlier, killed run left under that name is removed first.
 */
export async function openSite(
  name: string,
  tenants: readonly Tenant[],
  more: Partial<SiteOptions> = {},
): Promise<Site> {
  const prefix = `abst-e2e-${name}-`;
  const directory = `/tmp/abst-e2e-${name}`;
  await removeSite(prefix, directory);
  const agents = BARE ? "none" : "run";
  return await Site.open({ prefix, directory, abs: ABS, tenants, agents, ...more });
}

/** Prints a suite's seconds when it ends. */
export function stopwatch(suite: string): () => void {
  const started = performance.now();
  return () => {
    const seconds = ((performance.now() - started) / 1_000).toFixed(1);
    console.log(`${suite}: ${seconds} s${BARE ? " (bare)" : ""}`);
  };
}
