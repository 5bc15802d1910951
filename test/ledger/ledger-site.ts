/**
 * A ledger of real processes for tests: `abs ledger init` in a temporary folder, `abs validator
 * run` for each member and `abs ledger master run`, over loopback. Ends all it began.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

export const MAIN = new URL("../../src/cli/main.ts", import.meta.url).pathname;
export const MASTER = "master";

export type Ran = { readonly stdout: string; readonly stderr: string; readonly exitCode: number };

/** One command of the program, to its end. */
export async function abs(...args: readonly string[]): Promise<Ran> {
  const ran = Bun.spawn([process.execPath, MAIN, ...args], { stdout: "pipe", stderr: "pipe" });
  const [stdout, stderr, exitCode] = await Promise.all([
    new Response(ran.stdout).text(),
    new Response(ran.stderr).text(),
    ran.exited,
  ]);
  return { stdout, stderr, exitCode };
}

/** The JSON that a command prints. */
export async function absJson<T>(...args: readonly string[]): Promise<T> {
  const ran = await abs(...args, "--output", "json");
  if (ran.exitCode !== 0) throw new Error(`abs ${args.join(" ")}: ${ran.stderr}`);
  return JSON.parse(ran.stdout) as T;
}

export async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer());
  const ports: number[] = [];
  for (const server of servers) {
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    ports.push((server.address() as { port: number }).port);
  }
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

export type Status = {
  readonly is_running: boolean;
  readonly height: number;
  readonly block_hash: string;
  readonly chain_id: string;
  readonly is_observing?: boolean;
  readonly node_id: string;
  readonly term: number;
  readonly peers: readonly { readonly node_id: string; readonly is_connected: boolean }[];
};

export class LedgerSite {
  private readonly running = new Map<string, Bun.Subprocess>();

  private constructor(
    readonly dir: string,
    readonly names: readonly string[],
  ) {}

  static async create(names: readonly string[]): Promise<LedgerSite> {
    const dir = mkdtempSync(join(tmpdir(), "abs-ledger-"));
    const [master, ...ports] = await freePorts(names.length + 1);
    const members = names.map((name, i) => `${name}=127.0.0.1:${ports[i]},vcpu=2,ram=4096`);
    const place = ["--dir", dir, "--tenant", "test", "--master", `127.0.0.1:${master}`];
    await absJson("ledger", "init", ...place, ...members);
    return new LedgerSite(dir, names);
  }

  folder(name: string): string {
    return join(this.dir, name);
  }

  start(name: string, role = name === MASTER ? MASTER : "validator"): void {
    const command = role === MASTER ? ["ledger", "master", "run"] : ["validator", "run"];
    const events = join(this.dir, `${name}.events`);
    const words = [...command, "--dir", this.folder(name), "--events", events];
    const errors = Bun.file(join(this.dir, `${name}.errors`));
    this.running.set(
      name,
      Bun.spawn([process.execPath, MAIN, ...words], { stdout: "ignore", stderr: errors }),
    );
  }

  startAll(): void {
    for (const name of [...this.names, MASTER]) this.start(name);
  }

  /** Without a word of warning. */
  async kill(name: string): Promise<void> {
    const process = this.running.get(name);
    process?.kill("SIGKILL");
    await process?.exited;
    this.running.delete(name);
  }

  /** By SIGTERM; the exit code. */
  async stop(name: string): Promise<number> {
    const process = this.running.get(name);
    process?.kill("SIGTERM");
    const exitCode = (await process?.exited) ?? -1;
    this.running.delete(name);
    return exitCode;
  }

  /** Asks the running process itself, without starting another. */
  async status(name: string): Promise<Status | undefined> {
    const unix = join(this.folder(name), "control.sock");
    try {
      return (await (await fetch("http://ledger/status", { unix })).json()) as Status;
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

  async until(condition: () => Promise<boolean>, forMs = 30_000): Promise<void> {
    const endMs = performance.now() + forMs;
    while (!(await condition())) {
      if (performance.now() > endMs) throw new Error(`not true in ${forMs} ms\n${this.errors()}`);
      await Bun.sleep(20);
    }
  }

  createContract(master = MASTER): Promise<{ "sc-id": string; sealed: boolean }> {
    return absJson("ledger", "contract", "create", "--dir", this.folder(master));
  }

  errors(): string {
    return [...this.names, MASTER]
      .map((name) => join(this.dir, `${name}.errors`))
      .map((file) => readFileSync(file, "utf8"))
      .join("");
  }

  async end(): Promise<void> {
    await Promise.all([...this.running.keys()].map((name) => this.kill(name)));
    rmSync(this.dir, { recursive: true });
  }
}
