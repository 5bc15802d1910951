/**
 * The ledger's steps under faults and lies, on all cores, the histogram printed. SEED in the
 * environment is the first seed, SEEDS how many; without it other seeds each time, so that no code
 * is fitted to them: the first is printed. `make test` names one, so that a change is judged by
 * what it changes; `make test-long` plays 200,000 others. The fixed ones come first. One seed is
 * replayed by `abs sim --seeds 1 --seed S`.
 */
import { expect, test } from "bun:test";
import { join } from "node:path";
import { rareIn, textReport } from "../../src/sim/report.ts";
import { playSeedsOnAllCores } from "../../src/sim/seeds.ts";

const SEEDS = Number(process.env["SEEDS"] ?? 10_000);
/** Always the same. */
const FIXED = { first: 1, count: 500 };
const RANDOM = crypto.getRandomValues(new Uint32Array(1))[0] ?? 0;
const FIRST = Number(process.env["SEED"] ?? 1_000_000 + (RANDOM >>> 2));
/** Issue item 7: 10,000 in 15 minutes on two cores; 12 a second where they are busy. */
const SECONDS_A_SEED_MAX = 0.09;
const MAIN = join(import.meta.dir, "../../src/cli/main.ts");

function play(first: number, count: number) {
  return playSeedsOnAllCores({
    ...{ first, count, jobs: undefined },
    childCommand: [process.execPath, MAIN, "sim", "--output", "tally"],
    progress: () => {},
  });
}

test(
  `${FIXED.count} seeds from ${FIXED.first} on, the same each time, break nothing`,
  async () => {
    const { tally } = await play(FIXED.first, FIXED.count);
    expect(tally).toMatchObject({ seeds: FIXED.count, failing: [], stalls: 0 });
  },
  1000 * (60 + FIXED.count * SECONDS_A_SEED_MAX),
);

test(
  `${SEEDS} seeds from SEED=${FIRST} on break nothing, and tell every fault and lie`,
  async () => {
    const report = await play(FIRST, SEEDS);
    process.stderr.write(textReport(report, true));
    expect(report.tally.failing).toEqual([]);
    expect(rareIn(report, true)).toEqual([]);
    expect(report.tally).toMatchObject({ seeds: SEEDS, violations: 0, stalls: 0 });
  },
  1000 * (60 + SEEDS * SECONDS_A_SEED_MAX),
);
