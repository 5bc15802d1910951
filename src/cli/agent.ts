/**
 * `abs agent run|status|reload|restore|guard`: the agent of one VM. design/agent.md. `run` stays in
 * the foreground and prints its events; SIGTERM and SIGINT end it cleanly, as `onStop` says. One
 * that comes while it starts undoes the start, and the exit code is 128 + the signal's number.
 * SIGHUP makes it read its provisioning again (agent-reload.ts).
 */
import { mkdirSync } from "node:fs";
import { defineCommand } from "citty";
import { Agent, type AgentOptions, prepareStart } from "../agent/agent.ts";
import { agentMetrics } from "../agent/agent-metrics.ts";
import { ownCommand } from "../agent/own-command.ts";
import { parseInside, parseOutside } from "../agent/port-spec.ts";
import { servePreparation } from "../agent/preparation.ts";
import type { Provisioning } from "../agent/provisioning.ts";
import { serveCompile } from "../agent/signature-database.ts";
import { readStatus } from "../agent/status-server.ts";
import { AbsError } from "../errors.ts";
import { keepMemoryPrivate } from "../native/private-memory.ts";
import { ServiceNotify } from "../native/service-notify.ts";
import { EventLog } from "../observe/event-log.ts";
import { runGuard } from "../takeover/guard.ts";
import { recoverLeftover } from "../takeover/recovery.ts";
import { configArguments, configOf } from "./agent-config.ts";
import { enrollCommand, syncCommand } from "./agent-enroll.ts";
import { agentReload } from "./agent-reload.ts";
import { metricsArgument, openMetrics, openSinks, sinksArgument } from "./event-outputs.ts";
import { notes } from "./notes.ts";
import { isJsonOutput, outputArgument } from "./options.ts";

const STATE_DEFAULT = "/run/abs";
const FLOWS_DEFAULT = "1000000";
const PACKETS_DEFAULT = "16384";
const FLOWS_MAX = 1_000_000;
const PACKETS_MAX = 1_000_000;

const stateArgument = {
  type: "string",
  default: STATE_DEFAULT,
  description: "folder for what the agent must remember; one for each agent",
} as const;

function wholeNumber(name: string, text: string, low: number, high: number): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= low && value <= high) return value;
  throw new AbsError(
    "OPTION_INVALID",
    `--${name} ${text} is not a whole number from ${low} to ${high}.`,
    `Leave --${name} out for the default.`,
  );
}

function choice<T extends string>(name: string, text: string, choices: readonly T[]): T {
  const found = choices.find((word) => word === text);
  if (found !== undefined) return found;
  throw new AbsError(
    "OPTION_INVALID",
    `--${name} ${text} is not known.`,
    `Use ${choices.join(" or ")}.`,
  );
}

/** By flag, else the file, else the stage: `enforce` fails closed, learning stages fail open. */
function onStopOf(flag: string | undefined, provisioning: Provisioning): "closed" | "open" {
  if (flag !== undefined) return choice("on-stop", flag, ["closed", "open"] as const);
  const { node, policy } = provisioning;
  if (node.onStop !== undefined) return node.onStop;
  return (node.stage ?? policy.defaults.stage) === "enforce" ? "closed" : "open";
}

const run = defineCommand({
  meta: {
    name: "run",
    description:
      "take over an interface and let in only what proves its tenant and application. " +
      "Events go to standard output, one JSON object a line.",
  },
  args: {
    ...configArguments,
    inside: {
      type: "string",
      required: true,
      description: "port towards the VM's applications: veth:NAME (fast) or tap:NAME",
    },
    outside: {
      type: "string",
      required: true,
      description: "port towards the virtual switch: af_packet:IFACE or pci:ADDRESS",
    },
    state: stateArgument,
    events: { type: "string", description: "append events to this file instead" },
    sinks: sinksArgument,
    metrics: metricsArgument,
    "on-stop": {
      type: "string",
      description:
        "closed: the VM stays cut off when the agent ends; open: the interface comes back",
    },
    poll: { type: "string", default: "adaptive", description: "adaptive, or busy: burn a core" },
    flows: { type: "string", default: FLOWS_DEFAULT, description: "flows remembered at one time" },
    packets: { type: "string", default: PACKETS_DEFAULT, description: "packets of the pool" },
    "allow-keylog": {
      type: "boolean",
      description: "let `abs capture --keylog` write the keys of sessions: for tests and debugging",
    },
    "wall-clock-offset": {
      type: "string",
      default: "0",
      description: "seconds added to the wall clock; for tests of wrong clocks",
    },
  },
  async run({ args }) {
    requireRoot();
    keepMemoryPrivate();
    const inside = parseInside(args.inside);
    const outside = parseOutside(args.outside);
    const config = await configOf(args, outside);
    const stopping = new StopSignals();
    mkdirSync(args.state, { recursive: true, mode: 0o700 });
    const prepared = await stopping.orExit(prepareStart(config, args.state, stopping.signal));
    const { provisioning } = prepared;
    const events = new EventLog(args.events, { role: "agent", node: provisioning.node.id });
    const sinks = openSinks(args.sinks, events);
    const metrics = openMetrics(args.metrics, events);
    const busy = choice("poll", args.poll, ["adaptive", "busy"] as const) === "busy";
    const offset = wholeNumber("wall-clock-offset", args["wall-clock-offset"], -(2 ** 31), 2 ** 31);
    const options: AgentOptions = {
      prepared,
      provisioning,
      inside,
      outside,
      stateDir: args.state,
      onStop: onStopOf(args["on-stop"], provisioning),
      busy,
      events,
      sinks,
      guardCommand: [...ownCommand(), "agent", "guard"],
      flows: wholeNumber("flows", args.flows, 1024, FLOWS_MAX),
      packets: wholeNumber("packets", args.packets, 1024, PACKETS_MAX),
      wallOffsetMs: offset * 1000,
      allowsKeyLog: args["allow-keylog"] === true,
      signal: stopping.signal,
    };
    try {
      const agent = await startOrStop(options, stopping);
      stopping.signal.addEventListener("abort", () => void agent.stop());
      stopping.onHangup(() => void agent.updates.reload().catch(() => undefined)); // it is an event
      const notify = new ServiceNotify();
      notify.ready("packets are forwarded", () => agent.worker.alive());
      metrics?.serve({
        families: () => agentMetrics(agent),
        ready: () => agent.worker.alive(),
      });
      stopping.signal.addEventListener("abort", () => notify.stopping());
      await agent.run();
    } finally {
      await metrics?.close();
      await sinks?.close();
      events.close();
    }
    process.exit(0);
  },
});

