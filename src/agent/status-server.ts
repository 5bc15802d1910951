/**
 * The agent's local interface: HTTP over a Unix socket in the state directory, behind `abs agent
 * status`. design/agent.md "Local interface". It only reads; root alone may open the socket.
 */
import { chmodSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Shim } from "../dataplane/shim.ts";
import { AbsError, messageOf } from "../errors.ts";
import type { AgentOptions } from "./agent.ts";
import type { AgentLedger } from "./agent-ledger.ts";
import type { AgentPorts } from "./agent-ports.ts";
import type { SessionDriver } from "./session-driver.ts";
import type { AgentUpdates, Enforced, UpdateResult } from "./updates.ts";
import type { WorkerLink } from "./worker-link.ts";

export const SOCKET_NAME = "agent.sock";
/** A reload compiles as long as it takes. Bun's types know this of TCP only. */
const LASTING: object = { idleTimeout: 0 };
/** sun_path of struct sockaddr_un. */
const SOCKET_PATH_BYTES_MAX = 107;

export interface StatusParts {
  readonly worker: WorkerLink;
  readonly driver: SessionDriver;
  readonly shim: Shim;
  readonly ports: AgentPorts;
  readonly options: AgentOptions;
  readonly ledger: AgentLedger | undefined;
  readonly updates: AgentUpdates;
}

export class StatusServer {
  readonly #server: { stop: (closeActive?: boolean) => unknown };
  readonly #path: string;

  constructor(
    stateDir: string,
    readonly parts: StatusParts,
  ) {
    this.#path = join(stateDir, SOCKET_NAME);
    if (Buffer.byteLength(this.#path) > SOCKET_PATH_BYTES_MAX) {
      throw new AbsError(
        "STATE_PATH_LONG",
        `The path ${this.#path} is too long for a socket.`,
        `Give a shorter --state DIR: the path may have ${SOCKET_PATH_BYTES_MAX} bytes.`,
      );
    }
    rmSync(this.#path, { force: true });
    this.#server = Bun.serve({
      unix: this.#path,
      fetch: (request) => this.#answer(request),
      ...LASTING,
    });
    chmodSync(this.#path, 0o600);
  }

  close(): void {
    this.#server.stop(true);
    rmSync(this.#path, { force: true });
  }

  async #answer(request: Request): Promise<Response> {
    const path = new URL(request.url).pathname;
    if (path === "/status") {
      const ledger = await this.parts.ledger?.status();
      return Response.json({ ...this.#status(), ...(ledger === undefined ? {} : { ledger }) });
    }
    const isReload = path === "/reload" && request.method === "POST";
    if (isReload) return Response.json(await reloadAnswer(this.parts.updates));
    return Response.json({ error: `there is no ${path}` }, { status: 404 });
  }

  #status() {
    const { worker, driver, shim, ports, options, updates } = this.parts;
    const { provisioning } = updates.running;
    const all = [...worker.counters.read()];
    const drops = all.filter(([name]) => name.startsWith("in:") || name.startsWith("out:"));
    return {
      node: provisioning.node.id,
      mode: provisioning.node.mode,
      pid: process.pid,
      enforced: updates.enforced,
      uptimeSeconds: Math.floor(process.uptime()),
      residentBytes: process.memoryUsage.rss(),
      cpuSeconds: (process.cpuUsage().user + process.cpuUsage().system) / 1e6,
      counters: Object.fromEntries(all.filter((entry) => !drops.includes(entry))),
      drops: Object.fromEntries(drops),
      poolAvailable: shim.symbols.abs_pool_available(),
      ports: {
        inside: shim.portStats(ports.insidePort),
        outside: shim.portStats(ports.outsidePort),
      },
      events: { written: options.events.written, lost: options.events.lost },
      sessions: [...driver.installed.values()].map((session) => ({
        slot: session.slot,
        peer: provisioning.peers[session.peer]?.id ?? String(session.peer),
        app: session.tag === 0 ? null : (provisioning.tags[session.tag]?.name ?? null),
        role: session.myRole,
        initiator: session.initiator,
        under: session.under,
        packetsSent: worker.sessions.sent(session.slot),
      })),
    };
  }
}

/** What a reload came to: enforced, unchanged, or refused and why; and what is in force now. */
export type ReloadAnswer =
  | UpdateResult
  | {
      readonly state: "refused";
      readonly error: { readonly code: string; readonly message: string; readonly remedy: string };
      readonly enforced: Enforced;
    };

async function reloadAnswer(updates: AgentUpdates): Promise<ReloadAnswer> {
  try {
    return await updates.reload();
  } catch (error) {
    const { code, remedy } = error instanceof AbsError ? error : { code: "FAILED", remedy: "" };
    const { enforced } = updates;
    return { state: "refused", error: { code, message: messageOf(error), remedy }, enforced };
  }
}

/** Makes that agent read its provisioning again. @throws AbsError AGENT_NOT_RUNNING */
export async function askReload(stateDir: string): Promise<ReloadAnswer> {
  return (await ask(stateDir, "/reload", "POST")) as ReloadAnswer;
}

/** Asks the agent that uses `stateDir`. @throws AbsError AGENT_NOT_RUNNING */
export async function readStatus(stateDir: string): Promise<unknown> {
  return await ask(stateDir, "/status", "GET");
}

async function ask(stateDir: string, what: string, method: string): Promise<unknown> {
  const path = join(stateDir, SOCKET_NAME);
  try {
    const response = await fetch(`http://agent${what}`, { unix: path, method, timeout: false });
    return await response.json();
  } catch (cause) {
    throw new AbsError(
      "AGENT_NOT_RUNNING",
      `No agent answers at ${path}: ${messageOf(cause)}.`,
      "Start one with `abs agent run`, or name its folder: --state DIR.",
      cause,
    );
  }
}
