/**
 * Who is connected, and what they are told: that their tenant has another version. Not more often
 * than once a second a tenant, as each agent then fetches its whole state: a hundred agents that
 * enrol in one minute must not be a hundred times a hundred states. docs/manager.md "Updates".
 */
import type { AgentSession } from "./agent-session.ts";
import type { Tenants } from "./tenants.ts";

/** A command often changes several things. */
const FIRST_MS = 100;
const AGAIN_MS = 1000;

export class Announcements {
  readonly #sessions = new Map<string, Set<AgentSession>>();
  readonly #timers = new Map<string, Timer>();
  readonly #lastMs = new Map<string, number>();

  constructor(private readonly tenants: Tenants) {
    tenants.onChange = (tenant) => this.#plan(tenant);
  }

  /** A session begins; it hears at once what it should have. @returns what ends it */
  join(session: AgentSession): () => void {
    const { tenant } = session;
    const sessions = this.#sessions.get(tenant) ?? new Set();
    this.#sessions.set(tenant, sessions);
    sessions.add(session);
    session.announce(this.tenants.need(tenant).version);
    return () => {
      sessions.delete(session);
      if (sessions.size === 0 && this.#sessions.get(tenant) === sessions) {
        this.#sessions.delete(tenant);
      }
    };
  }

  close(): void {
    this.tenants.onChange = () => {};
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
  }

  #plan(tenant: string): void {
    if (this.#timers.has(tenant)) return;
    const sinceMs = performance.now() - (this.#lastMs.get(tenant) ?? Number.NEGATIVE_INFINITY);
    const waitMs = Math.max(FIRST_MS, AGAIN_MS - sinceMs);
    this.#timers.set(
      tenant,
      setTimeout(() => this.#tell(tenant), waitMs),
    );
  }

  #tell(tenant: string): void {
    this.#timers.delete(tenant);
    this.#lastMs.set(tenant, performance.now());
    const sessions = this.#sessions.get(tenant);
    if (sessions === undefined) return;
    const { version } = this.tenants.need(tenant);
    for (const session of sessions) session.announce(version);
  }
}
