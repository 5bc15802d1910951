/**
 * A ledger of real processes for `abs bench ledger`: folders as `abs ledger init` writes them,
 * `abs validator run` for each member, `abs ledger master run`, all over loopback. What the master
 * tells comes by its standard output, line by line. Everything ends with end(), also half-begun.
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { eachLine } from "../bytes.ts";
import { AbsError } from "../errors.ts";
import type { CryptoWork } from "../node/crypto-work.ts";
import { initLedger, MASTER_FOLDER } from "../node/ledger-init.ts";
import type { EpochSeconds } from "../units.ts";

/** Of folders; each names the process of its bench. */
const PREFIX = "abs-bench-";
const OWNER = "bench.pid";
const READY_MS = 60_000;
const STOP_MS = 5_000;
const POLL_MS = 20;

export type NodeStatus = {
  readonly height: number;
  readonly waiting?: number;
  readonly work: CryptoWork;
  readonly sent: { readonly frames: number; readonly bytes: number };
  readonly peers: readonly { readonly is_connected: boolean; readonly frames_lost: number }[];
};

export type NodeEvent = { readonly event: string } & Readonly<Record<string, unknown>>;

type Running = { readonly child: Bun.Subprocess; readonly pid: number };

export class BenchSite {
  readonly names: readonly string[];
  readonly #running = new Map<string, Running>();
  #onEvent: (event: NodeEvent) => void = () => {};

  private constructor(
    readonly dir: string,
    validators: number,
    /** `abs`, as a command line without arguments. */
    readonly abs: readonly string[],
  ) {
    this.names = Array.from({ length: validators }, (_, i) => `v${i + 1}`);
  }

  /** @param parent a folder on the disk that is to be measured */
  static async create(parent: string, validators: number, abs: readonly string[]) {
    const site = new BenchSite(mkdtempSync(join(parent, PREFIX)), validators, abs);
    writeFileSync(join(site.dir, OWNER), String(process.pid));
    const [master = 0, ...ports] = await freePorts(validators + 1);
    initLedger({
      ...{ dir: site.dir, tenant: "bench", master: { host: "127.0.0.1", port: master } },
      members: site.names.map((name, i) => {
        const place = { name, host: "127.0.0.1", port: ports[i] ?? 0 };
        return { ...place, vcpu: 2, ramMib: 4096, securityScore: 50 };
      }),
      // Before the blocks that ledger-chain.ts makes.
      timestamp: (Math.floor(Date.now() / 1000) - 3600) as EpochSeconds,
    });
    return site;
  }

  get all(): readonly string[] {
    return [MASTER_FOLDER, ...this.names];
  }

  folder(name: string): string {
    return join(this.dir, name);
  }

  pidOf(name: string): number {
    return this.#running.get(name)?.pid ?? 0;
  }

  /** The master's events from now on. */
  listen(onEvent: (event: NodeEvent) => void): void {
    this.#onEvent = onEvent;
  }

  startNode(name: string): void {
    const command = name === MASTER_FOLDER ? ["ledger", "master", "run"] : ["validator", "run"];
    const words = [...command, "--dir", this.folder(name)];
    if (name !== MASTER_FOLDER) return this.#start(name, [...words, "--events", "/dev/null"]);
    this.#start(name, words, (line) => this.#onEvent(JSON.parse(line) as NodeEvent));
  }

  /** Another program in a node's folder; `onLine` hears its standard output. */
  startOther(name: string, words: readonly string[], onLine?: (line: string) => void): void {
    this.#start(name, words, onLine);
  }

  #start(name: string, words: readonly string[], onLine?: (line: string) => void): void {
    const child = Bun.spawn([...this.abs, ...words], {
      stdin: "ignore",
      stdout: onLine === undefined ? "ignore" : "pipe",
      stderr: Bun.file(this.#errorsOf(name)),
      // A group of its own: an interrupt typed at the terminal reaches only the bench.
      detached: true,
    });
    this.#running.set(name, { child, pid: child.pid });
    if (onLine !== undefined) void eachLine(child.stdout as ReadableStream<Uint8Array>, onLine);
  }

  async status(name: string): Promise<NodeStatus | undefined> {
    try {
      const unix = join(this.folder(name), "control.sock");
      const response = await fetch("http://ledger/status", { unix });
      return (await response.json()) as NodeStatus;
    } catch {
      return undefined;
    }
  }

  /** Until all of `names` are as `isSo` wants them. @throws AbsError BENCH_LEDGER */
  async until(
    names: readonly string[],
    isSo: (status: NodeStatus) => boolean,
    forMs = READY_MS,
  ): Promise<void> {
    const endMs = performance.now() + forMs;
    let left = [...names];
    while (left.length > 0) {
      const found = await Promise.all(left.map((name) => this.status(name)));
      left = left.filter((_, i) => {
        const status = found[i];
        return status === undefined || !isSo(status);
      });
      if (left.length === 0) return;
      if (performance.now() > endMs) throw this.#late(left);
      await Bun.sleep(POLL_MS);
    }
  }

  async untilConnected(names: readonly string[]): Promise<void> {
    const others = names.length - 1;
    await this.until(names, ({ peers }) => {
      return peers.filter((peer) => peer.is_connected).length >= others;
    });
  }

  async stop(names: readonly string[] = [...this.#running.keys()]): Promise<void> {
    const children = names.flatMap((name) => this.#running.get(name)?.child ?? []);
    for (const child of children) child.kill("SIGTERM");
    const timer = setTimeout(() => {
      for (const child of children) child.kill("SIGKILL");
    }, STOP_MS);
    await Promise.all(children.map((child) => child.exited));
    clearTimeout(timer);
    for (const name of names) this.#running.delete(name);
  }

  async end(): Promise<void> {
    await this.stop();
    rmSync(this.dir, { recursive: true, force: true });
  }

  #late(names: readonly string[]): AbsError {
    const words = names.map((name) => readFileSync(this.#errorsOf(name), "utf8").trim());
    const last = words.join(" ").split("\n").slice(-3).join(" / ");
    return new AbsError("BENCH_LEDGER", `${names.join(", ")} did not get there: ${last || "-"}`);
  }

  #errorsOf(name: string): string {
    return join(this.dir, `${name}.errors`);
  }
}

/** What a bench that was killed left behind: nodes, which have no end of their own, and files. */
export function removeLeftovers(parent: string): void {
  for (const name of readdirSync(parent)) {
    const owner = join(parent, name, OWNER);
    if (!name.startsWith(PREFIX) || !existsSync(owner)) continue;
    if (existsSync(`/proc/${readFileSync(owner, "utf8")}`)) continue;
    const dir = join(parent, name);
    for (const pid of processesIn(dir)) process.kill(pid, "SIGKILL");
    rmSync(dir, { recursive: true, force: true });
  }
}

/** Whose command line names a folder in `dir`. */
function processesIn(dir: string): number[] {
  const pids = readdirSync("/proc").filter((name) => /^[0-9]+$/.test(name));
  return pids
    .filter((pid) => commandOf(pid).some((word) => word.startsWith(`${dir}/`)))
    .map(Number);
}

function commandOf(pid: string): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
  } catch {
    return []; // it ended meanwhile
  }
}

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer());
  const ports: number[] = [];
  for (const server of servers) {
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    ports.push((server.address() as { port: number }).port);
  }
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
