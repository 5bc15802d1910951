/**
 * What keeps quarantine at a switch, whatever it speaks: a table of rules, of which ours are told
 * by their cookie. Rules of others are never listed, changed or removed.
 */
import type { FlowMatch } from "./flow-match.ts";

/** Above what others use: a quarantined host is dropped whatever else would have it forwarded. */
export const DROP_PRIORITY = 65_500;
/** In any table of a switch; more are refused before they come here. */
export const RULES_MAX = 4096;
/** What 16 bits hold: the longest time that a switch keeps a rule without hearing of us. */
export const HARD_SECONDS_MAX = 65_535;

/** What matches is dropped. */
export type DropRule = {
  readonly cookie: bigint;
  readonly match: FlowMatch;
  /** Until it goes by itself; 1 to HARD_SECONDS_MAX. */
  readonly seconds: number;
};

/** One of ours, as the switch has it. */
export type InstalledRule = {
  /** Undefined: the controller keeps cookies to itself. */
  readonly cookie: bigint | undefined;
  readonly match: FlowMatch;
  /** It is as we make them: priority, table, time-out, and drops. Else it goes. */
  readonly isWhole: boolean;
  /** Until it goes by itself. */
  readonly secondsLeft: number;
  /** To name it when it goes: its table, or its id at the controller. */
  readonly handle: string;
};

/** One switch. Everything fails with an AbsError when it cannot be reached or refuses. */
export type FlowTable = {
  readonly installed: () => Promise<readonly InstalledRule[]>;
  /** Resolves when the switch has done it. */
  readonly change: (adds: readonly DropRule[], removes: readonly InstalledRule[]) => Promise<void>;
};

/**
 * Cookies of one manager: 20 bits that say whose, 32 that say which quarantine. Together they are
 * below 2^53, so that they survive JSON of every kind.
 */
export class CookieRange {
  readonly first: bigint;
  readonly mask = 0xffffffff00000000n;

  /** @param owner any number that stays the same; its low 19 bits count */
  constructor(owner: number) {
    // Never 0: cookies that nobody chose are.
    this.first = BigInt((owner & 0x7ffff) | 0x80000) << 32n;
  }

  of(quarantine: number): bigint {
    return this.first | BigInt(quarantine >>> 0);
  }

  has(cookie: bigint): boolean {
    return (cookie & this.mask) === this.first;
  }
}
