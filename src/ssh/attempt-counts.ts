/**
 * How often something was tried by each of many, in a minute: whoever tries more often has to wait
 * for the next one. docs/manager-channel.md "Limits". What is kept is bounded, and forgotten.
 */

const MINUTE_MS = 60_000;
const NAMES_MAX = 65_536;

export class AttemptCounts {
  readonly #counts = new Map<string, number>();
  #sinceMs = Number.NEGATIVE_INFINITY;

  constructor(private readonly perMinuteMax: number) {}

  /** Counts one; false: it is one too many in this minute. */
  add(name: string, nowMs: number): boolean {
    if (nowMs - this.#sinceMs >= MINUTE_MS || this.#counts.size >= NAMES_MAX) {
      this.#counts.clear();
      this.#sinceMs = nowMs;
    }
    const count = (this.#counts.get(name) ?? 0) + 1;
    this.#counts.set(name, count);
    return count <= this.perMinuteMax;
  }
}
