/**
 * Starts and stops `abs agent run` inside a VM and waits until it forwards. The configuration goes
 * into a file that only root reads; events are read from the file the agent appends to.
 */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { AbsError } from "../errors.ts";
import { type Background, runCommand, startBackground, waitFor } from "./command.ts";
import { type AgentEvent, EventReader } from "./event-reader.ts";
import { namespaceFile } from "./namespace.ts";
import { VM_INTERFACE } from "./topology.ts";

const READY_TIMEOUT_MS = 20_000;
const STOP_GRACE_MS = 5_000;
export const INSIDE_INTERFACE = "abs0";

export interface AgentLaunch {
  /** The VM, for messages. */
  readonly vm: string;
  readonly namespace: string;
  /** The program and leading arguments that make `abs`. */
  readonly abs: readonly string[];
  /** Holds the configuration, events, log and the agent's own state. */
  readonly directory: string;
  /** The static provisioning; written as JSON. */
  readonly provisioning: unknown;
  readonly inside?: "veth" | "tap";
  readonly onStop?: "closed" | "open";
  /** More arguments for `abs agent run`. */
  readonly more?: readonly string[];
}

/** Numbers of `abs agent status --output json` that the lab looks at. */
export interface AgentStatus {
  readonly [field: string]: unknown;
}

/** What `abs agent reload --output json` answered, and its exit code. */
export interface AgentReload {
  readonly code: number;
  readonly state: "enforced" | "unchanged" | "refused";
  readonly error?: { readonly code: string; readonly message: string };
  readonly enforced: { readonly generation: number };
}

export class LabAgent {
  readonly launch: AgentLaunch;
  readonly events: EventReader;
  #process: Background;
  #startedAt: number;

  private constructor(launch: AgentLaunch, process: Background, startedAt: number) {
    this.launch = launch;
    this.#process = process;
    this.#startedAt = startedAt;
    this.events = new EventReader(eventsFile(launch));
  }

  /** Writes the configuration, starts the agent and returns at once; see ready(). */
  static start(launch: AgentLaunch): LabAgent {
    mkdirSync(launch.directory, { recursive: true, mode: 0o700 });
    const text = `${JSON.stringify(launch.provisioning, null, 2)}\n`;
    writeFileSync(configFile(launch), text, { mode: 0o600 });
    return new LabAgent(launch, spawnAgent(launch), 0);
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** What the agent printed outside its event file. */
  output(): string {
    return this.#process.output();
  }

  /** Waits for `agent-ready`; an agent that ends before is an error with its last words. */
  async ready(timeoutMs = READY_TIMEOUT_MS): Promise<AgentEvent> {
    let ended: number | undefined;
    void this.#process.exited.then((code) => {
      ended = code;
    });
    const vm = this.launch.vm;
    return await waitFor(
      `the agent of ${vm} to be ready`,
      () => {
        const isReady = (event: AgentEvent) => event.event === "agent-ready";
        const found = this.events.since(this.#startedAt).find(isReady);
        if (found === undefined && ended !== undefined) throw this.#startFailure(ended);
        return found;
      },
      timeoutMs,
      10,
    );
  }

  #startFailure(code: number): AbsError {
    const words = this.output().trim().split("\n").slice(-6).join("\n");
    const message = `The agent of ${this.launch.vm} ended with code ${code} before it was ready:`;
    const remedy = `Its log is ${logFile(this.launch)}.`;
    return new AbsError("LAB_AGENT", `${message}\n${words}`, remedy);
  }

  /** Ends the agent in order. */
  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<number> {
    return await this.#process.stop(signal, STOP_GRACE_MS);
  }

  /** Ends the agent without warning. */
  async kill(): Promise<void> {
    await this.#process.stop("SIGKILL");
  }

  signal(signal: NodeJS.Signals): void {
    process.kill(this.pid, signal);
  }

  /** Starts the agent again, with the same configuration unless another is given. */
  restart(provisioning?: unknown, more?: readonly string[]): void {
    const next = provisioning ?? this.launch.provisioning;
    writeFileSync(configFile(this.launch), `${JSON.stringify(next, null, 2)}\n`, { mode: 0o600 });
    this.#startedAt = this.events.all().length;
    const launch = more === undefined ? this.launch : { ...this.launch, more };
    this.#process = spawnAgent(launch);
  }

  /** Gives the running agent another configuration, and asks it to read that. */
  async reload(provisioning: unknown): Promise<AgentReload> {
    const text = typeof provisioning === "string" ? provisioning : JSON.stringify(provisioning);
    writeFileSync(configFile(this.launch), text, { mode: 0o600 });
    const state = stateDirectory(this.launch.directory);
    const command = ["agent", "reload", "--state", state, "--output", "json"];
    const result = await runCommand([...this.launch.abs, ...command], { timeoutMs: 120_000 });
    if (result.stdout === "") throw new AbsError("LAB_AGENT", `Reloading failed: ${result.stderr}`);
    return { ...JSON.parse(result.stdout), code: result.code };
  }

  async status(): Promise<AgentStatus> {
    return await agentStatus(this.launch.abs, this.launch.directory);
  }

  /** Forgets what an earlier life of the agent left in its state directory. */
  forgetState(): void {
    rmSync(stateDirectory(this.launch.directory), { recursive: true, force: true });
  }
}

/** Asks a running agent by the Unix socket in its state directory. */
export async function agentStatus(abs: readonly string[], directory: string): Promise<AgentStatus> {
  const state = stateDirectory(directory);
  const command = [...abs, "agent", "status", "--state", state, "--output", "json"];
  const result = await runCommand(command, { timeoutMs: 5_000 });
  if (result.code === 0) return JSON.parse(result.stdout);
  const words = `${result.stderr}${result.stdout}`.trim();
  throw new AbsError("LAB_AGENT", `\`${result.command}\` failed: ${words}`);
}

export function stateDirectory(directory: string): string {
  return `${directory}/state`;
}

export function eventsFile(launch: Pick<AgentLaunch, "directory">): string {
  return `${launch.directory}/events.ndjson`;
}

function configFile(launch: AgentLaunch): string {
  return `${launch.directory}/provisioning.json`;
}

function logFile(launch: AgentLaunch): string {
  return `${launch.directory}/agent.log`;
}

/**
 * nsenter, not `ip netns exec`: the latter gives the command a mount namespace of its own, in which
 * what an agent mounts to keep its private network namespace alive would die with it.
 */
function spawnAgent(launch: AgentLaunch): Background {
  const arguments_ = [
    "--config",
    configFile(launch),
    "--inside",
    launch.inside === "tap" ? `tap:${INSIDE_INTERFACE}` : `veth:${INSIDE_INTERFACE}`,
    "--outside",
    `af_packet:${VM_INTERFACE}`,
    "--state",
    stateDirectory(launch.directory),
    "--events",
    eventsFile(launch),
    ...(launch.onStop === undefined ? [] : ["--on-stop", launch.onStop]),
    ...(launch.more ?? []),
  ];
  const enter = ["nsenter", `--net=${namespaceFile(launch.namespace)}`, "--"];
  const command = [...enter, ...launch.abs, "agent", "run", ...arguments_];
  return startBackground(command, { logFile: logFile(launch), directory: launch.directory });
}
