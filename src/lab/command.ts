/**
 * Runs other programs for the lab: to their end with a time limit, or in the background with their
 * output in a file. Times are milliseconds. Knows nothing of namespaces; topology.ts makes the
 * argument lists that enter one.
 */
import { closeSync, openSync, readFileSync } from "node:fs";
import { AbsError } from "../errors.ts";

/** How a finished program ended. `timedOut`: it was killed by us at the limit. */
export interface CommandResult {
  readonly command: string;
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly timedOut: boolean;
  readonly elapsedMs: number;
}

export interface CommandOptions {
  readonly timeoutMs?: number;
  /** Asked again and again: whether it has had its time already. */
  readonly isOver?: () => boolean;
  readonly input?: string;
  readonly environment?: Readonly<Record<string, string>>;
  readonly directory?: string;
}

const DEFAULT_TIMEOUT_MS = 20_000;
const ASKED_EVERY_MS = 20;
/** The code a shell gives for "killed at the time limit". */
export const CODE_TIMED_OUT = 124;

/** Runs `argv` to its end, or kills it after `timeoutMs`; never throws for a failing program. */
export async function runCommand(
  argv: readonly string[],
  options: CommandOptions = {},
): Promise<CommandResult> {
  const started = performance.now();
  const child = Bun.spawn([...argv], {
    stdin: options.input === undefined ? "ignore" : new TextEncoder().encode(options.input),
    stdout: "pipe",
    stderr: "pipe",
    env: { ...process.env, LC_ALL: "C", ...options.environment },
    ...(options.directory === undefined ? {} : { cwd: options.directory }),
  });
  let timedOut = false;
  const kill = () => {
    timedOut = true;
    child.kill("SIGKILL");
  };
  const timer = setTimeout(kill, options.timeoutMs ?? DEFAULT_TIMEOUT_MS);
  const { isOver } = options;
  const asking = isOver && setInterval(() => isOver() && kill(), ASKED_EVERY_MS);
  try {
    const [stdout, stderr, code] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ]);
    const elapsedMs = performance.now() - started;
    const command = argv.join(" ");
    return { command, code: timedOut ? CODE_TIMED_OUT : code, stdout, stderr, timedOut, elapsedMs };
  } finally {
    clearTimeout(timer);
    clearInterval(asking);
  }
}

/** As runCommand, but anything other than exit code 0 is an error with the program's own words. */
export async function mustRun(
  argv: readonly string[],
  options: CommandOptions = {},
): Promise<CommandResult> {
  const result = await runCommand(argv, options);
  if (result.code !== 0) {
    throw new AbsError(
      "LAB_COMMAND",
      `\`${result.command}\` ended with code ${result.code}: ${lastWords(result)}`,
      "Run the command by hand to see more; `abs lab down` removes what the lab made.",
    );
  }
  return result;
}

/** The last line a program said, standard error first: its error, for messages. */
export function lastWords(result: CommandResult): string {
  if (result.timedOut) return `no answer within ${Math.round(result.elapsedMs)} ms`;
  const lines = `${result.stdout}\n${result.stderr}`.trim().split("\n");
  return lines.at(-1)?.trim() ?? "";
}

/** All it said of an error, in one line. */
export function errorWords(result: CommandResult): string {
  return result.timedOut ? lastWords(result) : result.stderr.replace(/\s+/g, " ").trim();
}

/** A program running in the background. */
export interface Background {
  readonly pid: number;
  readonly command: string;
  /** Everything it printed so far. */
  output(): string;
  /** Resolves with its exit code; a signal counts as 128 + its number. */
  readonly exited: Promise<number>;
  /** Asks it to end by `signal`, kills it after `graceMs`, and waits for its end. */
  stop(signal?: NodeJS.Signals, graceMs?: number): Promise<number>;
}

export interface BackgroundOptions {
  readonly logFile: string;
  readonly environment?: Readonly<Record<string, string>>;
  readonly directory?: string;
}

/**
 * Starts `argv` with its output in `logFile`, in a session of its own: an interrupt typed at the
 * terminal reaches only the lab, which then ends its programs in order, and `abs lab up` may
 * return.
 */
export function startBackground(argv: readonly string[], options: BackgroundOptions): Background {
  const log = openSync(options.logFile, "a", 0o600);
  const child = Bun.spawn([...argv], {
    stdin: "ignore",
    stdout: log,
    stderr: log,
    detached: true,
    env: { ...process.env, LC_ALL: "C", ...options.environment },
    ...(options.directory === undefined ? {} : { cwd: options.directory }),
  });
  closeSync(log);
  child.unref();
  return {
    pid: child.pid,
    command: argv.join(" "),
    output: () => readFileSync(options.logFile, "utf8"),
    exited: child.exited,
    async stop(signal = "SIGTERM", graceMs = 3_000) {
      child.kill(signal);
      const timer = setTimeout(() => child.kill("SIGKILL"), graceMs);
      const code = await child.exited;
      clearTimeout(timer);
      return code;
    },
  };
}

/** Polls `condition` every `everyMs` until it returns something other than undefined, or fails. */
export async function waitFor<T>(
  what: string,
  condition: () => T | undefined | Promise<T | undefined>,
  timeoutMs = 30_000,
  everyMs = 20,
): Promise<T> {
  const end = performance.now() + timeoutMs;
  for (;;) {
    const value = await condition();
    if (value !== undefined) return value;
    if (performance.now() > end) {
      throw new AbsError("LAB_TIMEOUT", `Waited ${timeoutMs} ms in vain for ${what}.`);
    }
    await Bun.sleep(everyMs);
  }
}

/** Whether a process of that number runs (a zombie does not). */
export function isRunning(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return !/^\d+ \(.*\) [ZX]/s.test(stat);
  } catch {
    return false; // No such process.
  }
}

/** Refuses early, with the package to install, when a program is missing. */
export function needPrograms(programs: Readonly<Record<string, string>>): void {
  const missing = Object.keys(programs).filter((name) => Bun.which(name) === null);
  if (missing.length === 0) return;
  const packages = missing.map((name) => programs[name] ?? name);
  throw new AbsError(
    "LAB_PROGRAM_MISSING",
    `Not found on this machine: ${missing.join(", ")}.`,
    `Run \`make setup\`, or \`apt-get install ${[...new Set(packages)].join(" ")}\`.`,
  );
}
