/**
 * A manager on a machine of its own, and VMs that enrol with it over the network that they will
 * use: what the e2e tests of the manager share. The manager's folder is `SITE/manager`, a VM's
 * `SITE/VM`; the tenant is `t1`.
 */
import type { LabAgent } from "../../src/lab/agents.ts";
import { type Background, mustRun, startBackground, waitFor } from "../../src/lab/command.ts";
import type { Site, SiteOptions } from "../../src/lab/site.ts";
import type { VmPlan } from "../../src/lab/topology.ts";
import { ABS, CLIENT, openSite } from "./harness.ts";

export const MANAGER: VmPlan = {
  ...{ name: "manager", ipv4: "10.78.0.90", ipv6: "fd78:ab5::90", mac: "02:ab:0e:00:00:90" },
};
export const TENANT = "t1";
const MINUTE_MS = 60_000;

type AgentRow = { readonly name: string; readonly version: string };

export class ManagerBed {
  #manager: Background | undefined;
  #starts = 0;

  private constructor(
    readonly site: Site,
    readonly dir: string,
  ) {}

  /** VMs without agents, and a manager with one tenant. `name` tells the test files apart. */
  static async open(
    name: string,
    vms: readonly VmPlan[] = [CLIENT],
    more: Partial<SiteOptions> = {},
  ): Promise<ManagerBed> {
    const site = await openSite(name, [], { vms, machines: [MANAGER], ...more });
    const bed = new ManagerBed(site, `${site.options.directory}/manager`);
    try {
      await bed.startManager();
      await bed.ask("tenant", "add", TENANT);
    } catch (thrown) {
      await bed.close();
      throw thrown;
    }
    return bed;
  }

  async startManager(): Promise<void> {
    const serve = ["manager", "serve", "--dir", this.dir, "--address", `${MANAGER.ipv4}:7022`];
    const logFile = `${this.site.options.directory}/manager-${++this.#starts}.log`;
    const manager = startBackground(this.site.inside("manager", [...ABS, ...serve]), { logFile });
    this.#manager = manager;
    this.site.onClose(() => manager.stop());
    const isUp = () => manager.output().includes("manager-started") || undefined;
    await waitFor("the manager", isUp, MINUTE_MS);
  }

  /** Without warning. */
  async killManager(): Promise<void> {
    await this.#manager?.stop("SIGKILL");
  }

  /** What `abs` prints in a VM; an error when it fails. */
  async abs(vm: string, ...words: string[]): Promise<string> {
    const result = await mustRun(this.site.inside(vm, [...ABS, ...words]));
    return result.stdout.trim();
  }

  /** A command of the administrator `local`. */
  async ask(...words: string[]): Promise<string> {
    return await this.abs("manager", "manager", ...words, "--dir", this.dir);
  }

  /** The same with a document on standard input. */
  async give(document: string, ...words: string[]): Promise<void> {
    const command = [...ABS, "manager", ...words, "--dir", this.dir];
    await mustRun(this.site.inside("manager", command), { input: document });
  }

  folder(vm: string): string {
    return `${this.site.options.directory}/${vm}`;
  }

  async enrol(vm: string, ...invited: string[]): Promise<void> {
    const token = await this.ask("invite", "--tenant", TENANT, "--name", vm, ...invited);
    await this.abs(vm, "agent", "enroll", token, "--dir", this.folder(vm));
  }

  /** From the file that enrolment wrote; returns when it forwards. */
  async startAgent(vm: string): Promise<LabAgent> {
    const agent = this.site.startAgent(vm);
    await agent.ready();
    return agent;
  }

  async agents(): Promise<AgentRow[]> {
    return JSON.parse(await this.ask("agents", "list", "--output", "json")) as AgentRow[];
  }

  /** Of the tenant, those that are not expired. */
  async contracts(): Promise<string[]> {
    const list = await this.ask("contract", "list", "--tenant", TENANT, "--output", "json");
    const rows = JSON.parse(list) as { readonly "sc-id": string; readonly active: unknown }[];
    return rows.filter(({ active }) => active !== "expired").map((row) => row["sc-id"]);
  }

  /** Until the ledger holds so many signatures, and agents are given them. */
  async untilSealed(count: number): Promise<void> {
    const areSealed = async () => {
      const words = ["sig", "list", "--tenant", TENANT, "--output", "json"];
      const rows = JSON.parse(await this.ask(...words)) as { readonly sealed: boolean }[];
      return rows.filter(({ sealed }) => sealed).length === count ? true : undefined;
    };
    await waitFor(`${count} signatures on the ledger`, areSealed, MINUTE_MS, 100);
  }

  /** Until every agent, or each of these, reports the newest version in force. */
  async untilEnforced(only?: readonly string[]): Promise<void> {
    const areNewest = async () => {
      const rows = (await this.agents()).filter(({ name }) => only?.includes(name) ?? true);
      return rows.every(({ version }) => /^(\d+)\/\1$/.test(version)) ? true : undefined;
    };
    await waitFor("every agent to enforce the newest version", areNewest, MINUTE_MS, 100);
  }

  /** Until the first packet of `from` is answered: contracts come with the ledger's blocks. */
  async untilAnswered(from: string, to: VmPlan): Promise<void> {
    const answers = async () => {
      const result = await this.ping(from, to, 1);
      return result.code === 0 ? true : undefined;
    };
    await waitFor(`an answer of ${to.name} to ${from}`, answers, MINUTE_MS);
  }

  async ping(from: string, to: VmPlan, count: number) {
    const words = ["ping", "-n", "-c", `${count}`, "-i", "0.2", "-W", "2", to.ipv4];
    return await this.site.run(from, words, { timeoutMs: 20_000 });
  }

  async close(): Promise<void> {
    await this.site.close();
  }
}
