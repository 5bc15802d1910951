/**
 * A ledger of real processes for tests: `abs ledger init` in a temporary folder, `abs validator
 * run` for each member and `abs ledger master run`, over loopback. Ends all it began. A process may
 * be wrapped (strace, faketime, ip netns exec); what it told is read from its event file.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ContractEntry, contractJson } from "../../src/chain/contract-entry.ts";
import { propose } from "../../src/node/control-server.ts";
import { COMPILER_SETTINGS } from "../../src/validator/compiler-settings.ts";
import { contractOf } from "../chain/chain-builder.ts";
import { freePorts } from "../free-port.ts";
import { childrenOf } from "../processes.ts";

export const MAIN = new URL("../../src/cli/main.ts", import.meta.url).pathname;
export const MASTER = "master";

export type Ran = { readonly stdout: string; readonly stderr: string; readonly exitCode: number };

/** One command of the program, to its end. */
export async function abs(...args: readonly string[]): Promise<Ran> {
  return ran(process.execPath, MAIN, ...args);
}

/** Any program, to its end. */
export async function ran(...words: readonly string[]): Promise<Ran> {
  const child = Bun.spawn([...words], { stdout: "pipe", stderr: "pipe" });
  const [stdout, stderr, exitCode] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { stdout, stderr, exitCode };
}

/** The same, or an error with what it said. */
export async function must(...words: readonly string[]): Promise<string> {
  const { stdout, stderr, exitCode } = await ran(...words);
  if (exitCode !== 0) throw new Error(`${words.join(" ")}: ${stderr}`);
  return stdout;
}

/** The JSON that a command prints. */
export async function absJson<T>(...args: readonly string[]): Promise<T> {
  const ran = await abs(...args, "--output", "json");
  if (ran.exitCode !== 0) throw new Error(`abs ${args.join(" ")}: ${ran.stderr}`);
  return JSON.parse(ran.stdout) as T;
}

export type Status = {
  readonly is_running: boolean;
  readonly height: number;
  readonly block_hash: string;
  readonly chain_id: string;
  readonly node_id: string;
  readonly is_observing?: boolean;
  readonly term: number;
  readonly is_repairing?: boolean;
  readonly paused?: string;
  readonly peers: readonly { readonly node_id: string; readonly is_connected: boolean }[];
};

export type SiteEvent = {
  readonly time: string;
  readonly event: string;
  readonly height?: number;
  readonly detail?: string;
};

export type StartOptions = {
  /** Words before the program's. */
  readonly wrapper?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Words after. */
  readonly options?: readonly string[];
  /** Of the folder `master` the master's, of others a validator's. */
  readonly role?: string;
};

type Running = { readonly child: Bun.Subprocess; readonly isWrapped: boolean };

export class LedgerSite {
  private readonly running = new Map<string, Running>();
  private contracts = 0;
  private readonly endings: (() => unknown)[] = [];

  private constructor(
    readonly dir: string,
    readonly names: readonly string[],
  ) {}

  static async create(names: readonly string[]): Promise<LedgerSite> {
    const [master = 0, ...ports] = await freePorts(names.length + 1);
    const places = names.map((_, i) => `127.0.0.1:${ports[i]}`);
    return LedgerSite.createAt(names, places, `127.0.0.1:${master}`);
  }

  /** What else is to be undone, once all processes have ended. */
  atEnd(ending: () => unknown): void {
    this.endings.push(ending);
  }

  /** With addresses of one's own, `HOST:PORT`. */
  static async createAt(
    names: readonly string[],
    places: readonly string[],
    master: string,
  ): Promise<LedgerSite> {
    const dir = mkdtempSync(join(tmpdir(), "abs-ledger-"));
    const members = names.map((name, i) => `${name}=${places[i]},vcpu=2,ram=4096`);
    const place = ["--dir", dir, "--tenant", "test", "--master", master];
    await absJson("ledger", "init", ...place, ...members);
    return new LedgerSite(dir, names);
  }

  get all(): readonly string[] {
    return [...this.names, MASTER];
  }

  others(...names: readonly string[]): string[] {
    return this.all.filter((name) => !names.includes(name));
  }

  folder(name: string): string {
    return join(this.dir, name);
  }

  control(name: string): string {
    return join(this.folder(name), "control.sock");
  }

  start(
    name: string,
    { wrapper = [], env = {}, options = [], role = name }: StartOptions = {},
  ): void {
    const command = role === MASTER ? ["ledger", "master", "run"] : ["validator", "run"];
    const place = ["--dir", this.folder(name), "--events", this.eventFile(name)];
    const errors = Bun.file(join(this.dir, `${name}.errors`));
    const words = [...wrapper, process.execPath, MAIN, ...command, ...place, ...options];
    const child = Bun.spawn(words, {
      ...{ stdout: "ignore", stderr: errors },
      // What it would begin itself anew with: from source that is half a second at each start.
      env: { ...process.env, ...COMPILER_SETTINGS, ...env },
    });
    this.running.set(name, { child, isWrapped: wrapper.length > 0 });
  }

