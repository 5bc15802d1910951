/**
 * How many pairs of addresses a worker has been told of since its start. It never gives one back,
 * since flows name it (dataplane/address-pairs.ts); an update that would not fit must be refused
 * before anything changes.
 */
import { AbsError } from "../errors.ts";
import { PAIR_WORDS, type SnapshotFields } from "./snapshot-fields.ts";

/** IP version and both addresses. */
const KEY_WORDS = 9;

export class PairCensus {
  readonly #known = new Set<string>();

  constructor(readonly capacity: number) {}

  /** Counts the pairs of a snapshot. Throws AbsError `PAIRS_FULL`, and counts none then. */
  add({ pairs }: SnapshotFields): void {
    const fresh = new Set<string>();
    for (let at = 0; at + PAIR_WORDS <= (pairs?.length ?? 0); at += PAIR_WORDS) {
      const key = pairs?.slice(at, at + KEY_WORDS).join(" ") ?? "";
      if (!this.#known.has(key)) fresh.add(key);
    }
    const count = this.#known.size + fresh.size;
    if (count > this.capacity) {
      const message = `Since its start this agent was told of ${count} pairs of addresses; `;
      throw new AbsError("PAIRS_FULL", `${message}${this.capacity} fit.`, "Restart the agent.");
    }
    for (const key of fresh) this.#known.add(key);
  }
}
