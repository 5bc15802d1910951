/** An agent that is started by a command at its machine's prompt, with the usual folders. */
import { AgentProcess, type AgentStatus } from "./agent-process.ts";
import type { Machine } from "./machine.ts";

const LOG = "agent";

/** Starts it; events are among what it prints. */
export function typeAgent(machine: Machine, line: string): AgentProcess {
  const file = machine.logFile(LOG);
  return new AgentProcess({
    vm: machine.name,
    eventsFile: file,
    logFile: file,
    spawn: () => machine.start(line, LOG),
    askStatus: async () => {
      return JSON.parse(await machine.type("abs agent status --output json")) as AgentStatus;
    },
  });
}
