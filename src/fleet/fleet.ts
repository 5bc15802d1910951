/**
 * `abs sim fleet`: thousands of agents against one manager. docs/fleet.md.
 * The manager is a process of its own, the agents are a few more; here they are started, changed
 * and counted. Everything is measured from what the manager itself says: who is connected, which
 * version is in force. Times in seconds, sizes in bytes.
 */
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { AbsError } from "../errors.ts";
import { AgentProcesses } from "./agent-processes.ts";
import { FleetManager } from "./fleet-manager.ts";
import type { FleetPlan } from "./fleet-plan.ts";
import type { AgentOrder } from "./fleet-words.ts";

/** Each agent has a disk of its own in truth: here all have the memory. */
const MEMORY_DISK = "/dev/shm";
const PREFIX = "abs-fleet-";
const POLL_MS = 20;
/** Past the targets by far: something is wrong then. */
const PATIENCE_MS = 600_000;
const TOLD_MS = 5000;
/** Commands under way at one time. */
const ASKED_AT_ONCE = 4;
/** After it every agent of a tenant has something to do. */
const CHANGED_POLICY = "version: 1\ndefaults: { stage: warn }\nrules: []\n";

export type FleetReport = {
  readonly agents: number;
  /** At the end. */
  readonly connected: number;
  /** From the first enrolment until the manager has all of them connected. */
  readonly connect_s: number;
  /** Of the manager's process, when all are connected and quiet. */
  readonly rss_bytes: number;
  /** From the first of the tenants' new policies until the last agent reports it enforced. */
  readonly enforce_s: number;
  /** From the manager's death until all are connected to the next one. */
  readonly storm_s: number;
  readonly tenants: number;
  readonly members: number;
  readonly enrolments_per_s: number;
  /** Log-ins that had to be repeated while all enrolled. */
  readonly retries: number;
  /** From the first enrolment until all report the newest version of their tenant. */
  readonly settled_s: number;
  readonly rss_start_bytes: number;
  readonly rss_peak_bytes: number;
  readonly rss_agent_bytes: number;
  /** Of all tenants' chains together, at the end. */
  readonly blocks: number;
  /** Agents whose copy goes to the tip of their tenant's chain, at the end. */
  readonly synced: number;
  /** Agents that enforce the newest version at the end, as the manager lists them. */
  readonly in_force: number;
  /** Seconds of processors while all enrolled and settled: the manager, and all agents together. */
  readonly manager_cpu_s: number;
  readonly agents_cpu_s: number;
  /** The same for the change of policy. */
  readonly enforce_manager_cpu_s: number;
  readonly enforce_agents_cpu_s: number;
  readonly cores: number;
  /** Load averages over a minute, before and after. */
  readonly load: number;
  readonly load_end: number;
};

export type FleetSeams = {
  readonly plan: FleetPlan;
  /** `abs`, as a command line without arguments. */
  readonly abs: readonly string[];
  /** Of the manager, and left there; undefined: one of the system's, removed at the end. */
  readonly dir: string | undefined;
  readonly progress: (line: string) => void;
  /** Asked at every wait: the fleet is to end. */
  readonly isOver: () => boolean;
};

export class Fleet {
  readonly #dir = mkdtempSync(join(tmpdir(), PREFIX));
  readonly #agentsDir = mkdtempSync(
    join(existsSync(MEMORY_DISK) ? MEMORY_DISK : this.#dir, PREFIX),
  );
  readonly #manager: FleetManager;
  readonly #agents: AgentProcesses;
  readonly #load = loadavg()[0] ?? 0;
  #toldMs = 0;

  /** @throws AbsError FLEET_FILES */
  constructor(private readonly seams: FleetSeams) {
    const processes = seams.plan.processes();
    this.#manager = new FleetManager(seams.dir ?? join(this.#dir, "manager"), seams.abs);
    this.#agents = new AgentProcesses([...seams.abs, "sim", "fleet-agents"], processes);
  }