/** SIGTERM and SIGINT as one abort signal; SIGHUP, which asks for a reload. */
class StopSignals {
  /** 128 + the number of the first signal that came; 0 before. */
  exitCode = 0;
  readonly #abort = new AbortController();
  #reload: (() => void) | undefined;
  #isReloadDue = false;

  constructor() {
    process.on("SIGHUP", () => {
      if (this.#reload === undefined) this.#isReloadDue = true;
      else this.#reload();
    });
    for (const [name, number] of Object.entries({ SIGINT: 2, SIGTERM: 15 })) {
      process.on(name, () => {
        this.exitCode ||= 128 + number;
        this.#abort.abort();
      });
    }
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** What SIGHUP does from now on; at once, where one came before. */
  onHangup(reload: () => void): void {
    this.#reload = reload;
    if (this.#isReloadDue) reload();
  }

  /** What `work` gives; ends the process when it failed because a signal came. */
  async orExit<T>(work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (error) {
      if (this.exitCode === 0) throw error;
      return process.exit(this.exitCode);
    }
  }
}

/** The running agent; ends the process when a signal came while it started. */
async function startOrStop(options: AgentOptions, stopping: StopSignals): Promise<Agent> {
  try {
    return await Agent.start(options);
  } catch (error) {
    if (stopping.exitCode === 0) throw error;
    await options.sinks?.close();
    options.events.close();
    return process.exit(stopping.exitCode);
  }
}

function requireRoot(): void {
  if (process.getuid?.() === 0) return;
  throw new AbsError(
    "NOT_ROOT",
    "Taking over an interface needs root.",
    "Run it with sudo, or as a systemd service of root.",
  );
}

const status = defineCommand({
  meta: {
    name: "status",
    description: "what a running agent has counted: packets, drops, sessions",
  },
  args: {
    state: stateArgument,
    output: outputArgument,
  },
  async run({ args }) {
    const isJson = isJsonOutput(args.output);
    const found = await readStatus(args.state);
    process.stdout.write(isJson ? `${JSON.stringify(found)}\n` : `${statusText(found)}\n`);
  },
});

/** Objects as indented lines, zeros left out: what an administrator scans for. */
function statusText(value: unknown, indent = ""): string {
  if (typeof value !== "object" || value === null) return `${indent}${String(value)}`;
  const lines = Object.entries(value).flatMap(([name, field]) => {
    if (field === 0) return [];
    if (typeof field !== "object" || field === null) return [`${indent}${name}: ${String(field)}`];
    const inner = statusText(field, `${indent}  `);
    return inner === "" ? [] : [`${indent}${name}:`, inner];
  });
  return lines.join("\n");
}

const restore = defineCommand({
  meta: {
    name: "restore",
    description: "give the interface back that a stopped or killed agent keeps cut off",
  },
  args: { state: stateArgument },
  run({ args }) {
    requireRoot();
    const isRestored = recoverLeftover(args.state, (sentence) => notes.warn(sentence));
    if (isRestored) notes.success("The interface is the VM's again, as it was before the agent.");
    else notes.info(`Nothing to give back: ${args.state} holds no interface.`);
  },
});

/** Started by the agent: see agent/preparation.ts. */
const readProvisioning = defineCommand({
  meta: { name: "read-provisioning", hidden: true },
  run: servePreparation,
});

/** Started by the agent: see agent/signature-database.ts. */
const compileSignatures = defineCommand({
  meta: { name: "compile-signatures", hidden: true },
  args: { cache: { type: "string", required: true, description: "folder of the cache" } },
  run: ({ args }) => serveCompile(args.cache),
});

const guard = defineCommand({
  meta: {
    name: "guard",
    description: "the agent's own watchdog: gives the interface back when the agent is killed",
    hidden: true,
  },
  args: { state: stateArgument },
  run({ args }) {
    process.exit(runGuard(args.state));
  },
});

export const agentCommand = defineCommand({
  meta: { name: "agent", description: "the agent in a VM" },
  subCommands: {
    run,
    enroll: enrollCommand,
    sync: syncCommand,
    status,
    reload: agentReload,
    restore,
    guard,
    "read-provisioning": readProvisioning,
    "compile-signatures": compileSignatures,
  },
});
