/**
 * `abs sim fleet`: one manager and thousands of agents without data plane, measured.
 * docs/fleet.md. The command starts itself again in a network of its own, and
 * there it starts the manager and the processes of agents. Progress goes to standard error.
 */
import { existsSync } from "node:fs";
import { defineCommand } from "citty";
import { ownCommand } from "../agent/own-command.ts";
import { runAgentHost } from "../fleet/agent-host.ts";
import { Fleet, type FleetReport } from "../fleet/fleet.ts";
import { FLEET_NETWORK, FleetPlan } from "../fleet/fleet-plan.ts";
import { openNetwork, runInPrivateNetwork } from "../fleet/private-network.ts";
import { notes } from "./notes.ts";
import {
  isJsonOutput,
  optionError,
  outputArgument,
  printResult,
  wholeNumberOf,
} from "./options.ts";

const AGENTS_MAX = 10_000;

const fleetArguments = {
  agents: { type: "string", default: "1000", description: "how many, in all" },
  "tenant-agents": { type: "string", default: "50", description: "agents of each tenant" },
  "tenant-members": {
    type: "string",
    default: "4",
    description: "of each tenant, agents that run its ledger; the others hold headers",
  },
  dir: { type: "string", description: "a new folder for the manager, which stays afterwards" },
  output: outputArgument,
} as const;

type FleetWords = Record<"agents" | "tenant-agents" | "tenant-members" | "output", string> & {
  readonly dir?: string | undefined;
};

function planOf(args: FleetWords): FleetPlan {
  const number = (name: "agents" | "tenant-agents" | "tenant-members", low: number) =>
    wholeNumberOf(`--${name}`, args[name], low, AGENTS_MAX);
  return new FleetPlan({
    agents: number("agents", 1),
    tenantAgents: number("tenant-agents", 1),
    tenantMembers: number("tenant-members", 1),
  });
}

function textOf(report: FleetReport): string {
  return Object.entries(report)
    .map(([name, value]) => `${name.padEnd(18)}${value}`)
    .join("\n");
}

export const simFleetCommand = defineCommand({
  meta: {
    name: "fleet",
    description:
      "thousands of agents against one manager: enrolments a second, memory, time until a " +
      "change is enforced, and until all are back after the manager's death",
  },
  args: fleetArguments,
  async run({ args }) {
    // Judged here, before anything is started.
    isJsonOutput(args.output);
    planOf(args).processes();
    if (args.dir !== undefined && existsSync(args.dir)) {
      throw optionError(`--dir ${args.dir} is there already.`, "Name a folder that is not there.");
    }
    const words = (Object.keys(fleetArguments) as (keyof FleetWords)[]).flatMap((name) => {
      const value = args[name];
      return value === undefined ? [] : [`--${name}`, value];
    });
    const code = await runInPrivateNetwork([...ownCommand(), "sim", "fleet-inside", ...words]);
    process.exit(code);
  },
});

/** The same, in its own network. */
export const simFleetInsideCommand = defineCommand({
  meta: { name: "fleet-inside", hidden: true },
  args: fleetArguments,
  async run({ args }) {
    openNetwork(FLEET_NETWORK);
    let isOver = false;
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
      process.on(signal, () => {
        isOver = true;
      });
    }
    const fleet = new Fleet({
      ...{ plan: planOf(args), abs: ownCommand(), dir: args.dir, isOver: () => isOver },
      progress: (line) => notes.info(line),
    });
    let report: FleetReport;
    try {
      report = await fleet.run();
    } finally {
      await fleet.end();
    }
    printResult(isJsonOutput(args.output), report, textOf(report));
  },
});

/** Some of its agents, told what to do on standard input. */
export const simFleetAgentsCommand = defineCommand({
  meta: { name: "fleet-agents", hidden: true },
  run: () => runAgentHost(),
});
