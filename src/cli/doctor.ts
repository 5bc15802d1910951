/**
 * `abs doctor`: whether this machine can run an agent, and what to do where it cannot. Exit 1 when
 * something would keep the agent from running; warnings alone are exit 0.
 */
import { defineCommand } from "citty";
import { checkMachine, type MachineCheck } from "../agent/machine-checks.ts";
import { parseOutside } from "../agent/port-spec.ts";
import { loadProvisioning } from "../agent/provisioning.ts";
import { AbsError } from "../errors.ts";
import { isJsonOutput, outputArgument, printResult } from "./options.ts";

const MARKS = { ok: "ok     ", warning: "WARNING", fault: "FAULT  " } as const;

export const doctorCommand = defineCommand({
  meta: {
    name: "doctor",
    description: "look whether this machine can run an agent; changes nothing",
  },
  args: {
    outside: { type: "string", description: "also the port to be taken over: af_packet:IFACE" },
    config: { type: "string", description: "also this provisioning file" },
    state: { type: "string", default: "/run/abs", description: "the agent's folder" },
    output: outputArgument,
  },
  run({ args }) {
    const isJson = isJsonOutput(args.output);
    const outside = args.outside === undefined ? undefined : parseOutside(args.outside);
    const outsideInterface = outside?.kind === "af_packet" ? outside.name : undefined;
    const checks = checkMachine({ stateDir: args.state, outsideInterface });
    if (args.config !== undefined) checks.push(checkConfig(args.config));
    const healthy = checks.every(({ state }) => state !== "fault");
    printResult(isJson, { healthy, checks }, checks.map(lineOf).join("\n"));
    if (!healthy) process.exitCode = 1;
  },
});

function checkConfig(path: string): MachineCheck {
  const name = "provisioning file";
  try {
    const { peers, contracts } = loadProvisioning(path);
    const found = `${peers.length} peers, ${contracts.length} contracts`;
    return { name, state: "ok", found, remedy: "" };
  } catch (error) {
    if (!(error instanceof AbsError)) throw error;
    return { name, state: "fault", found: error.message, remedy: error.remedy };
  }
}

function lineOf({ name, state, found, remedy }: MachineCheck): string {
  const line = `${MARKS[state]}  ${name}: ${found}`;
  return remedy === "" ? line : `${line}\n         → ${remedy}`;
}
