/**
 * Starts and stops `abs agent run` inside a VM and waits until it forwards. The configuration goes
 * into a file that only root reads; events are read from the file the agent appends to.
 */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { AbsError } from "../errors.ts";
import { AgentProcess, type AgentStatus } from "./agent-process.ts";
import { type Background, runCommand, startBackground } from "./command.ts";
import { namespaceFile } from "./namespace.ts";
import { VM_INTERFACE } from "./topology.ts";

export const INSIDE_INTERFACE = "abs0";

export interface AgentLaunch {
  /** The VM, for messages. */
  readonly vm: string;
  readonly namespace: string;
  /** The program and leading arguments that make `abs`. */
  readonly abs: readonly string[];
  /** Holds the configuration, events, log and the agent's own state. */
  readonly directory: string;
  /** The static provisioning, written as JSON. None: the file is there, from enrolment. */
  readonly provisioning?: unknown;
  readonly inside?: "veth" | "tap";
  readonly onStop?: "closed" | "open";
  /** More arguments for `abs agent run`. */
  readonly more?: readonly string[];
}

/** What `abs agent reload --output json` answered, and its exit code. */
export interface AgentReload {
  readonly code: number;
  readonly state: "enforced" | "unchanged" | "refused";
  readonly error?: { readonly code: string; readonly message: string };
  readonly enforced: { readonly generation: number };
}

export class LabAgent extends AgentProcess {
  private constructor(readonly launch: AgentLaunch) {
    super({
      vm: launch.vm,
      eventsFile: eventsFile(launch),
      logFile: logFile(launch),
      spawn: () => spawnAgent(launch),
      askStatus: () => agentStatus(launch.abs, launch.directory),
    });
  }

  /** Writes the configuration, starts the agent and returns at once; see ready(). */
  static start(launch: AgentLaunch): LabAgent {
    mkdirSync(launch.directory, { recursive: true, mode: 0o700 });
    writeConfig(launch, launch.provisioning);
    return new LabAgent(launch);
  }

  /** Starts the agent again, with the same configuration unless another is given. */
  restart(provisioning?: unknown, more?: readonly string[]): void {
    writeConfig(this.launch, provisioning ?? this.launch.provisioning);
    const launch = more === undefined ? this.launch : { ...this.launch, more };
    this.startAgain(() => spawnAgent(launch));
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

function writeConfig(launch: AgentLaunch, provisioning: unknown): void {
  if (provisioning === undefined) return;
  const text = `${JSON.stringify(provisioning, null, 2)}\n`;
  writeFileSync(configFile(launch), text, { mode: 0o600 });
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
