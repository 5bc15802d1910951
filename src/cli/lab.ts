/**
 * `abs lab up|exec|status|down|run`: reads flags, calls src/lab, prints. Notes go to standard
 * error, results (the story, `status`, `--output json`, `exec`) to standard output. Interrupted,
 * `up` and `run` remove everything they made before they exit.
 */
import { defineCommand } from "citty";
import { AbsError } from "../errors.ts";
import type { TypedLine } from "../lab/five-commands.ts";
import {
  commandInVm,
  isWhole,
  labDown,
  labPrefix,
  labStatus,
  labUp,
  needLab,
  readLab,
} from "../lab/lab.ts";
import { DEFAULT_SETTINGS } from "../lab/lab-plan.ts";
import { type CheckResult, chooseChecks, runStory } from "../lab/story.ts";
import { notes } from "./notes.ts";
import { isJsonOutput, outputArgument } from "./options.ts";

const SETTLE_MS = 10_000;
const PROMPT_COLUMNS = 8;
const SIGNALS = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;

const nameArgument = {
  name: { type: "string", default: "lab", description: "which lab, when several are up" },
} as const;

/**
 * Runs `work`; on SIGINT, SIGTERM or SIGHUP, and when it fails, the lab goes down. Everything it
 * may still make while we remove is removed once more when it has settled.
 */
