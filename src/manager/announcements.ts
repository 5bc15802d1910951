/**
 * Who is connected, and what they are told: that their tenant has another version. Each agent then
 * fetches its whole state, so a tenant is not told more often than once a second, and where agents
 * enrol one after another ever more rarely: a hundred that come in one minute must not be a hundred
 * times a hundred states. docs/manager.md "Updates".
 */
import type { AgentSession } from "./agent-session.ts";
import type { ChangeKind, Tenants } from "./tenants.ts";

/** A command often changes several things. */
const FIRST_MS = 100;
const AGAIN_MS = 1000;
/** Between two tellings of newcomers, as long as they keep coming. */
const NEWCOMERS_MS_MAX = 5000;

type Telling = {
  readonly sessions: Set<AgentSession>;
  timer: Timer | undefined;
  dueMs: number;
  lastMs: number;
  /** After the last telling, before newcomers are told of. */
  newcomersMs: number;
};

export class Announcements {
  readonly #tellings = new Map<string, Telling>();

  constructor(private readonly tenants: Tenants) {
    tenants.onChange = (tenant, kind) => this.#plan(tenant, kind);
  }

  /**
   * A session begins; it hears at once what it should have, or soon with all others of its tenant.
   * @returns what ends it
   */
  join(session: AgentSession): () => void {
    const telling = this.#tellingOf(session.tenant);
    telling.sessions.add(session);
    if (telling.timer === undefined) {
      session.announce(this.tenants.need(session.tenant).version);
    }
    return () => telling.sessions.delete(session);
  }

  /** The ledger of a tenant may have got further: what waited for it goes on. */
  followLedger(tenant: string): void {
    for (const session of this.#tellings.get(tenant)?.sessions ?? []) session.followLedger();
  }

  close(): void {
    this.tenants.onChange = () => {};
    for (const { timer } of this.#tellings.values()) clearTimeout(timer);
    this.#tellings.clear();
  }

  #tellingOf(tenant: string): Telling {
    const known = this.#tellings.get(tenant);
    if (known !== undefined) return known;
    const never = Number.NEGATIVE_INFINITY;
    const telling: Telling = {
      ...{ sessions: new Set(), timer: undefined, dueMs: 0, lastMs: never, newcomersMs: AGAIN_MS },
    };
    this.#tellings.set(tenant, telling);
    return telling;
  }

  #plan(tenant: string, kind: ChangeKind): void {
    const telling = this.#tellingOf(tenant);
    const nowMs = performance.now();
    const pauseMs = kind === "newcomer" ? telling.newcomersMs : AGAIN_MS;
    const dueMs = Math.max(nowMs + FIRST_MS, telling.lastMs + pauseMs);
    if (telling.timer !== undefined && telling.dueMs <= dueMs) return;
    clearTimeout(telling.timer);
    telling.dueMs = dueMs;
    telling.timer = setTimeout(() => this.#tell(tenant, telling), dueMs - nowMs);
  }

  #tell(tenant: string, telling: Telling): void {
    const nowMs = performance.now();
    const isRush = nowMs - telling.lastMs < 2 * telling.newcomersMs;
    telling.newcomersMs = isRush ? Math.min(NEWCOMERS_MS_MAX, 2 * telling.newcomersMs) : AGAIN_MS;
    telling.timer = undefined;
    telling.lastMs = nowMs;
    if (telling.sessions.size === 0) return;
    const { version } = this.tenants.need(tenant);
    for (const session of telling.sessions) session.announce(version);
  }
}
