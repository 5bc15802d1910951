/**
 * Makes a failing scenario smaller: without the faults and lies that it does not need, with shorter
 * faults, as long as it still fails. Greedy and bounded; what is left replays exactly.
 */
import type { Scenario } from "./scenario.ts";

/** Scenarios tried at most. */
const TRIES_MAX = 120;

/** The smallest failing scenario found; `fails` plays one and says whether something broke. */
export function shrink(scenario: Scenario, fails: (smaller: Scenario) => boolean): Scenario {
  let best = scenario;
  let tries = 0;
  for (let isSmaller = true; isSmaller && tries < TRIES_MAX; ) {
    isSmaller = false;
    for (const smaller of smallerOnes(best)) {
      if (++tries > TRIES_MAX) break;
      if (!fails(smaller)) continue;
      best = smaller;
      isSmaller = true;
      break;
    }
  }
  return best;
}

/** The boldest first. */
function* smallerOnes(scenario: Scenario): IterableIterator<Scenario> {
  const { faults, lies, heights } = scenario;
  if (lies.length > 0) yield { ...scenario, lies: [] };
  if (faults.length > 0) yield { ...scenario, faults: [] };
  if (faults.length > 3) {
    const half = faults.length >> 1;
    yield { ...scenario, faults: faults.slice(0, half) };
    yield { ...scenario, faults: faults.slice(half) };
  }
  for (const lie of lies) yield { ...scenario, lies: lies.filter((other) => other !== lie) };
  for (const fault of faults) {
    yield { ...scenario, faults: faults.filter((other) => other !== fault) };
  }
  if (heights > 1) yield { ...scenario, heights: heights >> 1 };
  for (const fault of faults) {
    const lengthMs = fault.untilMs - fault.fromMs;
    if (lengthMs < 400) continue;
    const shorter = { ...fault, untilMs: fault.fromMs + (lengthMs >> 1) };
    yield { ...scenario, faults: faults.map((other) => (other === fault ? shorter : other)) };
  }
}