  /** @throws AbsError what went wrong, INTERRUPTED */
  async run(): Promise<FleetReport> {
    const { plan, progress } = this.seams;
    const count = plan.seats.length;
    await this.#startManager();
    progress(`the manager runs; ${plan.tenants.length} tenants, ${count} invitations`);
    const orders = await this.#invite();
    const start = this.#manager.memory().now;
    progress("all agents enrol");
    const beganMs = performance.now();
    const cpuBefore = this.#cpu();
    this.#agents.start(orders, plan.tenants.length);
    await this.#until("enrolled", () => this.#agents.enrolled === count, this.#counts);
    const enrolS = secondsSince(beganMs);
    await this.#until("connected", () => this.#manager.connected === count, this.#counts);
    const connectS = secondsSince(beganMs);
    progress(`all are connected after ${connectS} s`);
    await this.#untilInForce();
    const settledS = secondsSince(beganMs);
    const settled = this.#manager.memory();
    const cpuSettled = this.#cpu();
    progress(`all report their newest version after ${settledS} s`);
    const enforceS = await this.#changePolicy();
    progress(`a change of policy was in force everywhere after ${enforceS} s`);
    const peak = this.#manager.memory().peak;
    const cpuEnforced = this.#cpu();
    const stormS = await this.#storm();
    progress(`after the manager's death all were back after ${stormS} s`);
    await this.#untilInForce();
    const { blocks, synced } = await this.#ledgers();
    return {
      ...{ agents: count, connected: this.#manager.connected, connect_s: connectS },
      ...{ rss_bytes: settled.now, enforce_s: enforceS, storm_s: stormS },
      ...{ tenants: plan.tenants.length, members: membersOf(plan) },
      ...{ enrolments_per_s: Math.round((10 * count) / enrolS) / 10 },
      ...{ retries: this.#agents.retries, settled_s: settledS },
      ...{ rss_start_bytes: start, rss_peak_bytes: peak },
      rss_agent_bytes: Math.round((settled.now - start) / count),
      ...{ blocks, synced, in_force: await this.#manager.inForce() },
      manager_cpu_s: rounded(cpuSettled.manager - cpuBefore.manager),
      agents_cpu_s: rounded(cpuSettled.agents - cpuBefore.agents),
      enforce_manager_cpu_s: rounded(cpuEnforced.manager - cpuSettled.manager),
      enforce_agents_cpu_s: rounded(cpuEnforced.agents - cpuSettled.agents),
      ...{ cores: availableParallelism(), load: this.#load, load_end: loadavg()[0] ?? 0 },
    };
  }

  /** Also half-begun: ends every process and removes the folders. */
  async end(): Promise<void> {
    await Promise.all([this.#agents.stop(), this.#manager.stop()]);
    rmSync(this.#dir, { recursive: true, force: true });
    rmSync(this.#agentsDir, { recursive: true, force: true });
  }

  async #startManager(): Promise<void> {
    this.#manager.start();
    await this.#until("the manager", () => this.#manager.isReady);
  }

  /** Tenants and tokens. */
  async #invite(): Promise<AgentOrder[]> {
    const { tenants, seats } = this.seams.plan;
    await each(tenants, 1, (name) => this.#manager.ask(["tenant", "add", name]));
    const orders: AgentOrder[] = [];
    await each(seats, ASKED_AT_ONCE, async (seat) => {
      const words = ["invite", "--tenant", seat.tenant, "--name", seat.name];
      const { token } = await this.#manager.ask<{ readonly token: string }>(words);
      const folder = join(this.#agentsDir, seat.tenant);
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      orders.push({ ...seat, token, dir: join(folder, seat.name) });
      this.#checkOver();
    });
    // Members first: they are whom the others ask.
    const rank = ({ source, number }: AgentOrder) => (source === undefined ? 0 : 1e9) + number;
    return orders.sort((left, right) => rank(left) - rank(right));
  }

  /** A new policy for every tenant; seconds until the manager lists it in force everywhere. */
  async #changePolicy(): Promise<number> {
    const { tenants, seats } = this.seams.plan;
    const beganMs = performance.now();
    await each(tenants, ASKED_AT_ONCE, (name) =>
      this.#manager.ask(["policy", "apply", "--tenant", name], CHANGED_POLICY),
    );
    type Row = { readonly name: string; readonly version: number };
    const rows = await this.#manager.ask<readonly Row[]>(["tenant", "list"]);
    const wanted = new Map(rows.map(({ name, version }) => [name, version]));
    const isDone = (): boolean =>
      seats.every(({ number, tenant }) => {
        return (this.#agents.versions.get(number) ?? 0) >= (wanted.get(tenant) ?? 0);
      });
    await this.#until("the policy", isDone);
    while ((await this.#manager.inForce()) < seats.length) await this.#pause();
    return secondsSince(beganMs);
  }

  async #storm(): Promise<number> {
    const count = this.seams.plan.seats.length;
    const beganMs = performance.now();
    await this.#manager.kill();
    await this.#startManager();
    await this.#until("back", () => this.#manager.connected === count, this.#counts);
    return secondsSince(beganMs);
  }

  async #untilInForce(): Promise<void> {
    const endMs = performance.now() + PATIENCE_MS;
    for (;;) {
      const count = await this.#manager.inForce();
      if (count === this.seams.plan.seats.length) return;
      this.#tellSome(`${count} report the newest version`);
      if (performance.now() > endMs) throw tooLong("the newest version at every agent");
      await Bun.sleep(500);
      this.#checkOver();
    }
  }

  /** Waits until every copy of every chain is as high as its master's. */
  async #ledgers(): Promise<{ readonly blocks: number; readonly synced: number }> {
    type Row = { readonly name: string; readonly height: number };
    const endMs = performance.now() + PATIENCE_MS;
    for (;;) {
      const rows = await this.#manager.ask<readonly Row[]>(["tenant", "list"]);
      const tips = new Map(rows.map(({ name, height }) => [name, height]));
      this.#agents.askHeights();
      await this.#until("heights", () => this.#agents.heights !== undefined);
      const heights = this.#agents.heights ?? [];
      const synced = heights.filter(({ tenant, height }) => height >= (tips.get(tenant) ?? 0));
      const blocks = rows.reduce((sum, { height }) => sum + height, 0);
      if (synced.length === heights.length) return { blocks, synced: synced.length };
      this.#tellSome(`${synced.length} agents are at the tip of their chain`);
      if (performance.now() > endMs) throw tooLong("the chains at every agent");
      await Bun.sleep(500);
    }
  }

  #cpu(): { readonly manager: number; readonly agents: number } {
    return { manager: this.#manager.cpuS, agents: this.#agents.cpuS };
  }

  readonly #counts = (): string =>
    `${this.#agents.enrolled} enrolled, ${this.#manager.connected} connected`;

  async #until(what: string, isDone: () => boolean, progress?: () => string): Promise<void> {
    const endMs = performance.now() + PATIENCE_MS;
    while (!isDone()) {
      await this.#pause();
      if (progress !== undefined) this.#tellSome(progress());
      if (performance.now() > endMs) throw tooLong(what);
    }
  }

  async #pause(): Promise<void> {
    this.#checkOver();
    await Bun.sleep(POLL_MS);
  }

  #checkOver(): void {
    if (this.seams.isOver()) throw new AbsError("INTERRUPTED", "The fleet was interrupted.");
    const fault = this.#agents.fault ?? this.#manager.fault;
    if (fault !== undefined) throw fault;
  }

  #tellSome(line: string): void {
    if (performance.now() - this.#toldMs < TOLD_MS) return;
    this.#toldMs = performance.now();
    this.seams.progress(line);
  }
}

function membersOf({ seats }: FleetPlan): number {
  return seats.filter(({ source }) => source === undefined).length;
}

function secondsSince(beganMs: number): number {
  return Math.round(performance.now() - beganMs) / 1000;
}

function rounded(seconds: number): number {
  return Math.round(100 * seconds) / 100;
}

function tooLong(what: string): AbsError {
  const text = `Waited ${PATIENCE_MS / 1000} s in vain for ${what}.`;
  return new AbsError("FLEET_TIMEOUT", text, "Try fewer agents, or a machine with less to do.");
}

/** Some at a time. */
async function each<T>(
  items: readonly T[],
  atOnce: number,
  act: (item: T) => Promise<unknown>,
): Promise<void> {
  const waiting = [...items];
  const work = async (): Promise<void> => {
    for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) await act(item);
  };
  await Promise.all(Array.from({ length: atOnce }, work));
}
