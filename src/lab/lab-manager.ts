/**
 * The manager in the lab: `abs manager serve` on a machine of its own, and the commands that its
 * administrator types there. docs/manager.md.
 */
import { type Background, type CommandResult, errorWords, waitFor } from "./command.ts";
import { EventReader } from "./event-reader.ts";
import { inviteLine, SERVE, type TypedLine } from "./five-commands.ts";
import type { Machine } from "./machine.ts";

const LOG = "serve";
const STARTED_MS = 60_000;
const ENFORCED_MS = 60_000;

/** One line of `abs manager agents list --output json`. */
interface AgentRow {
  readonly tenant: string;
  readonly name: string;
  readonly mode: string;
  /** In force and wanted. */
  readonly version: string;
}

export class LabManager {
  readonly #events: EventReader;
  #process: Background | undefined;

  constructor(
    readonly machine: Machine,
    private readonly tell: (typed: TypedLine) => void,
  ) {
    this.#events = new EventReader(machine.logFile(LOG));
  }

  get pid(): number {
    return this.#process?.pid ?? 0;
  }

  #note(line: string): void {
    this.tell({ machine: this.machine.name, line });
  }

  /** Returns when it listens. */
  async serve(): Promise<void> {
    const before = this.#events.all().length;
    this.#note(SERVE);
    this.#process = this.machine.start(SERVE, LOG);
    const isUp = () => {
      return this.#events.since(before).find(({ event }) => event === "manager-started");
    };
    await waitFor("the manager", isUp, STARTED_MS);
  }

  /** Without warning. */
  async kill(): Promise<void> {
    await this.#process?.stop("SIGKILL");
  }

  async stop(): Promise<void> {
    await this.#process?.stop();
  }

  /** A command as it is typed there: what it prints, or an error. */
  async type(line: string, document?: unknown): Promise<string> {
    this.#note(line);
    const input = document === undefined ? {} : { input: JSON.stringify(document) };
    return await this.machine.type(line, input);
  }

  /** The same, where it may fail. */
  async try(line: string): Promise<CommandResult> {
    this.#note(line);
    return await this.machine.try(line);
  }

  async ask<T>(words: string): Promise<T> {
    return JSON.parse(await this.machine.type(`abs manager ${words} --output json`)) as T;
  }

  /** A token. */
  async invite(vm: string, apps: readonly string[], ...more: readonly string[]): Promise<string> {
    return await this.type(inviteLine(vm, apps, ...more));
  }

  /** Until these agents of the tenant report the newest version in force. */
  async untilEnforced(tenant: string, names: readonly string[]): Promise<void> {
    const areNewest = async () => {
      const rows = await this.ask<readonly AgentRow[]>(`agents list --tenant ${tenant}`);
      const newest = rows.filter(({ version }) => /^(\d+)\/\1$/.test(version));
      return names.every((name) => newest.some((row) => row.name === name)) || undefined;
    };
    await waitFor(`${names.join(", ")} to enforce the newest`, areNewest, ENFORCED_MS, 100);
  }

  /** Until the tenant's ledger holds so many signatures, and agents are given them. */
  async untilSealed(tenant: string, count: number): Promise<void> {
    const areSealed = async () => {
      const rows = await this.ask<readonly { sealed: boolean }[]>(`sig list --tenant ${tenant}`);
      return rows.filter(({ sealed }) => sealed).length === count || undefined;
    };
    await waitFor(`${count} signatures on the ledger`, areSealed, ENFORCED_MS, 100);
  }
}

/** For a command that has to fail: what it says. */
export function refusalWords(result: CommandResult): string {
  return result.code === 0 ? `${result.command.split(" ").at(-1)} was taken` : errorWords(result);
}
