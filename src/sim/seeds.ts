/**
 * Many seeds on all cores: child processes of this program, each a share of them, whose tallies are
 * added up. A child takes every k-th seed, so that shares are alike.
 */
import { availableParallelism } from "node:os";
import { eachLine } from "../bytes.ts";
import { AbsError } from "../errors.ts";
import { makeScenario, type ScenarioOptions } from "./scenario.ts";
import { playScenario } from "./simulation.ts";
import { addSeed, addTally, emptyTally, type Tally } from "./tally.ts";

export type SeedRange = {
  readonly first: number;
  readonly count: number;
  /** Distance from one seed to the next. */
  readonly stride: number;
};

export type SeedsReport = { readonly tally: Tally; readonly seconds: number };

/** A child writes its tally so often, one JSON line each: what is new since the last. */
const LINE_MS = 1000;

/** Plays seeds one after the other; `report` gets a tally of the last second. */
export function playSeeds(
  range: SeedRange,
  options: ScenarioOptions,
  report: (tally: Tally) => void,
): void {
  let tally = emptyTally();
  let since = performance.now();
  for (let i = 0; i < range.count; i++) {
    addSeed(tally, playScenario(makeScenario(range.first + i * range.stride, options)));
    if (performance.now() - since < LINE_MS) continue;
    report(tally);
    tally = emptyTally();
    since = performance.now();
  }
  report(tally);
}

export type SeedsOptions = {
  readonly first: number;
  readonly count: number;
  /** What starts a child; range and options are appended as flags (src/cli/sim.ts). */
  readonly childCommand: readonly string[];
  readonly jobs: number | undefined;
  readonly progress: (tally: Tally) => void;
};

/** The same on all cores. */
export async function playSeedsOnAllCores(options: SeedsOptions): Promise<SeedsReport> {
  const { first, count, childCommand, progress } = options;
  const jobs = Math.min(options.jobs ?? availableParallelism(), count);
  const whole = emptyTally();
  const start = performance.now();
  const children = Array.from({ length: jobs }, (_, job) => {
    const share = Math.floor(count / jobs) + (job < count % jobs ? 1 : 0);
    const range = ["--seed", `${first + job}`, "--seeds", `${share}`, "--stride", `${jobs}`];
    return Bun.spawn([...childCommand, ...range], { stdin: "ignore", stdout: "pipe" });
  });
  const endAll = () => {
    for (const child of children) child.kill();
  };
  process.once("SIGINT", endAll);
  try {
    await Promise.all(
      children.map((child) =>
        eachLine(child.stdout, (line) => {
          addTally(whole, JSON.parse(line) as Tally);
          progress(whole);
        }),
      ),
    );
    for (const child of children) await expectSuccess(child);
  } finally {
    endAll();
    process.off("SIGINT", endAll);
  }
  return { tally: whole, seconds: (performance.now() - start) / 1000 };
}

async function expectSuccess(child: Bun.Subprocess): Promise<void> {
  const code = await child.exited;
  if (code === 0) return;
  throw new AbsError("SIM_CHILD", `A part of the simulation ended with code ${code}.`);
}
