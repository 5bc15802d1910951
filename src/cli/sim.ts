/**
 * `abs sim [ledger]`: plays the ledger's own steps with many seeds, on all cores, and says what
 * broke. Progress goes to standard error; the result to standard output, as text or as one JSON
 * object. Exit 1: something broke, or a kind of fault or lie was too rare to be called tested.
 */
import { type ArgsDef, defineCommand } from "citty";
import { ownCommand } from "../agent/own-command.ts";
import { AbsError } from "../errors.ts";
import { FAULT_KINDS, type FaultKind } from "../sim/fault.ts";
import { LIE_KINDS, type LieKind } from "../sim/lie.ts";
import { jsonReport, rareIn, scenarioText, textReport } from "../sim/report.ts";
import { makeScenario, type ScenarioOptions, VALIDATORS_MAX } from "../sim/scenario.ts";
import { playSeeds, playSeedsOnAllCores } from "../sim/seeds.ts";
import { shrink } from "../sim/shrink.ts";
import { playScenario, traceScenario } from "../sim/simulation.ts";
import { notes } from "./notes.ts";
import { simFleetAgentsCommand, simFleetCommand, simFleetInsideCommand } from "./sim-fleet.ts";

const SEED_MAX = 2 ** 31 - 1;
/** Lines of the trace that are printed: the end is what matters. */
const TRACE_LINES_MAX = 400;
const PROGRESS_MS = 10_000;

function whole(name: string, text: string, least: number, most: number): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  throw new AbsError(
    "SIM_OPTION",
    `--${name} ${text} is not a whole number of ${least} to ${most}.`,
  );
}

function kindsOf(text: string | undefined): ScenarioOptions["faults"] {
  if (text === undefined || text === "all") return undefined;
  const known = [...FAULT_KINDS, ...LIE_KINDS];
  return (text === "none" ? [] : text.split(",")).map((word): FaultKind | LieKind => {
    const kind = known.find((one) => one === word);
    if (kind !== undefined) return kind;
    throw new AbsError(
      "SIM_OPTION",
      `--faults ${word} is not known.`,
      `Known: ${known.join(", ")}.`,
    );
  });
}

/** Plays the first failing seed with less and less, and tells what is left. */
function tellFailure(seed: number, options: ScenarioOptions): void {
  const fails = (scenario: Parameters<typeof playScenario>[0]) =>
    playScenario(scenario).violation !== undefined;
  const smallest = shrink(makeScenario(seed, options), fails);
  const { result, lines } = traceScenario(smallest);
  const shown = lines.slice(-TRACE_LINES_MAX);
  notes.log(`the shortest run of seed ${seed} found that still fails:`);
  notes.log(scenarioText(smallest));
  if (shown.length < lines.length) notes.log(`(${lines.length - shown.length} lines before)`);
  notes.log(shown.join("\n"));
  notes.error(`seed ${seed}: ${result.violation}`);
  notes.log(`  → again: abs sim --seeds 1 --seed ${seed}`);
}

const ledgerArguments = {
  seeds: { type: "string", default: "1000", description: "how many" },
  seed: { type: "string", description: "the first of them; random without" },
  validators: { type: "string", description: "fixed committee size; without: 1 to 20" },
  faults: { type: "string", description: "kinds of faults and lies, by commas; all, none" },
  jobs: { type: "string", description: "processes; without: one a core" },
  trace: { type: "boolean", default: false, description: "tell all that happens in one seed" },
  output: { type: "string", default: "text", description: "text, json" },
  stride: { type: "string", description: "for the processes it starts" },
} as const satisfies ArgsDef;

const ledgerCommand = defineCommand({
  meta: { name: "ledger", description: "the ledger's own steps with faults and lies, many seeds" },
  args: ledgerArguments,
  async run({ args }) {
    if (!["text", "json", "tally"].includes(args.output)) {
      throw new AbsError(
        "SIM_OPTION",
        `--output ${args.output} is not known.`,
        "Use text or json.",
      );
    }
    const random = crypto.getRandomValues(new Uint32Array(1))[0] ?? 0;
    const first = args.seed === undefined ? random >>> 1 : whole("seed", args.seed, 0, SEED_MAX);
    const count = whole("seeds", args.seeds, 1, SEED_MAX);
    const options: ScenarioOptions = {
      validators:
        args.validators === undefined
          ? undefined
          : whole("validators", args.validators, 1, VALIDATORS_MAX),
      faults: kindsOf(args.faults),
    };
    if (args.trace) {
      const { result, lines } = traceScenario(makeScenario(first, options));
      process.stdout.write(`${scenarioText(makeScenario(first, options))}\n${lines.join("\n")}\n`);
      process.stdout.write(`${JSON.stringify(result)}\n`);
      return;
    }
    if (args.output === "tally") {
      const stride = whole("stride", args.stride ?? "1", 1, SEED_MAX);
      playSeeds({ first, count, stride }, options, (tally) =>
        process.stdout.write(`${JSON.stringify(tally)}\n`),
      );
      return;
    }
    await runAll({ first, count, options, args });
  },
});

type Run = {
  readonly first: number;
  readonly count: number;
  readonly options: ScenarioOptions;
  readonly args: {
    readonly validators?: string | undefined;
    readonly faults?: string | undefined;
    readonly jobs?: string | undefined;
    readonly output: string;
  };
};

async function runAll({ first, count, options, args }: Run): Promise<void> {
  notes.info(`${count} seeds from ${first} on`);
  const passedOn = (["validators", "faults"] as const).flatMap((name) => {
    const value = args[name];
    return value === undefined ? [] : [`--${name}`, value];
  });
  let told = performance.now();
  const report = await playSeedsOnAllCores({
    first,
    count,
    jobs: args.jobs === undefined ? undefined : whole("jobs", args.jobs, 1, 256),
    childCommand: [...ownCommand(), "sim", "--output", "tally", ...passedOn],
    progress: (tally) => {
      if (performance.now() - told < PROGRESS_MS) return;
      told = performance.now();
      const which = tally.failing.length > 0 ? `: seeds ${tally.failing.join(", ")}` : "";
      notes.info(`${tally.seeds} of ${count} seeds, ${tally.violations} violations${which}`);
    },
  });
  const isWhole = options.validators === undefined && options.faults === undefined;
  const text =
    args.output === "json"
      ? `${JSON.stringify(jsonReport(report, isWhole))}\n`
      : textReport(report, isWhole);
  process.stdout.write(text);
  const [failing] = report.tally.failing;
  if (failing !== undefined) tellFailure(failing, options);
  if (failing !== undefined || rareIn(report, isWhole).length > 0) process.exitCode = 1;
}

export const simCommand = defineCommand({
  meta: {
    name: "sim",
    description: "simulate the ledger with faults and lies (the default), or a fleet of agents",
  },
  // Those of `ledger`, which is run when nothing else is named.
  args: ledgerArguments,
  default: "ledger",
  subCommands: {
    ledger: ledgerCommand,
    fleet: simFleetCommand,
    "fleet-inside": simFleetInsideCommand,
    "fleet-agents": simFleetAgentsCommand,
  },
});
