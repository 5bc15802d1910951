/**
 * The fleet's manager: `abs manager serve`, a process of its own with its folder. Who is connected
 * is counted by its events; everything else is asked by an administrator's commands.
 */
import { closeSync, openSync, readFileSync } from "node:fs";
import { eachLine } from "../bytes.ts";
import { AbsError } from "../errors.ts";
import { logIn } from "../manager/command-client.ts";
import type { SshClient } from "../ssh/ssh-client.ts";
import { MANAGER_PLACE } from "./fleet-plan.ts";
import { cpuSecondsOf } from "./process-times.ts";

const STOP_MS = 10_000;

type Event = { readonly event: string; readonly node?: string };

export class FleetManager {
  /** Node ids. */
  readonly #connected = new Set<string>();
  #child: Bun.Subprocess<"ignore", "pipe", number> | undefined;
  #client: Promise<SshClient> | undefined;
  #isReady = false;

  constructor(
    readonly dir: string,
    /** `abs`, as a command line without arguments. */
    private readonly abs: readonly string[],
  ) {}

  get connected(): number {
    return this.#connected.size;
  }

  get isReady(): boolean {
    return this.#isReady;
  }

  start(): void {
    const { host, port } = MANAGER_PLACE;
    const place = `${host}:${port}`;
    const words = ["manager", "serve", "--dir", this.dir, "--address", place, "--listen", place];
    const log = openSync(this.#logFile, "a", 0o600);
    // In a session of its own: an interrupt typed at the terminal ends the fleet in order.
    const child = Bun.spawn([...this.abs, ...words], {
      ...{ stdin: "ignore", stdout: "pipe", stderr: log, detached: true },
    });
    closeSync(log);
    this.#child = child;
    this.#connected.clear();
    this.#isReady = false;
    void eachLine(child.stdout, (line) => this.#hear(JSON.parse(line) as Event));
  }

  /** As a crash would end it. */
  async kill(): Promise<void> {
    this.#hangUp();
    this.#child?.kill("SIGKILL");
    await this.#child?.exited;
    this.#connected.clear();
  }

  async stop(): Promise<void> {
    this.#hangUp();
    const child = this.#child;
    if (child === undefined) return;
    child.kill("SIGTERM");
    const timer = setTimeout(() => child.kill("SIGKILL"), STOP_MS);
    await child.exited;
    clearTimeout(timer);
  }

  /** Why it is not there any more; undefined: it runs. */
  get fault(): AbsError | undefined {
    const code = this.#child?.exitCode ?? null;
    if (code === null) return undefined;
    const words = readFileSync(this.#logFile, "utf8").trim().split("\n").slice(-3).join(" / ");
    return new AbsError("FLEET_MANAGER", `The manager ended with code ${code}: ${words}.`);
  }

  /** A command of `local`; its answer. @throws AbsError what the manager complains of */
  async ask<T>(words: readonly string[], input?: string): Promise<T> {
    this.#client ??= this.#logIn();
    const client = await this.#client;
    const bytes = input === undefined ? undefined : new TextEncoder().encode(input);
    const said = await client.execute([...words, "--output", "json"], bytes);
    if (said.code === 0) return JSON.parse(said.output) as T;
    throw new AbsError("FLEET_MANAGER", `\`${words.join(" ")}\`: ${said.complaint.trim()}`);
  }

  /** Agents that enforce their tenant's newest version, as they have reported. */
  async inForce(): Promise<number> {
    const rows = await this.ask<readonly { readonly version: string }[]>(["agents", "list"]);
    return rows.filter(({ version }) => isNewest(version)).length;
  }

  /** Of its process so far. */
  get cpuS(): number {
    return cpuSecondsOf(this.#child?.pid ?? 0);
  }

  /** Resident now, and the most it ever was; bytes. */
  memory(): { readonly now: number; readonly peak: number } {
    const text = readFileSync(`/proc/${this.#child?.pid}/status`, "utf8");
    const bytes = (name: string): number =>
      1024 * Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(text)?.[1] ?? 0);
    return { now: bytes("VmRSS"), peak: bytes("VmHWM") };
  }

  get #logFile(): string {
    return `${this.dir}.log`;
  }

  /** A connection that asks nothing for a while is ended by the manager. */
  async #logIn(): Promise<SshClient> {
    const client = await logIn({ dir: this.dir });
    client.onClose(() => {
      this.#client = undefined;
    });
    return client;
  }

  #hangUp(): void {
    void this.#client?.then((client) => client.close());
    this.#client = undefined;
  }

  #hear({ event, node = "" }: Event): void {
    if (event === "manager-started") this.#isReady = true;
    if (event === "agent-connected") this.#connected.add(node);
    if (event === "agent-disconnected") this.#connected.delete(node);
  }
}

/** `in force/wanted`. */
function isNewest(version: string): boolean {
  const [inForce, wanted] = version.split("/");
  return inForce === wanted;
}
