/** The result of many seeds in words and bars: `abs sim`'s text output. */
import { FAULT_KINDS } from "./fault.ts";
import { LIE_KINDS } from "./lie.ts";
import type { Scenario } from "./scenario.ts";
import type { SeedsReport } from "./seeds.ts";
import { HISTOGRAMS, rareKinds, SEEDS_FOR_RARITY } from "./tally.ts";

const BAR_MAX = 40;
const TITLES: Readonly<Record<(typeof HISTOGRAMS)[number], string>> = {
  validators: "validators (n)",
  heights: "sealed heights",
  viewChanges: "view changes",
  attempts: "attempts above 0",
  faults: "faults (seeds in which they happened)",
  lies: "lies (seeds in which they were told)",
  operator: "what operators did (seeds)",
};

/** Kinds that were too rare; none when there were too few seeds to tell. */
export function rareIn({ tally }: SeedsReport, isWhole: boolean): string[] {
  return isWhole && tally.seeds >= SEEDS_FOR_RARITY ? rareKinds(tally) : [];
}

export function jsonReport(report: SeedsReport, isWhole: boolean): object {
  const { tally, seconds } = report;
  const { failing, ...rest } = tally;
  return {
    seeds: tally.seeds,
    violations: tally.violations,
    stalls: tally.stalls,
    seeds_per_s: Math.round((tally.seeds / seconds) * 10) / 10,
    failing_seeds: failing,
    rare: rareIn(report, isWhole),
    real_cryptography: rest.real,
    messages: rest.messages,
    histograms: Object.fromEntries(HISTOGRAMS.map((name) => [name, rest[name]])),
  };
}

export function textReport(report: SeedsReport, isWhole: boolean): string {
  const { tally, seconds } = report;
  const lines: string[] = [];
  for (const name of HISTOGRAMS) {
    const counts = tally[name];
    const keys = keysOf(name, counts);
    if (keys.length === 0) continue;
    lines.push(TITLES[name]);
    const most = Math.max(...keys.map((key) => counts[key] ?? 0), 1);
    for (const key of keys) lines.push(barLine(key, counts[key] ?? 0, most));
  }
  const rate = (tally.seeds / seconds).toFixed(1);
  lines.push(
    `${tally.seeds} seeds in ${seconds.toFixed(1)} s, ${rate} a second, ${tally.real} with real ` +
      `cryptography, ${tally.messages} messages`,
    `${tally.violations} violations, ${tally.stalls} stalls`,
  );
  for (const rare of rareIn(report, isWhole)) lines.push(`too rare: ${rare}`);
  return `${lines.join("\n")}\n`;
}

function keysOf(name: (typeof HISTOGRAMS)[number], counts: Record<string, number>): string[] {
  if (name === "faults") return [...FAULT_KINDS];
  if (name === "lies") return [...LIE_KINDS];
  return Object.keys(counts).sort((a, b) => Number(a) - Number(b));
}

function barLine(key: string, count: number, most: number): string {
  const bar = "█".repeat(Math.ceil((count / most) * BAR_MAX));
  return `  ${key.padEnd(22)} ${String(count).padStart(7)} ${bar}`.trimEnd();
}

/** What a scenario plays, a line each: printed with a failing seed. */
export function scenarioText(scenario: Scenario): string {
  const { seed, validators, nodes, heights, isReal, faults, lies } = scenario;
  const name = (participant: number) => (participant === nodes ? "master" : `node ${participant}`);
  return [
    `seed ${seed}: ${validators} validators of ${nodes} nodes, ${heights} heights, ` +
      `${isReal ? "real" : "stand-in"} cryptography`,
    ...faults.map(
      ({ kind, fromMs, untilMs, participants, share, ms }) =>
        `  fault ${kind} from ${fromMs} to ${untilMs} ms, ${participants.map(name).join(", ")}` +
        ` (share ${share}, ${ms} ms)`,
    ),
    ...lies.map(
      ({ kind, participant, share }) => `  lie ${kind} by ${name(participant)} (share ${share})`,
    ),
  ].join("\n");
}
