/**
 * `abs status`: what of `abs` is on this machine, and whether it runs: agent, ledger node, manager.
 * Each is asked by its socket. Exit 3 when one that is set up does not run, or nothing is set up.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { defineCommand } from "citty";
import { readStatus, SOCKET_NAME } from "../agent/status-server.ts";
import { agentFile } from "../channel/agent-folder.ts";
import { AbsError, EXIT, exitCodeOf } from "../errors.ts";
import { askApi } from "../manager/api/client.ts";
import { inFolder } from "../manager/manager-folder.ts";
import { askStatus } from "../node/control-server.ts";
import { fileIn } from "../node/node-folder.ts";
import { managerDirArgument } from "./manager-remote.ts";
import { isJsonOutput, outputArgument, printResult } from "./options.ts";

type Fields = Readonly<Record<string, unknown>>;

type Part = {
  readonly name: "agent" | "ledger" | "manager";
  readonly state: "running" | "stopped" | "absent";
  readonly fields: Fields;
  /** Why it does not answer. */
  readonly reason?: string;
};

/** As far as it is shown here, of what `abs agent status` has. */
type AgentStatus = {
  readonly node: string;
  readonly mode: string;
  readonly uptimeSeconds: number;
  readonly residentBytes: number;
  readonly drops: Readonly<Record<string, number>>;
  readonly sessions: readonly { readonly peer: string }[];
  readonly manager?: { readonly state: string; readonly version: number };
};

export const statusCommand = defineCommand({
  meta: {
    name: "status",
    description: "what of abs is on this machine, and how it is: agent, ledger node, manager",
  },
  args: {
    state: { type: "string", default: "/run/abs", description: "state folder of the agent" },
    "agent-dir": {
      type: "string",
      default: "/var/lib/abs/agent",
      description: "folder of an enrolled agent, or of a ledger node",
    },
    dir: managerDirArgument,
    output: outputArgument,
  },
  async run({ args }) {
    const isJson = isJsonOutput(args.output);
    const parts = await Promise.all([
      agentPart(args.state, args["agent-dir"]),
      ledgerPart(args["agent-dir"]),
      managerPart(args.dir),
    ]);
    const value = parts.map(({ name, state, fields, reason }) => {
      return [name, { state, ...(reason === undefined ? {} : { reason }), ...fields }];
    });
    printResult(isJson, Object.fromEntries(value), parts.map(textOf).join("\n"));
    const isAnyUp = parts.some(({ state }) => state === "running");
    const isOneDown = parts.some(({ state }) => state === "stopped");
    if (isOneDown || !isAnyUp) process.exitCode = EXIT.unreachable;
  },
});

/** What it is when it answers, and when it does not; other errors are the caller's. */
async function partOf(
  name: Part["name"],
  isSetUp: boolean,
  ask: () => Promise<Fields>,
): Promise<Part> {
  try {
    return { name, state: "running", fields: await ask() };
  } catch (thrown) {
    if (!(thrown instanceof AbsError) || exitCodeOf(thrown) !== EXIT.unreachable) throw thrown;
    if (!isSetUp) return { name, state: "absent", fields: {} };
    return { name, state: "stopped", fields: {}, reason: thrown.message };
  }
}

function agentPart(stateDir: string, dir: string): Promise<Part> {
  const isSetUp =
    existsSync(join(stateDir, SOCKET_NAME)) || existsSync(agentFile(dir, "provisioning"));
  return partOf("agent", isSetUp, async () => {
    const status = (await readStatus(stateDir)) as AgentStatus;
    const { drops, sessions, manager, node, mode } = status;
    const dropped = Object.values(drops).reduce((sum, count) => sum + count, 0);
    return {
      ...{ node, mode, uptime_seconds: status.uptimeSeconds },
      ...{ resident_bytes: status.residentBytes, sessions: sessions.length },
      ...{ peers: new Set(sessions.map(({ peer }) => peer)).size, dropped_packets: dropped },
      ...(manager === undefined ? {} : { manager: manager.state, version: manager.version }),
    };
  });
}

function ledgerPart(dir: string): Promise<Part> {
  return partOf("ledger", existsSync(fileIn(dir, "genesis")), async () => {
    const { peers, ...status } = await askStatus(fileIn(dir, "control"));
    const list = Array.isArray(peers) ? (peers as readonly Fields[]) : [];
    return { ...status, peers: list.length };
  });
}

function managerPart(dir: string): Promise<Part> {
  return partOf("manager", existsSync(inFolder(dir, "database")), async () => {
    const words = ["status", "--output", "json"];
    const nothing = async () => new Uint8Array();
    const said = await askApi({ socket: inFolder(dir, "socket") }, words, nothing);
    if (said.code !== 0) {
      const remedy = "Start it with `abs manager serve`.";
      throw new AbsError("MANAGER_NOT_RUNNING", said.complaint.split("\n", 1)[0] ?? "", remedy);
    }
    return JSON.parse(said.output) as Fields;
  });
}

function textOf({ name, state, fields, reason }: Part): string {
  const rows = Object.entries(fields).map(([key, value]) => `  ${key.padEnd(18)}${shown(value)}`);
  const why = reason === undefined ? [] : [`  ${reason}`];
  return [`${name}: ${state}`, ...why, ...rows].join("\n");
}

function shown(value: unknown): string {
  return typeof value === "object" && value !== null ? JSON.stringify(value) : String(value ?? "-");
}
