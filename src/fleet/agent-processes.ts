/** The processes of agents as the fleet sees them: orders in, what became of each agent out. */
import { eachLine } from "../bytes.ts";
import { AbsError } from "../errors.ts";
import type { AgentHeight, AgentOrder, FleetOrder, FleetWord } from "./fleet-words.ts";
import { cpuSecondsOf } from "./process-times.ts";

const STOP_MS = 10_000;

type Child = Bun.Subprocess<"pipe", "pipe", "inherit">;

export class AgentProcesses {
  /** Agents that are enrolled. */
  enrolled = 0;
  /** Log-ins that were repeated, as the manager had too many strangers. */
  retries = 0;
  readonly failures: string[] = [];
  /** By agent: the version in force, as it told the manager. */
  readonly versions = new Map<number, number>();
  readonly #children: readonly Child[];
  #heights: AgentHeight[] = [];
  #answers = 0;
  #isStopping = false;

  constructor(command: readonly string[], count: number) {
    this.#children = Array.from({ length: count }, () => {
      const child = Bun.spawn([...command], {
        ...{ stdin: "pipe", stdout: "pipe", stderr: "inherit", detached: true },
      });
      void eachLine(child.stdout, (line) => this.#hear(JSON.parse(line) as FleetWord));
      return child;
    });
  }

  get fault(): AbsError | undefined {
    const [failure] = this.failures;
    if (failure !== undefined) return new AbsError("FLEET_AGENT", failure);
    const dead = this.#children.find(({ exitCode }) => exitCode !== null);
    if (dead === undefined || this.#isStopping) return undefined;
    return new AbsError("FLEET_AGENTS", `A process of agents ended with code ${dead.exitCode}.`);
  }

  /** Of all the processes so far. */
  get cpuS(): number {
    return this.#children.reduce((sum, { pid }) => sum + cpuSecondsOf(pid), 0);
  }

  /** Shares them out: a tenant's agents together while there are tenants enough. */
  start(orders: readonly AgentOrder[], tenants: number): void {
    const count = this.#children.length;
    const shareOf = ({ number, tenant }: AgentOrder): number =>
      tenants < count ? number % count : Number(tenant.slice(1)) % count;
    for (const [i, child] of this.#children.entries()) {
      this.#order(child, { do: "start", agents: orders.filter((one) => shareOf(one) === i) });
    }
  }

  /** Asks for all; the answers come one by one. */
  askHeights(): void {
    this.#heights = [];
    this.#answers = 0;
    for (const child of this.#children) this.#order(child, { do: "heights" });
  }

  /** Undefined until all have answered. */
  get heights(): readonly AgentHeight[] | undefined {
    return this.#answers === this.#children.length ? this.#heights : undefined;
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    for (const child of this.#children) {
      if (child.exitCode === null) this.#order(child, { do: "stop" });
    }
    const timer = setTimeout(() => this.#kill(), STOP_MS);
    await Promise.all(this.#children.map((child) => child.exited));
    clearTimeout(timer);
  }

  #kill(): void {
    for (const child of this.#children) child.kill("SIGKILL");
  }

  #order(child: Child, order: FleetOrder): void {
    child.stdin.write(`${JSON.stringify(order)}\n`);
    child.stdin.flush();
  }

  #hear(word: FleetWord): void {
    switch (word.said) {
      case "enrolled":
        this.enrolled++;
        this.retries += word.retries;
        return;
      case "applied":
        this.versions.set(word.number, word.version);
        return;
      case "failed":
        this.failures.push(`agent ${word.number}: ${word.reason}`);
        return;
      case "heights":
        this.#heights.push(...word.heights);
        this.#answers++;
    }
  }
}
