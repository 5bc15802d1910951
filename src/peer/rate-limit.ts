/**
 * A token bucket that may go into debt: what came has come, the next is read when the debt is paid.
 * So a peer that sends too fast is slowed by TCP itself, and nothing of an honest one is lost.
 */

export type Rate = { readonly perSecond: number; readonly burst: number };

export class RateLimit {
  private tokens: number;

  constructor(
    private readonly rate: Rate,
    private lastMs: number,
  ) {
    this.tokens = rate.burst;
  }

  /** Takes `count` tokens; how many milliseconds to wait before more may come, 0 for none. */
  take(count: number, nowMs: number): number {
    const { perSecond, burst } = this.rate;
    const earned = (Math.max(0, nowMs - this.lastMs) * perSecond) / 1000;
    this.tokens = Math.min(burst, this.tokens + earned) - count;
    this.lastMs = nowMs;
    return this.tokens >= 0 ? 0 : Math.ceil((-this.tokens * 1000) / perSecond);
  }
}
