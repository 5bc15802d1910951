/**
 * Token buckets: how many handshakes a source address gets under load, and how many cookie replies
 * go out in all. docs/wire.md "Cookie". Fixed memory: sources share buckets by a keyed hash, so a
 * stranger cannot choose whose bucket to drain; only sources that showed a cookie come here.
 */
import type { Micros } from "../units.ts";
import { shortMac } from "./mac.ts";

const BUCKETS = 1024;
const MICROS_PER_SECOND = 1_000_000;

/** Many buckets of one rate. */
export class SourceBuckets {
  private readonly tokens: Float64Array;
  private readonly filledAt = new Float64Array(BUCKETS);

  constructor(
    private readonly key: Uint8Array,
    private readonly limits: { readonly perSecond: number; readonly burst: number },
  ) {
    this.tokens = new Float64Array(BUCKETS).fill(limits.burst);
  }

  /** Takes one token of this address; false when there is none. */
  take(address: Uint8Array, now: Micros): boolean {
    const digest = shortMac(this.key, address);
    return this.takeFrom((((digest[0] ?? 0) << 8) | (digest[1] ?? 0)) % BUCKETS, now);
  }

  /** Takes one token of a bucket chosen by number: for limits that know no source. */
  takeFrom(bucket: number, now: Micros): boolean {
    const { perSecond, burst } = this.limits;
    const elapsed = Math.max(0, now - (this.filledAt[bucket] ?? 0));
    const filled = (this.tokens[bucket] ?? 0) + (elapsed * perSecond) / MICROS_PER_SECOND;
    this.filledAt[bucket] = now;
    this.tokens[bucket] = Math.min(burst, filled);
    if (filled < 1) return false;
    this.tokens[bucket] = Math.min(burst, filled) - 1;
    return true;
  }
}
