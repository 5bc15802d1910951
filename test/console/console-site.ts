/**
 * `abs manager serve` as it is installed, agents that enrolled with it, an account of each role,
 * and Chromium in front of its console.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { ensureKeys, loadManager } from "../../src/channel/agent-folder.ts";
import { AgentIdentity } from "../../src/channel/agent-identity.ts";
import { type FlowRow, flowsFrame } from "../../src/channel/flow-report.ts";
import { ManagerLink } from "../../src/channel/manager-link.ts";
import { type Background, mustRun, startBackground, waitFor } from "../../src/lab/command.ts";
import type { AdminRole } from "../../src/manager/administrators.ts";
import { freePort } from "../free-port.ts";
import { accountOf, ConsoleBrowser, WAIT_MS } from "./console-browser.ts";

const ABS = process.env["ABS_PROGRAM"] ?? resolve(import.meta.dir, "../../dist/abs");

export class ConsoleSite {
  #manager: Background | undefined;

  private constructor(
    readonly base: string,
    readonly port: number,
    readonly sshPort: number,
    readonly browser: ConsoleBrowser,
  ) {}

  static async open(agents: readonly string[] = []): Promise<ConsoleSite> {
    const base = mkdtempSync(join(tmpdir(), "abs-console-"));
    const port = await freePort();
    const browser = await ConsoleBrowser.open(urlOf(port));
    const site = new ConsoleSite(base, port, await freePort(), browser);
    await site.start();
    await site.ask(["tenant", "add", "t1", "--peer-port", `${await freePort()}`]);
    for (const role of ["viewer", "operator", "administrator"] as const) await site.#account(role);
    for (const [i, name] of agents.entries()) await site.enrol(name, `10.80.0.${i + 1}`);
    return site;
  }

  get url(): string {
    return urlOf(this.port);
  }

  get dir(): string {
    return join(this.base, "manager");
  }

  async start(): Promise<void> {
    const places = ["--address", `127.0.0.1:${this.sshPort}`, "--api", `127.0.0.1:${this.port}`];
    const words = [ABS, "manager", "serve", "--dir", this.dir, ...places];
    const logFile = join(this.base, "manager.log");
    this.#manager = startBackground(words, { logFile });
    const isUp = async () => (await fetch(`${this.url}/console/`).catch(() => undefined))?.ok;
    await waitFor("the manager", async () => (await isUp()) || undefined, WAIT_MS);
  }

  async stop(): Promise<void> {
    await this.#manager?.stop();
  }

  /** A command of the administrator on this machine. */
  async ask(words: readonly string[], input?: string): Promise<string> {
    const argv = [ABS, "manager", ...words, "--dir", this.dir];
    const result = await mustRun(argv, input === undefined ? {} : { input });
    return result.stdout.trim();
  }

  async enrol(name: string, address: string): Promise<void> {
    const group = name.replace(/\d+$/, "");
    const invite = ["invite", "--name", name, "--tenant", "t1", "--group", group];
    const token = await this.ask(invite);
    const folder = join(this.base, name);
    const words = [ABS, "agent", "enroll", "-", "--dir", folder, "--address", address];
    await mustRun(words, { input: token });
  }

  /** The agent, connected as its data plane would be, tells what it decided. */
  async report(name: string, rows: readonly FlowRow[]): Promise<void> {
    const folder = join(this.base, name);
    const manager = loadManager(folder);
    const identity = AgentIdentity.in(folder, ensureKeys(folder).secrets);
    const link = new ManagerLink({
      ...{ manager, identity, version: manager.version },
      ...{ apply: () => {}, notice: () => {} },
    });
    try {
      const told = () => (link.tell(flowsFrame(rows)) ? true : undefined);
      await waitFor(`${name} at its manager`, told, WAIT_MS);
      const isThere = async () => {
        const listed = await this.ask(["flows", "list", "--tenant", "t1", "--agent", name]);
        return rows.every(({ rule }) => listed.includes(rule)) || undefined;
      };
      await waitFor(`flows of ${name}`, isThere, WAIT_MS);
    } finally {
      await link.stop();
    }
  }

  async #account(role: AdminRole): Promise<void> {
    const { words, input } = accountOf(role);
    await this.ask(words, input);
  }

  async close(): Promise<void> {
    await this.browser.close();
    await this.stop();
    rmSync(this.base, { recursive: true });
  }
}

function urlOf(port: number): string {
  return `http://127.0.0.1:${port}`;
}
