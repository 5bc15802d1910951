/**
 * A machine of a site that has nothing of `abs` but the program: its /var/lib and /run are its own,
 * and commands are typed at its prompt as README shows them, with the usual folders. What it keeps
 * is below `SITE/NAME` for those outside. Its mounts end with its last process.
 */
import { mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { AbsError } from "../errors.ts";
import {
  type Background,
  type CommandOptions,
  type CommandResult,
  errorWords,
  runCommand,
  startBackground,
  waitFor,
} from "./command.ts";
import { mountsBelow } from "./mounts.ts";
import type { Site } from "./site.ts";
import { killQuietly } from "./topology.ts";

/** Folders that are the machine's own, and where they are outside. */
const OWN_FOLDERS = { "/var/lib": "lib", "/run": "run" } as const;
const BIN = "/run/bin";

export class Machine {
  private constructor(
    readonly name: string,
    /** Outside of the machine. */
    readonly folder: string,
    private readonly boot: Background,
  ) {}

  /** A machine of the site, from now on with folders of its own. */
  static async boot(site: Site, name: string): Promise<Machine> {
    const folder = `${site.options.directory}/${name}`;
    for (const own of Object.values(OWN_FOLDERS)) {
      mkdirSync(`${folder}/${own}`, { recursive: true, mode: 0o755 });
    }
    const [program = "", ...words] = site.options.abs;
    const bin = `${folder}/run/bin`;
    mkdirSync(bin);
    // A file of the same name, which the program is mounted over; from source it is a script.
    const script = `#!/bin/sh\nexec ${[program, ...words].map(quoted).join(" ")} "$@"\n`;
    writeFileSync(`${bin}/abs`, script, { mode: 0o755 });
    const mounts = [
      "mount --make-rprivate /",
      `mount --bind ${folder} ${folder}`, // by this its processes are known: haltMachines()
      ...(words.length === 0 ? [`mount --bind ${quoted(program)} ${bin}/abs`] : []),
      ...Object.entries(OWN_FOLDERS).map(([path, own]) => `mount --rbind ${folder}/${own} ${path}`),
    ];
    const command = ["sh", "-c", [...mounts, "exec sleep infinity"].join(" && ")];
    const logFile = `${folder}/boot.log`;
    const machine = new Machine(
      name,
      folder,
      startBackground(site.inside(name, command), { logFile }),
    );
    await waitFor(`${name} to boot`, () => machine.#isUp() || undefined);
    return machine;
  }

  /** Its first process: who enters its namespaces is on the machine. */
  get pid(): number {
    return this.boot.pid;
  }

  #isUp(): boolean {
    return readFileSync(`/proc/${this.pid}/cmdline`, "utf8").startsWith("sleep");
  }

  /** Where a file of the machine is outside. */
  path(inside: string): string {
    for (const [path, own] of Object.entries(OWN_FOLDERS)) {
      if (inside.startsWith(`${path}/`)) return `${this.folder}/${own}${inside.slice(path.length)}`;
    }
    return inside;
  }

  /** The argument list that types a line at its prompt. */
  typed(line: string): string[] {
    return atPrompt(this.pid, ["sh", "-c", `exec ${line}`]);
  }

  /** What a line prints to standard output; an error when it fails. */
  async type(line: string, options?: CommandOptions): Promise<string> {
    const result = await this.try(line, options);
    if (result.code === 0) return result.stdout.trim();
    const what = `\`${line}\` on ${this.name} ended with code ${result.code}`;
    throw new AbsError("LAB_COMMAND", `${what}: ${errorWords(result)}`);
  }

  async try(line: string, options?: CommandOptions): Promise<CommandResult> {
    return await runCommand(this.typed(line), options);
  }

  /** A command that stays; what it prints is in `SITE/NAME/LOG.log`. */
  start(line: string, log: string): Background {
    return startBackground(this.typed(line), { logFile: this.logFile(log) });
  }

  logFile(log: string): string {
    return `${this.folder}/${log}.log`;
  }
}

const HALT_MS = 5_000;

/**
 * Ends all machines of a site, and whatever runs on them, whoever booted them: also those whose
 * network was taken away while they booted.
 */
export async function haltMachines(site: string): Promise<void> {
  const end = performance.now() + HALT_MS;
  for (let left = processesOf(site); left.length > 0; left = processesOf(site)) {
    for (const pid of left) killQuietly(pid);
    if (performance.now() > end) return;
    await Bun.sleep(20);
  }
}

function processesOf(site: string): number[] {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return pids.filter((pid) => isOnMachine(pid, site)).map(Number);
}

/** Its mounts, which are no copy of ours, have a machine's folder among them. */
function isOnMachine(pid: string, site: string): boolean {
  try {
    const namespace = readlinkSync(`/proc/${pid}/ns/mnt`);
    if (namespace === readlinkSync("/proc/self/ns/mnt")) return false;
    const mounts = mountsBelow(readFileSync(`/proc/${pid}/mountinfo`, "utf8"), site);
    return mounts.some((path) => !path.slice(site.length + 1).includes("/"));
  } catch {
    return false; // It has ended meanwhile.
  }
}

/** The argument list that runs a command on the machine whose first process is `pid`. */
export function atPrompt(pid: number, command: readonly string[]): string[] {
  const enter = ["nsenter", "-t", String(pid), "-m", "-n", "--"];
  return [...enter, "env", `PATH=${BIN}:${process.env["PATH"] ?? ""}`, ...command];
}

function quoted(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}
