/**
 * Lock-out after wrong passwords. docs/api.md "Lock-out". Counted by source and account together,
 * by source alone, and by account alone; the last has the most patience and the shortest lock, as
 * anybody can provoke it. Each lock is twice as long as the one before. Pure: time is passed in.
 * Kept in memory: a restart forgets it, and nobody outside can restart the manager.
 */

export type LockRule = {
  /** Wrong passwords that are forgiven. */
  readonly patience: number;
  readonly firstLockMs: number;
  readonly lockMsMax: number;
};

const MINUTE_MS = 60_000;
const RULES = {
  pair: { patience: 5, firstLockMs: 30_000, lockMsMax: 60 * MINUTE_MS },
  source: { patience: 20, firstLockMs: 30_000, lockMsMax: 60 * MINUTE_MS },
  account: { patience: 50, firstLockMs: 30_000, lockMsMax: 5 * MINUTE_MS },
} as const satisfies Readonly<Record<string, LockRule>>;
type Kind = keyof typeof RULES;

const FORGET_MS = 24 * 60 * MINUTE_MS;
/** The oldest is forgotten for a new one. */
const ENTRIES_MAX = 10_000;

/** What is counted, and under which name. */
type Key = readonly [Kind, string];
type Entry = { failures: number; lockedUntilMs: number; lastMs: number };

export class LoginThrottle {
  readonly #entries = new Map<string, Entry>();

  /** Milliseconds until this account may try again from this source; 0: now. */
  waitMs(account: string, source: string, nowMs: number): number {
    const waits = keysOf(account, source).map(([, key]) => {
      const entry = this.#entries.get(key);
      return entry === undefined ? 0 : entry.lockedUntilMs - nowMs;
    });
    return Math.max(0, ...waits);
  }

  failed(account: string, source: string, nowMs: number): void {
    for (const [kind, key] of keysOf(account, source)) {
      const known = this.#entries.get(key);
      const isFresh = known === undefined || nowMs - known.lastMs > FORGET_MS;
      const failures = isFresh ? 1 : known.failures + 1;
      const { patience, firstLockMs, lockMsMax } = RULES[kind];
      const over = failures - patience;
      const lockMs = over < 0 ? 0 : Math.min(lockMsMax, firstLockMs * 2 ** over);
      // Deleted first: the order of a Map is that of insertion, so the oldest is at its front.
      this.#entries.delete(key);
      this.#entries.set(key, { failures, lockedUntilMs: nowMs + lockMs, lastMs: nowMs });
    }
    for (const key of this.#entries.keys()) {
      if (this.#entries.size <= ENTRIES_MAX) break;
      this.#entries.delete(key);
    }
  }

  /** The right password: what this source did wrong with it is forgiven. */
  succeeded(account: string, source: string): void {
    const [[, pair]] = keysOf(account, source);
    this.#entries.delete(pair);
  }
}

function keysOf(account: string, source: string): [Key, Key, Key] {
  return [
    ["pair", `pair ${source} ${account}`],
    ["source", `source ${source}`],
    ["account", `account ${account}`],
  ];
}
