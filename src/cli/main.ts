/**
 * `abs`: the one program. Each subcommand has a file; this one puts them together and turns errors
 * into words: what happened, what to do, and an exit code (docs/exit-codes.md).
 */
import "./colours.ts";
import { type CommandDef, defineCommand, runCommand, runMain } from "citty";
import packageJson from "../../package.json";
import { AbsError, EXIT, exitCodeOf, messageOf } from "../errors.ts";
import { agentCommand } from "./agent.ts";
import { benchCommand } from "./bench.ts";
import { captureCommand } from "./capture.ts";
import { completionCommandOf } from "./completion.ts";
import { doctorCommand } from "./doctor.ts";
import { eventsCommand, flowsCommand, sessionsCommand } from "./event-commands.ts";
import { keysCommand } from "./keys.ts";
import { labCommand } from "./lab.ts";
import { ledgerCommand } from "./ledger.ts";
import { manCommandOf } from "./man.ts";
import { managerCommand } from "./manager.ts";
import { notes } from "./notes.ts";
import { policyCommand } from "./policy.ts";
import { sigCommand } from "./sig.ts";
import { simCommand } from "./sim.ts";
import { statusCommand } from "./status.ts";
import { validatorCommand } from "./validator.ts";

const main: CommandDef = defineCommand({
  meta: {
    name: "abs",
    version: packageJson.version,
    description:
      "Application-Based Security for traffic between virtual machines: every packet proves its " +
      "tenant and application, or it is refused.",
  },
  subCommands: {
    agent: agentCommand,
    manager: managerCommand,
    keys: keysCommand,
    policy: policyCommand,
    sig: sigCommand,
    ledger: ledgerCommand,
    validator: validatorCommand,
    status: statusCommand,
    flows: flowsCommand,
    events: eventsCommand,
    sessions: sessionsCommand,
    capture: captureCommand,
    doctor: doctorCommand,
    lab: labCommand,
    bench: benchCommand,
    sim: simCommand,
    completion: completionCommandOf(() => main),
    man: manCommandOf(() => main),
  },
});

/** Words before `--` belong to us, those after it to a command that we run. */
function asksForHelp(args: readonly string[]): boolean {
  const end = args.indexOf("--");
  const own = end < 0 ? args : args.slice(0, end);
  return own.length === 0 || own.some((word) => ["--help", "-h", "--version"].includes(word));
}

function printError(error: unknown): void {
  if (error instanceof AbsError) {
    notes.error(`${error.message} [${error.code}]`);
    if (error.remedy !== "") notes.log(`  → ${error.remedy}`);
    return;
  }
  notes.error(messageOf(error));
  if (process.env["ABS_DEBUG"] !== undefined) notes.log(error);
}

const rawArgs = process.argv.slice(2);
if (asksForHelp(rawArgs)) {
  await runMain(main, { rawArgs });
} else {
  try {
    await runCommand(main, { rawArgs });
  } catch (error) {
    printError(error);
    const isUsage = error instanceof Error && error.name === "CLIError";
    if (isUsage) notes.log("  → `abs --help`, and `abs COMMAND --help` for one command.");
    process.exit(isUsage ? EXIT.usage : exitCodeOf(error));
  }
}
