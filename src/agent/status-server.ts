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
import type { WorkerLink } from "./worker-link.ts";

export const SOCKET_NAME = "agent.sock";
/** sun_path of struct sockaddr_un. */
const SOCKET_PATH_BYTES_MAX = 107;

export interface StatusParts {
  readonly worker: WorkerLink;
  readonly driver: SessionDriver;
  readonly shim: Shim;
  readonly ports: AgentPorts;
  readonly options: AgentOptions;
  readonly ledger: AgentLedger | undefined;
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
      fetch: (request) => this.#answer(new URL(request.url).pathname),
    });
    chmodSync(this.#path, 0o600);
  }

  close(): void {
    this.#server.stop(true);
    rmSync(this.#path, { force: true });
  }

  async #answer(path: string): Promise<Response> {
    if (path === "/status") {
      const ledger = await this.parts.ledger?.status();
      return Response.json({ ...this.#status(), ...(ledger === undefined ? {} : { ledger }) });
    }
    return Response.json({ error: `there is no ${path}` }, { status: 404 });
  }

  #status() {
    const { worker, driver, shim, ports, options } = this.parts;
    const { provisioning } = options;
    const all = [...worker.counters.read()];
    const drops = all.filter(([name]) => name.startsWith("in:") || name.startsWith("out:"));
    return {
      node: provisioning.node.id,
      mode: provisioning.node.mode,
      pid: process.pid,
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

/** Asks the agent that uses `stateDir`. @throws AbsError AGENT_NOT_RUNNING */
export async function readStatus(stateDir: string): Promise<unknown> {
  const path = join(stateDir, SOCKET_NAME);
  try {
    const response = await fetch("http://agent/status", { unix: path });
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
