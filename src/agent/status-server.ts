/**
 * The agent's local interface: HTTP over a Unix socket in the state directory, behind `abs agent
 * status`, `abs capture` and others. design/agent.md "Local interface". Root alone may open it.
 */
import { chmodSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Shim } from "../dataplane/shim.ts";
import { AbsError, messageOf } from "../errors.ts";
import { RecentEvents } from "../observe/recent-events.ts";
import type { AgentOptions } from "./agent.ts";
import type { AgentLedger } from "./agent-ledger.ts";
import type { AgentManager } from "./agent-manager.ts";
import type { AgentPorts } from "./agent-ports.ts";
import { OutsideCapture } from "./outside-capture.ts";
import type { RuleHitCounts, RuleHits } from "./rule-hits.ts";
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
  readonly manager: AgentManager | undefined;
  readonly updates: AgentUpdates;
  readonly ruleHits: RuleHitCounts;
}

export class StatusServer {
  readonly #server: { stop: (closeActive?: boolean) => unknown };
  readonly #path: string;
  readonly #recent: RecentEvents;
  readonly #capture: OutsideCapture;

  constructor(
    stateDir: string,
    readonly parts: StatusParts,
  ) {
    this.#recent = new RecentEvents(parts.options.events);
    const { events, allowsKeyLog } = parts.options;
    const carriers = () => parts.updates.running.provisioning.carriers;
    this.#capture = new OutsideCapture({ ...parts, events, allowsKeyLog, carriers });
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
    this.#recent.close();
    this.#capture.close();
    this.#server.stop(true);
    rmSync(this.#path, { force: true });
  }

  async #answer(request: Request): Promise<Response> {
    const { pathname: path, searchParams } = new URL(request.url);
    if (path === "/events") {
      const since = Number(searchParams.get("since")) || 0;
      return this.#recent.answer(since, searchParams.get("follow") === "1");
    }
    if (path === "/capture") return this.#captureAnswer(searchParams);
    if (path === "/capture-end" && request.method === "POST") {
      this.#capture.end();
      return Response.json({});
    }
    if (path === "/status") {
      const { ledger, manager } = this.parts;
      return Response.json({
        ...this.#status(),
        ...(ledger === undefined ? {} : { ledger: await ledger.status() }),
        ...(manager === undefined ? {} : { manager: manager.status }),
      });
    }
    if (path === "/rule-hits") return Response.json(this.parts.ruleHits.all);
    const isReload = path === "/reload" && request.method === "POST";
    if (isReload) return Response.json(await reloadAnswer(this.parts.updates));
    return Response.json({ error: `there is no ${path}` }, { status: 404 });
  }

  #captureAnswer(words: URLSearchParams): Response {
    const optional = (name: string) => words.get(name) ?? undefined;
    const limit = (name: string) => Number(words.get(name)) || Number.POSITIVE_INFINITY;
    try {
      const stream = this.#capture.begin({
        ...{ host: optional("host"), direction: optional("direction"), kind: optional("kind") },
        keylog: words.get("keylog") === "1",
        packets: limit("packets"),
        seconds: limit("seconds"),
      });
      return new Response(stream);
    } catch (error) {
      return Response.json(plainError(error), { status: 409 });
    }
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
      events: {
        ...{ written: options.events.written, lost: options.events.lost },
        ...(options.sinks === undefined ? {} : { sinks: options.sinks.status }),
      },
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

/** An AbsError on its way to another process. */
type PlainError = { readonly code: string; readonly message: string; readonly remedy: string };

function plainError(error: unknown): PlainError {
  const { code, remedy } = error instanceof AbsError ? error : { code: "FAILED", remedy: "" };
  return { code, message: messageOf(error), remedy };
}

/** What a reload came to: enforced, unchanged, or refused and why; and what is in force now. */
export type ReloadAnswer =
  | UpdateResult
  | {
      readonly state: "refused";
      readonly error: PlainError;
      readonly enforced: Enforced;
    };

async function reloadAnswer(updates: AgentUpdates): Promise<ReloadAnswer> {
  try {
    return await updates.reload();
  } catch (error) {
    return { state: "refused", error: plainError(error), enforced: updates.enforced };
  }
}

/** Makes that agent read its provisioning again. @throws AbsError AGENT_NOT_RUNNING */
export async function askReload(stateDir: string): Promise<ReloadAnswer> {
  return (await ask(stateDir, "/reload", "POST")) as ReloadAnswer;
}

/** How often its rules have decided, by rule. @throws AbsError AGENT_NOT_RUNNING */
export async function readRuleHits(stateDir: string): Promise<Readonly<Record<string, RuleHits>>> {
  return (await ask(stateDir, "/rule-hits", "GET")) as Readonly<Record<string, RuleHits>>;
}

/** Asks the agent that uses `stateDir`. @throws AbsError AGENT_NOT_RUNNING */
export async function readStatus(stateDir: string): Promise<unknown> {
  return await ask(stateDir, "/status", "GET");
}

/**
 * Lines of the agent's last events since `sinceMs` (UNIX time), and, following, of those that come.
 * @throws AbsError AGENT_NOT_RUNNING
 */
export async function readEvents(
  stateDir: string,
  sinceMs: number,
  isFollowing: boolean,
): Promise<AsyncIterable<Uint8Array>> {
  const what = `/events?since=${sinceMs}&follow=${isFollowing ? 1 : 0}`;
  return (await request(stateDir, what, "GET")).body ?? new Blob([]).stream();
}

/**
 * Blocks of a capture that begins now, until its limits or endCapture().
 * @throws AbsError AGENT_NOT_RUNNING, and the agent's own
 */
export async function readCapture(
  stateDir: string,
  words: Readonly<Record<string, string>>,
): Promise<AsyncIterable<Uint8Array>> {
  const answer = await request(stateDir, `/capture?${new URLSearchParams(words)}`, "GET");
  if (answer.ok) return answer.body ?? new Blob([]).stream();
  const { code, message, remedy } = (await answer.json()) as PlainError;
  throw new AbsError(code, message, remedy);
}

/** The capture at hand is sent to its end. @throws AbsError AGENT_NOT_RUNNING */
export async function endCapture(stateDir: string): Promise<void> {
  await ask(stateDir, "/capture-end", "POST");
}

async function ask(stateDir: string, what: string, method: string): Promise<unknown> {
  return await (await request(stateDir, what, method)).json();
}

async function request(stateDir: string, what: string, method: string): Promise<Response> {
  const path = join(stateDir, SOCKET_NAME);
  try {
    return await fetch(`http://agent${what}`, { unix: path, method, timeout: false });
  } catch (cause) {
    throw new AbsError(
      "AGENT_NOT_RUNNING",
      `No agent answers at ${path}: ${messageOf(cause)}.`,
      "Start one with `abs agent run`, or name its folder: --state DIR.",
      cause,
    );
  }
}