async function guarded<T>(name: string, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const abort = new AbortController();
  let code = 0;
  const handlers = Object.entries(SIGNALS).map(([signal, number]) => {
    const handler = () => {
      if (code === 0) notes.info(`${signal}: taking the lab down`);
      code ||= 128 + number;
      abort.abort();
    };
    process.on(signal, handler);
    return { signal, handler };
  });
  const aborted = new Promise<"aborted">((resolve) => {
    abort.signal.addEventListener("abort", () => resolve("aborted"));
  });
  const working = work(abort.signal);
  try {
    const first = await Promise.race([working.then((value) => ({ value })), aborted]);
    if (first !== "aborted") return first.value;
    await labDown(name);
    await Promise.race([Promise.allSettled([working]), Bun.sleep(SETTLE_MS)]);
    await labDown(name);
    return process.exit(code);
  } finally {
    for (const { signal, handler } of handlers) process.off(signal, handler);
  }
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

function printJson(value: unknown): void {
  print(JSON.stringify(value, null, 2));
}

const up = defineCommand({
  meta: { name: "up", description: "make the VMs, start their agents and programs" },
  args: nameArgument,
  async run({ args }) {
    const there = readLab(args.name);
    if (there !== undefined && isWhole(there)) {
      notes.success(`Lab ${args.name} is up already.`);
      return;
    }
    const started = performance.now();
    await guarded(args.name, () => labUp(args.name, DEFAULT_SETTINGS, tellTyped));
    const seconds = ((performance.now() - started) / 1_000).toFixed(1);
    notes.success(
      `Lab ${args.name} is up after ${seconds} s: web, db, rogue, cache of tenant A, other of B.`,
    );
    notes.info(
      "Try: abs lab exec web -- redis-cli -h 10.77.0.12 --user app1 --pass correct-horse PING",
    );
    notes.info("Try: abs lab exec web -- abs ledger status --dir /var/lib/abs/agent");
    notes.info("Try: abs lab exec manager -- abs manager agents list");
    process.exit(0); // Agents and servers go on without us.
  },
});

const exec = defineCommand({
  meta: { name: "exec", description: "run a command in a VM: abs lab exec VM -- CMD…" },
  async run({ rawArgs }) {
    const { name, vm, command } = parseExec(rawArgs);
    const argv = commandInVm(needLab(name), vm, command);
    const child = Bun.spawn(argv, { stdin: "inherit", stdout: "inherit", stderr: "inherit" });
    for (const signal of Object.keys(SIGNALS)) process.on(signal, () => {});
    process.exit(await child.exited);
  },
});

/** `[--name NAME] VM [--] CMD…`; everything after the VM belongs to the command. */
export function parseExec(raw: readonly string[]): { name: string; vm: string; command: string[] } {
  let name = "lab";
  let i = 0;
  for (; raw[i]?.startsWith("--name") === true; i++) {
    const given = raw[i] ?? "";
    name = given.startsWith("--name=") ? given.slice(7) : (raw[++i] ?? "");
  }
  const vm = raw[i] ?? "";
  const rest = raw.slice(i + 1);
  const command = rest[0] === "--" ? rest.slice(1) : rest;
  if (vm !== "" && !vm.startsWith("-") && command.length > 0) return { name, vm, command };
  const remedy = "abs lab exec [--name NAME] VM -- CMD…";
  throw new AbsError("LAB_USAGE", "A VM and a command are needed.", remedy);
}

const status = defineCommand({
  meta: { name: "status", description: "what is up, with each agent's counters" },
  args: { ...nameArgument, output: outputArgument },
  async run({ args }) {
    const json = isJsonOutput(args.output);
    const found = await labStatus(needLab(args.name));
    if (json) {
      printJson(found);
      return;
    }
    for (const vm of found.vms) {
      const agent = vm.running ? `agent ${vm.agentPid}` : "no agent";
      print(`${vm.name.padEnd(6)} ${vm.tenant}  ${vm.ipv4}  ${vm.ipv6}  ${agent}`);
    }
    for (const service of found.services) {
      print(`${service.vm.padEnd(6)} ${service.name}  ${service.running ? "running" : "ended"}`);
    }
  },
});

const down = defineCommand({
  meta: { name: "down", description: "remove everything, also what a killed lab left" },
  args: nameArgument,
  async run({ args }) {
    const there = await labDown(args.name);
    notes.success(there ? `Lab ${args.name} is down.` : `No lab ${args.name} was up.`);
  },
});

const run = defineCommand({
  meta: { name: "run", description: "up, the story of checks, down" },
  args: {
    ...nameArgument,
    output: outputArgument,
    only: { type: "string", default: "", description: "only these checks, separated by commas" },
    sabotage: {
      type: "string",
      default: "",
      description: "remove the cause of this check's success and run it: it must fail",
    },
    keep: { type: "boolean", default: false, description: "leave the lab up afterwards" },
  },
  async run({ args }) {
    const json = isJsonOutput(args.output);
    labPrefix(args.name);
    const names = (args.sabotage || args.only).split(",").filter(Boolean);
    const checks = chooseChecks(names);
    const sabotage = args.sabotage === "" ? undefined : checks[0]?.sabotage;
    const settings = { ...DEFAULT_SETTINGS, ...sabotage?.settings };
    const started = performance.now();
    const result = await guarded(args.name, async (signal) => {
      const lab = await labUp(args.name, settings, json ? () => {} : tellTyped);
      try {
        if (sabotage !== undefined) notes.warn(`Sabotage: ${sabotage.words}. It has to fail now.`);
        const tell = json ? {} : { tell: tellCheck };
        return await runStory(lab, checks, { ...tell, signal });
      } finally {
        if (!args.keep) await lab.close();
      }
    });
    if (json) printJson(result);
    const seconds = ((performance.now() - started) / 1_000).toFixed(1);
    if (!json) print(`${result.passed} passed, ${result.failed} failed, ${seconds} s`);
    process.exit(result.failed === 0 ? 0 : 1);
  },
});

/** A command as it was typed; a token is shown by its beginning. */
function tellTyped({ machine, line }: TypedLine): void {
  const short = line.replace(/(abs1-\w{4})\S+/, "$1…");
  print(`${`${machine}#`.padEnd(PROMPT_COLUMNS)} ${short}`);
}

function tellCheck(result: CheckResult): void {
  const mark = result.passed ? "✔" : "✖";
  print(
    `${mark} ${result.name} (${result.seconds.toFixed(1)} s)\n` +
      `    tried     ${result.tried}\n` +
      `    expected  ${result.expected}\n` +
      `    observed  ${result.observed}`,
  );
}

export const labCommand = defineCommand({
  meta: {
    name: "lab",
    description: "VMs on this machine as network namespaces, and a story of checks",
  },
  subCommands: { up, exec, status, down, run },
});
