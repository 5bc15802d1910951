/**
 * What a switch lacks and what it has too much of: the rules that should be there against those of
 * ours that are. Pure. Works the same after a restart of either side and after each change.
 */
import { matchKey } from "./flow-match.ts";
import { type DropRule, HARD_SECONDS_MAX, type InstalledRule } from "./flow-table.ts";

/** A rule of the switch may last so much shorter or longer than it should. */
const TOLERANCE_SECONDS = 60;

export type Difference = {
  readonly adds: readonly DropRule[];
  readonly removes: readonly InstalledRule[];
};

export function difference(
  wanted: readonly DropRule[],
  installed: readonly InstalledRule[],
): Difference {
  const missing = new Map(oncePerMatch(wanted).map((rule) => [matchKey(rule.match), rule]));
  const removes: InstalledRule[] = [];
  for (const rule of installed) {
    const asked = missing.get(matchKey(rule.match));
    if (asked === undefined || !rule.isWhole) {
      removes.push(rule);
      continue;
    }
    const isSame = rule.cookie === undefined || rule.cookie === asked.cookie;
    const isTimely = hasTime(asked.seconds, rule.secondsLeft);
    // Adding it again replaces it.
    if (isSame && isTimely) missing.delete(matchKey(rule.match));
  }
  return { adds: [...missing.values()], removes };
}

/** What is to last longer than a switch can be told is told again when half of it is over. */
function hasTime(wantedSeconds: number, leftSeconds: number): boolean {
  if (wantedSeconds >= HARD_SECONDS_MAX) return leftSeconds > HARD_SECONDS_MAX / 2;
  return Math.abs(wantedSeconds - leftSeconds) <= TOLERANCE_SECONDS;
}

/** Each match once, as a table can hold it only once: of several the one that lasts longest. */
function oncePerMatch(rules: readonly DropRule[]): DropRule[] {
  const byMatch = new Map<string, DropRule>();
  for (const rule of rules) {
    const other = byMatch.get(matchKey(rule.match));
    if (other === undefined || other.seconds < rule.seconds) {
      byMatch.set(matchKey(rule.match), rule);
    }
  }
  return [...byMatch.values()];
}