  startAll(): void {
    for (const name of this.all) this.start(name);
  }

  /** Whether what was started goes on. */
  isUp(name: string): boolean {
    const running = this.running.get(name);
    return running !== undefined && running.child.exitCode === null && !running.child.killed;
  }

  /** How it ended; undefined when nothing was started. */
  async ended(name: string): Promise<number | undefined> {
    const exitCode = await this.running.get(name)?.child.exited;
    this.running.delete(name);
    return exitCode;
  }

  /** Without a word of warning. */
  async kill(name: string): Promise<void> {
    this.signal(name, "SIGKILL");
    await this.ended(name);
  }

  /** By SIGTERM; the exit code. */
  async stop(name: string): Promise<number> {
    this.signal(name, "SIGTERM");
    return (await this.ended(name)) ?? -1;
  }

  /** To the program itself: a wrapper that has it as its child ends with it. */
  signal(name: string, signal: NodeJS.Signals): void {
    const running = this.running.get(name);
    if (running === undefined) return;
    const pid = running.isWrapped ? childrenOf(running.child.pid)[0] : running.child.pid;
    try {
      process.kill(pid ?? running.child.pid, signal);
    } catch {
      // It has ended.
    }
  }

  /** Asks the running process itself, without starting another. */
  async status(name: string): Promise<Status | undefined> {
    try {
      const signal = AbortSignal.timeout(2000);
      const answer = await fetch("http://ledger/status", { unix: this.control(name), signal });
      return (await answer.json()) as Status;
    } catch {
      return undefined;
    }
  }

  /** Until each of `names` has `height`; throws with what they said after `forMs`. */
  async reach(height: number, names: readonly string[], forMs = 30_000): Promise<Status[]> {
    const endMs = performance.now() + forMs;
    for (;;) {
      const found = await Promise.all(names.map((name) => this.status(name)));
      const there = found.filter((status): status is Status => (status?.height ?? -1) >= height);
      if (there.length === names.length) return there;
      if (performance.now() > endMs) {
        const heights = found.map((status, i) => `${names[i]}: ${status?.height}`).join(", ");
        throw new Error(`not at height ${height}: ${heights}\n${this.errors()}`);
      }
      await Bun.sleep(20);
    }
  }

  /** Until something is true of what a node says of itself. */
  async until(
    name: string,
    condition: (status: Status) => boolean,
    forMs = 30_000,
  ): Promise<Status> {
    const endMs = performance.now() + forMs;
    for (;;) {
      const status = await this.status(name);
      if (status !== undefined && condition(status)) return status;
      if (performance.now() > endMs) {
        throw new Error(`${name}: not in ${forMs} ms: ${condition}\n${JSON.stringify(status)}`);
      }
      await Bun.sleep(20);
    }
  }

  /** All of them at one tip at or above a height, which is given back. */
  async agree(height: number, names: readonly string[] = this.all): Promise<Status> {
    for (let wanted = height; ; ) {
      const tips = await this.reach(wanted, names);
      const [first] = tips;
      if (first === undefined) throw new Error("of nobody");
      const hashAt = new Map(tips.map((tip) => [tip.height, tip.block_hash]));
      for (const tip of tips) {
        if (hashAt.get(tip.height) === tip.block_hash) continue;
        throw new Error(`two tips at one height: ${JSON.stringify(tips)}`);
      }
      if (hashAt.size === 1) return first;
      // A block is on its way.
      wanted = Math.max(...hashAt.keys());
    }
  }

  createContract(master = MASTER): Promise<{ "sc-id": string; sealed: boolean }> {
    return absJson("ledger", "contract", "create", "--dir", this.folder(master));
  }

  /** One more contract, by the control socket; it does not wait for a block. */
  async propose(): Promise<void> {
    const now = Math.floor(Date.now() / 1000);
    const life = { scLifetime: now + 100_000, keyregen: now + 50_000 } as Partial<ContractEntry>;
    const contract = contractJson(contractOf(this.contracts++, life));
    await propose(this.control(MASTER), { contracts: [contract], records: [] });
  }

  eventFile(name: string): string {
    return join(this.dir, `${name}.events`);
  }

  /** What a node has told so far, over all its lives. */
  events(name: string): SiteEvent[] {
    const file = this.eventFile(name);
    if (!existsSync(file)) return [];
    const lines = readFileSync(file, "utf8").split("\n");
    return lines.flatMap((line) => {
      try {
        return line === "" ? [] : [JSON.parse(line) as SiteEvent];
      } catch {
        // Cut by a kill.
        return [];
      }
    });
  }

  errors(): string {
    return this.all.map((name) => this.errorsOf(name)).join("");
  }

  errorsOf(name: string): string {
    const file = join(this.dir, `${name}.errors`);
    return existsSync(file) ? readFileSync(file, "utf8") : "";
  }

  async end(): Promise<void> {
    for (const name of this.running.keys()) this.signal(name, "SIGCONT");
    await Promise.all([...this.running.keys()].map((name) => this.kill(name)));
    for (const ending of this.endings) await ending();
    rmSync(this.dir, { recursive: true });
  }
}
