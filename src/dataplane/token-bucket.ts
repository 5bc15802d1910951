/**
 * Rate limits: a bucket for each small number such as a peer, a kind of event, or the hash of a
 * source address. Times are monotonic microseconds.
 * Hot path. Fixed memory: eight bytes a bucket, the time at which it is full again (the generic
 * cell rate algorithm of ITU-T I.371). Keys equal modulo the bucket count share a bucket.
 */
import { assert } from "../errors.ts";

export class TokenBuckets {
  private readonly fullAtUs: Float64Array;
  private readonly intervalUs: number;
  private readonly toleranceUs: number;

  /**
   * @param buckets how many
   * @param ratePerSecond tokens that come back a second
   * @param depth tokens in a full bucket
   */
  constructor(
    readonly buckets: number,
    ratePerSecond: number,
    depth: number,
  ) {
    assert(buckets >= 1 && ratePerSecond > 0 && depth >= 1, "rate limit out of range");
    this.fullAtUs = new Float64Array(buckets).fill(Number.NEGATIVE_INFINITY);
    this.intervalUs = 1e6 / ratePerSecond;
    // Half an interval of slack, so that rounding never costs the last token.
    this.toleranceUs = (depth - 0.5) * this.intervalUs;
  }

  /** Takes one token of `key` (any whole number); false when there is none. */
  take(key: number, nowUs: number): boolean {
    const bucket = (key >>> 0) % this.buckets;
    const from = Math.max(this.fullAtUs[bucket], nowUs);
    if (from - nowUs > this.toleranceUs) return false;
    this.fullAtUs[bucket] = from + this.intervalUs;
    return true;
  }
}
