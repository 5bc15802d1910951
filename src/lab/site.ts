/**
 * A site: VMs on a switch, an agent in each, programs and taps; what both `abs lab` and the e2e
 * tests work with. Everything a site makes is below its directory or in namespaces of its prefix,
 * and close() removes both. With `agents: "none"` it is the bare network, for comparison.
 */
import { chmodSync, mkdirSync, rmSync } from "node:fs";
import { assert } from "../errors.ts";
import { LabAgent } from "./agents.ts";
import { Tap } from "./capture.ts";
import { type CommandOptions, type CommandResult, runCommand } from "./command.ts";
import { releaseMounts } from "./mounts.ts";
import type { ProgramHost, Service } from "./programs.ts";
import type { Provisioning, Tenant } from "./tenant.ts";
import {
  createTopology,
  destroyTopology,
  inVm,
  namespaceOf,
  switchPorts,
  type VmPlan,
} from "./topology.ts";

export interface SiteOptions {
  /** Begins the name of every namespace. */
  readonly prefix: string;
  /** Made by open() and removed by close(). */
  readonly directory: string;
  /** The program and leading arguments that make `abs`. */
  readonly abs: readonly string[];
  /** Whose agents are started from files. */
  readonly tenants: readonly Tenant[];
  /** VMs whose agents somebody else starts. */
  readonly vms?: readonly VmPlan[];
  /** On the switch as well, without an agent. */
  readonly machines?: readonly VmPlan[];
  /** "none": the wires and programs only. */
  readonly agents?: "run" | "none";
  readonly inside?: "veth" | "tap";
  readonly onStop?: "closed" | "open";
  readonly mtu?: number;
  /** More arguments for the agent of a VM. */
  readonly more?: (vm: string) => readonly string[];
}

export class Site {
  readonly options: SiteOptions;
  readonly vms: readonly VmPlan[];
  readonly #agents = new Map<string, LabAgent>();
  readonly #services: Service[] = [];
  readonly #taps: Tap[] = [];
  readonly #closing: (() => Promise<unknown>)[] = [];
  #ports = new Map<string, number>();

  private constructor(options: SiteOptions) {
    this.options = options;
    const { tenants, vms = [] } = options;
    this.vms = [...tenants.flatMap(({ plan }) => plan.agents.map((agent) => agent.vm)), ...vms];
  }

  /** Makes the site; when that fails half way, nothing of it stays. */
  static async open(options: SiteOptions): Promise<Site> {
    const site = new Site(options);
    try {
      await site.#build();
      return site;
    } catch (thrown) {
      await site.close();
      throw thrown;
    }
  }

  async #build(): Promise<void> {
    const { prefix, directory, mtu } = this.options;
    mkdirSync(directory, { recursive: true });
    chmodSync(directory, 0o711); // servers run as users of their own must reach their directories
    const size = mtu === undefined ? {} : { mtu };
    await createTopology({ prefix, vms: this.vms, bare: this.#machines, ...size });
    this.#ports = switchPorts(
      prefix,
      this.vms.map((vm) => vm.name),
    );
    if (this.options.agents === "none") return;
    for (const tenant of this.options.tenants) {
      for (const agent of tenant.plan.agents) {
        this.startAgent(agent.vm.name, tenant.provisioningOf(agent.vm.name));
      }
    }
    await Promise.all([...this.#agents.values()].map((agent) => agent.ready()));
  }

  /**
   * Starts the agent of a VM that has none; wait for its ready(). Without a provisioning it has the
   * file in its directory: enrolment wrote it.
   */
  startAgent(vm: string, provisioning?: Provisioning): LabAgent {
    const { prefix, directory, abs, inside, onStop, more } = this.options;
    const agent = LabAgent.start({
      vm,
      namespace: namespaceOf(prefix, vm),
      abs,
      directory: `${directory}/${vm}`,
      ...(provisioning === undefined ? {} : { provisioning }),
      ...(inside === undefined ? {} : { inside }),
      ...(onStop === undefined ? {} : { onStop }),
      ...(more === undefined ? {} : { more: more(vm) }),
    });
    this.#agents.set(vm, agent);
    return agent;
  }

  get #machines(): readonly VmPlan[] {
    return this.options.machines ?? [];
  }

  /** A VM, or a machine without an agent. */
  vm(name: string): VmPlan {
    const found = [...this.vms, ...this.#machines].find((vm) => vm.name === name);
    assert(found !== undefined, `the site has a VM ${name}`);
    return found;
  }

  agent(vm: string): LabAgent {
    const found = this.#agents.get(vm);
    assert(found !== undefined, `the VM ${vm} has an agent`);
    return found;
  }

  agents(): readonly LabAgent[] {
    return [...this.#agents.values()];
  }

  services(): readonly Service[] {
    return this.#services;
  }

  /** The argument list that runs a command inside a VM. */
  inside(vm: string, command: readonly string[]): string[] {
    return inVm(namespaceOf(this.options.prefix, vm), command);
  }

  async run(
    vm: string,
    command: readonly string[],
    options?: CommandOptions,
  ): Promise<CommandResult> {
    return await runCommand(this.inside(vm, command), options);
  }

  host(vm: string): ProgramHost {
    const plan = this.vm(vm);
    const directory = `${this.options.directory}/programs`;
    mkdirSync(directory, { recursive: true, mode: 0o755 });
    return {
      vm,
      wrap: (command) => this.inside(vm, command),
      directory,
      addresses: [plan.ipv4, plan.ipv6],
    };
  }

  /** Remembers a server so that close() ends it. */
  async keep(service: Promise<Service>): Promise<Service> {
    const started = await service;
    this.#services.push(started);
    return started;
  }

  /** Called by close(), after the agents have ended. */
  onClose(end: () => Promise<unknown>): void {
    this.#closing.push(end);
  }

  tapSwitch(): Tap {
    const names = this.vms.map((vm) => vm.name);
    return this.#keepTap(Tap.atSwitch(this.options.prefix, names));
  }

  tapVm(vm: string): Tap {
    return this.#keepTap(Tap.inVm(this.options.prefix, vm));
  }

  #keepTap(tap: Tap): Tap {
    this.#taps.push(tap);
    return tap;
  }

  /** The number of the switch's port towards a VM, for injecting frames there. */
  portOf(vm: string): number {
    const port = this.#ports.get(vm);
    assert(port !== undefined, `the switch has a port for ${vm}`);
    return port;
  }

  /** Ends programs and agents, removes namespaces and files. Safe to call twice. */
  async close(): Promise<void> {
    for (const tap of this.#taps) tap.close();
    await Promise.all(this.#services.map((service) => service.process.stop()));
    await Promise.all([...this.#agents.values()].map((agent) => agent.stop()));
    await Promise.all(this.#closing.map((end) => end()));
    await removeSite(this.options.prefix, this.options.directory);
  }
}

/** Removes what a site left, also one whose maker was killed. */
export async function removeSite(prefix: string, directory: string): Promise<void> {
  await destroyTopology(prefix);
  releaseMounts(directory);
  rmSync(directory, { recursive: true, force: true });
}
