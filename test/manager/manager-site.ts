/** A manager in this process, on loopback, and agents that enrol with it. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ensureKeys } from "../../src/channel/agent-folder.ts";
import type { AgentState } from "../../src/channel/agent-state.ts";
import type { AgentMachine } from "../../src/channel/enrolment-messages.ts";
import {
  decodeToken,
  type EnrolmentToken,
  encodeToken,
} from "../../src/channel/enrolment-token.ts";
import { askManager } from "../../src/manager/command-client.ts";
import { findCommand } from "../../src/manager/command-words.ts";
import { initManager } from "../../src/manager/manager-folder.ts";
import { type ManagerOptions, ManagerProcess } from "../../src/manager/manager-process.ts";
import { LedgerProcess } from "../../src/node/ledger-process.ts";
import { epochNow } from "../../src/node/ledger-runner.ts";
import { openJournal } from "../../src/node/store-journal.ts";
import { EventLog } from "../../src/observe/event-log.ts";
import type { AbsEvent, EventRecord } from "../../src/observe/event-record.ts";
import type { SshLimits } from "../../src/ssh/ssh-settings.ts";
import type { EpochSeconds } from "../../src/units.ts";
import { freePort } from "../free-port.ts";
import { checkAnswer } from "./answer-check.ts";
import { enrolFolder } from "./enrolled-folder.ts";

const LOCAL = "127.0.0.1";
const MAIN = join(import.meta.dir, "../../src/cli/main.ts");
/** What `abs manager serve` gives the manager for its children. */
export const CAPTURE_TEST_PROGRAM = [process.execPath, MAIN, "manager", "test-capture"];

export class ManagerSite {
  readonly base = mkdtempSync(join(tmpdir(), "abs-manager-"));
  readonly dir = join(this.base, "manager");
  readonly eventFile = join(this.base, "events");
  /** Added to the manager's clock. */
  skewSeconds = 0;
  manager: ManagerProcess | undefined;
  /** Events of its nodes. */
  readonly told: AbsEvent[] = [];
  readonly #nodes: LedgerProcess[] = [];
  readonly #events = new EventLog(this.eventFile, { role: "manager" });
  readonly #records: EventRecord[] = [];
  /** Names of commands whose answers are as they are described. */
  readonly said = new Set<string>();
  #agents = 0;

  /** @param port the manager's, for agents that find it again; 0: another one at each start */
  static async open(limits: Partial<SshLimits> = {}, port = 0): Promise<ManagerSite> {
    const site = new ManagerSite();
    site.#events.listen((record) => site.#records.push(record));
    const place = { host: LOCAL, port: 1 };
    initManager({ dir: site.dir, dataKey: undefined, place, now: epochNow() }).database.close();
    await site.start(limits, port);
    return site;
  }

  /** @param port 0: another one each time */
  async start(limits: Partial<SshLimits> = {}, port = 0): Promise<void> {
    this.manager = await ManagerProcess.start(this.options(limits, port));
  }

  options(limits: Partial<SshLimits> = {}, port = 0): ManagerOptions {
    return {
      ...{ dir: this.dir, dataKey: undefined, listen: { host: LOCAL, port } },
      ...{ events: this.#events, limits, keepMs: 100, api: { host: LOCAL, port: 0 } },
      captureTests: { program: CAPTURE_TEST_PROGRAM },
      now: () => (epochNow() + this.skewSeconds) as EpochSeconds,
    };
  }

  /** An event, as if the manager had written it. */
  write(event: AbsEvent): void {
    this.#events.write(event);
  }

  async close(): Promise<void> {
    for (const node of this.#nodes) node.stop();
    await this.manager?.stop();
    this.#events.close();
    rmSync(this.base, { recursive: true });
  }

  /** All so far, also those that a full disk did not take. */
  events(): Record<string, unknown>[] {
    return this.#records;
  }

  /** A command of `local`; throws what the manager complains of, or what no schema tells. */
  command(...words: string[]): Promise<Record<string, unknown>> {
    return this.say<Record<string, unknown>>(words);
  }

  /** The same, of which somebody knows what it answers. @param input for its standard input */
  async say<T>(words: readonly string[], input?: string | Uint8Array): Promise<T> {
    const bytes = input === undefined ? undefined : new Uint8Array(Buffer.from(input));
    const said = await askManager({ dir: this.dir }, [...words, "--output", "json"], bytes);
    if (said.code !== 0) throw new Error(said.complaint);
    const value: unknown = JSON.parse(said.output);
    const asked = findCommand(words);
    if (asked === undefined) throw new Error(`no command: ${words.join(" ")}`);
    checkAnswer(asked, value);
    this.said.add(asked.name);
    return value as T;
  }

  /** A command of `local` with standard input. */
  async send(words: readonly string[], input: string): Promise<void> {
    const said = await askManager({ dir: this.dir }, words, new Uint8Array(Buffer.from(input)));
    if (said.code !== 0) throw new Error(said.complaint);
  }

  /** With a port of its own, since tests run side by side. */
  async addTenant(name: string): Promise<Record<string, unknown>> {
    return this.command("tenant", "add", name, "--peer-port", `${await freePort()}`);
  }

  /** A token that leads to where the manager listens now. */
  async invite(name: string, ...more: string[]): Promise<EnrolmentToken> {
    const answer = await this.command("invite", "--tenant", "t1", "--name", name, ...more);
    return this.here(decodeToken(String(answer["token"])));
  }

  /** The manager's port changes with each start, the token's is that of `init`. */
  here(token: EnrolmentToken): EnrolmentToken {
    return decodeToken(encodeToken({ ...token, port: this.manager?.port ?? 0 }));
  }

  /**
   * A folder whose node calls the master: the address in its certificate is nobody's here, so that
   * nobody could call it.
   */
  callingDir(): string {
    const masterId = this.manager?.state.manager.keys.nodeId ?? "";
    for (;;) {
      const dir = this.freshDir();
      if (ensureKeys(dir).keys.nodeId < masterId) return dir;
    }
  }

  /** The ledger node of an enrolled agent; close() stops it. */
  async runNode(dir: string): Promise<LedgerProcess> {
    const listen = { host: LOCAL, port: await freePort() };
    const events = { write: (event: AbsEvent) => this.told.push(event) };
    const node = await LedgerProcess.start({ role: "validator", dir, listen, events, openJournal });
    this.#nodes.push(node);
    return node;
  }

  freshDir(): string {
    return join(this.base, `agent-${++this.#agents}`);
  }

  async enrol(
    token: EnrolmentToken,
    dir: string,
    machine: Partial<AgentMachine> = {},
  ): Promise<AgentState> {
    const words = { addresses: [`10.77.0.${10 + this.#agents}`], ...machine };
    return await enrolFolder(dir, token, machineOf(words));
  }
}

export function machineOf(words: Partial<AgentMachine>): AgentMachine {
  return {
    ...{ addresses: ["10.77.0.1"], carrier: "ip", peerPort: 6254, vcpu: 2, ramMib: 2048 },
    ...{ macs: [], capabilities: [] },
    ...words,
  };
}

/** The code of what a promise fails with. */
export async function codeOf(promise: Promise<unknown>): Promise<string> {
  const failure = await promise.then(
    () => ({ code: "done" }),
    (error) => error as { code?: string },
  );
  return failure.code ?? String(failure);
}

/** The test's own time-out ends it. */
export async function until(what: () => boolean): Promise<void> {
  while (!what()) await new Promise((resolve) => setTimeout(resolve, 5));
}
