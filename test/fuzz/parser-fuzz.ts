/**
 * Fuzzes every packet parser with structure-aware inputs (issue: 10 million each). Run:
 *     [SEED=n] [FUZZ_PACKETS=n] bun test/fuzz/parser-fuzz.ts
 * Exit code 1 and a message when a parser disagrees with its oracle, reads outside [start, end),
 * depends on what it parsed before, never gives one of its drop reasons 1,000 times, accepts less
 * than a fifth of the inputs, or when the process grows by 10 MB. fuzz.test.ts runs it.
 */
import { DROP, DROP_CODES, DROP_NAMES } from "../../src/dataplane/drop-reasons.ts";
import { EARLIER, type FuzzTarget, targets } from "./fuzz-targets.ts";
import { Mutator } from "./mutator.ts";
import { Prng, seedOfRun } from "./prng.ts";

const PACKETS = Number(process.env["FUZZ_PACKETS"] ?? 10_000_000);
const WARM_UP_PACKETS = 300_000;
/** How many packets of which one is checked against oracle, exact view and other surroundings. */
const SLICE = 4;
const HITS_MIN = 1_000;
const GROWTH_BYTES_MAX = 10_000_000;

function run(target: FuzzTarget, mutator: Mutator, packets: number, hits: Float64Array): void {
  for (let i = 0; i < packets; i++) {
    mutator.next();
    const code = target.parse(mutator.memory, mutator.start, mutator.end);
    hits[code]++;
    if (i % SLICE === 0) target.check(mutator, code);
  }
}

function missing(target: FuzzTarget, hits: Float64Array, packets: number): string[] {
  const faults: string[] = [];
  // A short run cannot reach the count of a long one: the bound shrinks with it.
  const needed = Math.min(HITS_MIN, Math.floor((HITS_MIN * packets) / 10_000_000));
  for (const reason of target.reasons) {
    const code = DROP[reason];
    if (hits[code] < needed) faults.push(`${DROP_NAMES[code]} was hit ${hits[code]} times`);
  }
  for (let code = 1; code < EARLIER; code++) {
    const known = target.reasons.some((reason) => DROP[reason] === code);
    if (hits[code] > 0 && !known) faults.push(`${DROP_NAMES[code]} is not a reason of this parser`);
  }
  if (hits[0] < packets / 5) faults.push(`only ${hits[0]} of ${packets} inputs parse`);
  return faults;
}

function resident(): number {
  Bun.gc(true);
  return process.memoryUsage().rss;
}

function main(): number {
  const seed = seedOfRun();
  console.log(`SEED=${seed}, ${PACKETS} packets for each parser`);
  const prng = new Prng(seed);
  const runs = targets().map((target) => ({ target, mutator: new Mutator(prng, target.seeds) }));
  const ignored = new Float64Array(DROP_CODES);
  for (const { target, mutator } of runs) run(target, mutator, WARM_UP_PACKETS, ignored);
  const before = resident();
  let failed = 0;
  for (const { target, mutator } of runs) {
    const hits = new Float64Array(DROP_CODES);
    const begin = performance.now();
    run(target, mutator, PACKETS, hits);
    const seconds = ((performance.now() - begin) / 1_000).toFixed(1);
    const least = Math.min(...target.reasons.map((reason) => hits[DROP[reason]]));
    const parsed = ((hits[0] / PACKETS) * 100).toFixed(1);
    console.log(
      `${target.name.padEnd(14)} ${seconds.padStart(6)} s, ${parsed} % parse, ` +
        `${target.reasons.length} reasons, the rarest ${least} times`,
    );
    for (const fault of missing(target, hits, PACKETS)) {
      failed++;
      console.log(`  FAULT ${fault}`);
    }
  }
  const growth = resident() - before;
  console.log(`resident growth ${(growth / 1e6).toFixed(1)} MB`);
  return failed > 0 || growth > GROWTH_BYTES_MAX ? 1 : 0;
}

process.exitCode = main();
