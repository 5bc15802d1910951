/** How many requests come from one address: a bucket each. docs/api.md "Limits". */
import { RateLimit } from "../../peer/rate-limit.ts";

const RATE = { perSecond: 100, burst: 300 };
/** The oldest is forgotten for a new one. */
const SOURCES_MAX = 4096;

export class SourceRates {
  readonly #rates = new Map<string, RateLimit>();

  /** Milliseconds to wait before the next request is taken; 0: this one is. */
  take(address: string, nowMs: number): number {
    const rate = this.#rates.get(address) ?? new RateLimit(RATE, nowMs);
    this.#rates.delete(address);
    this.#rates.set(address, rate);
    for (const oldest of this.#rates.keys()) {
      if (this.#rates.size <= SOURCES_MAX) break;
      this.#rates.delete(oldest);
    }
    const waitMs = rate.take(1, nowMs);
    // What is refused is not owed: who comes again in time is served.
    if (waitMs > 0) rate.take(-1, nowMs);
    return waitMs;
  }
}
