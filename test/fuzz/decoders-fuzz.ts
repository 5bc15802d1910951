/**
 * Fuzzes all decoders but the packet parsers together, each with a share of the time: the wire's
 * formats with the session machine, documents, state files, shared memory, netlink, punts.
 * Structure-aware; every failure is replayed by its seed. Run:
 *     [SEED=n] [DECODER_SECONDS=n] bun test/fuzz/decoders-fuzz.ts
 * Exit code 1 and a message when anything throws that is not an AbsError, an input takes longer
 * than its limit, a table passes its bound, a reason is not reached or not listed, less than a
 * fifth of a decoder's inputs parse, or the process grows by 10 MB.
 */
import { heapSize } from "bun:jsc";
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { REFUSALS } from "../../src/session/refusals.ts";
import { documentTargets, FUZZ_FOLDER } from "./document-targets.ts";
import type { DecoderTarget } from "./fuzz-target.ts";
import { memoryTargets } from "./memory-targets.ts";
import { openflowTarget } from "./openflow-target.ts";
import { Prng, seedOfRun } from "./prng.ts";
import { puntTarget } from "./punt-target.ts";
import { WireFuzz } from "./wire-fuzz.ts";

const SECONDS = Number(process.env["DECODER_SECONDS"] ?? 300);
/** Before the growth is measured: caches, compiled code and the allocator fill up. */
const WARM_UP_SHARE = 0.4;
/** Growth is between the low waters of two windows of this share of the time. */
const WINDOW_SHARE = 0.2;
const SAMPLE_MS = 1_000;
const GROWTH_BYTES_MAX = 10_000_000;
/** Of what the collector counts, which does not swing: 15 MB, the same after five minutes. */
const HEAP_GROWTH_BYTES_MAX = 3_000_000;
const MEASURED_AGAIN_MAX = 3;
const PARSED_SHARE_MIN = 0.2;
/** Each reason this often in a run of five minutes; in a shorter one, in proportion. */
const HITS_MIN = 1_000;
const HITS_SECONDS = 300;
const WIRE_SHARE = 30;
const SLICE_MS = 20;
/** Of one kind; others are not to be crowded out. */
const FAULTS_MAX = 3;
/** A slow input is fed again: the machine may have been busy with something else. */
const SLOW_TRIES = 3;

const faults: string[] = [];
const faultCounts = new Map<string, number>();

function fault(message: string, kind = ""): void {
  const count = (faultCounts.get(kind) ?? 0) + 1;
  faultCounts.set(kind, count);
  if (kind === "" || count <= FAULTS_MAX) faults.push(message);
}

/** One decoder's inputs and answers. */
class TargetFuzz {
  readonly counts = new Map<string, number>();
  inputs = 0;
  parsed = 0;
  slowestMs = 0;

  constructor(
    private readonly target: DecoderTarget,
    private readonly prng: Prng,
  ) {}

  get name(): string {
    return this.target.name;
  }

  get share(): number {
    return this.target.share;
  }

  turn(): void {
    const input = this.target.make(this.prng);
    let tookMs = this.feed(input, true);
    for (let i = 1; i < SLOW_TRIES && tookMs > this.target.limitMs; i++) {
      tookMs = Math.min(tookMs, this.feed(input, false));
    }
    this.slowestMs = Math.max(this.slowestMs, tookMs);
    if (tookMs <= this.target.limitMs) return;
    fault(`${this.name} took ${tookMs} ms: ${shown(input)}`, `${this.name} slow`);
  }

  private feed(input: unknown, counts: boolean): number {
    const start = performance.now();
    let reason: string | undefined;
    try {
      reason = this.target.run(input as never);
    } catch (thrown) {
      const stack = thrown instanceof Error ? thrown.stack : String(thrown);
      fault(`${this.name} threw at ${shown(input)}: ${stack}`, this.name);
      reason = "fault";
    }
    const tookMs = performance.now() - start;
    if (!counts) return tookMs;
    this.inputs++;
    if (reason === undefined) this.parsed++;
    else this.counts.set(reason, (this.counts.get(reason) ?? 0) + 1);
    return tookMs;
  }

  /** How often the reason was hit that was hit least. */
  get rarest(): number {
    return Math.min(...this.target.reasons.map((reason) => this.counts.get(reason) ?? 0));
  }

  /** As `rarest`, and every reason that was hit less than `needed` times is a fault. */
  check(needed: number): number {
    const { reasons } = this.target;
    for (const reason of this.counts.keys()) {
      if (!reasons.includes(reason)) fault(`${this.name}: the reason "${reason}" is not listed`);
    }
    for (const reason of reasons) {
      const count = this.counts.get(reason) ?? 0;
      if (count < needed) fault(`${this.name}: "${reason}" was hit ${count} times, not ${needed}`);
    }
    return this.rarest;
  }
}

function shown(input: unknown): string {
  const bytes = input instanceof Uint8Array ? input.toHex() : JSON.stringify(input);
  return (bytes ?? "nothing").slice(0, 600);
}

/** Gives each part its share of the time: the one that is most behind goes next. */
class Shares {
  /** The least that our objects took in the last `runFor`. */
  heapBytes = 0;
  private readonly spentMs: number[];

  constructor(private readonly parts: readonly { share: number; turn(): void }[]) {
    this.spentMs = parts.map(() => 0);
  }

  /**
   * Runs for `seconds`; answers the least resident memory seen, by a sample a second, after a
   * collection. One sample alone shows what the allocator happens to hold then: it swings by 10 MB.
   */
  async runFor(seconds: number): Promise<number> {
    const end = performance.now() + seconds * 1000;
    let least = Number.POSITIVE_INFINITY;
    this.heapBytes = Number.POSITIVE_INFINITY;
    let nextSample = 0;
    while (performance.now() < end) {
      this.slice();
      // What finalizers and weak references hold is given back between two turns of the event loop.
      await new Promise((resolve) => setImmediate(resolve));
      if (performance.now() < nextSample) continue;
      nextSample = performance.now() + SAMPLE_MS;
      Bun.gc(true);
      least = Math.min(least, process.memoryUsage().rss);
      this.heapBytes = Math.min(this.heapBytes, heapSize());
    }
    return least;
  }

  slice(): void {
    let next = 0;
    const due = (i: number) => (this.spentMs[i] ?? 0) / (this.parts[i]?.share ?? 1);
    for (let i = 1; i < this.parts.length; i++) if (due(i) < due(next)) next = i;
    const start = performance.now();
    while (performance.now() - start < SLICE_MS) this.parts[next]?.turn();
    this.spentMs[next] = (this.spentMs[next] ?? 0) + performance.now() - start;
  }
}

function targets(): DecoderTarget[] {
  const example = join(import.meta.dir, "../../examples/web.yaml");
  const punts = puntTarget(readFileSync(example, "utf8"), example);
  return [...documentTargets(), ...memoryTargets(), punts, openflowTarget()];
}

function rarestRefusal(wire: WireFuzz): number {
  const sums = wire.refusals();
  return Math.min(...REFUSALS.map((reason) => sums.get(reason) ?? 0));
}

function checkWire(wire: WireFuzz, needed: number): void {
  for (const message of wire.faults) fault(message, "wire");
  const sums = wire.refusals();
  for (const reason of REFUSALS) {
    const count = sums.get(reason) ?? 0;
    if (count < needed) fault(`${reason} was hit ${count} times, not ${needed}`);
  }
  console.log(
    `wire: ${wire.decoded} inputs, ${percent(wire.parsed, wire.decoded)} parse; ${wire.handed} ` +
      `handed to machines, ${REFUSALS.length} reasons, the rarest ${rarestRefusal(wire)} times`,
  );
}

function checkTarget(fuzz: TargetFuzz, needed: number): void {
  const rarest = fuzz.check(needed);
  const share = fuzz.parsed / fuzz.inputs;
  if (share < PARSED_SHARE_MIN) fault(`${fuzz.name}: only ${(share * 100).toFixed(1)} % parse`);
  const reasons = rarest < Infinity ? `, the rarest reason ${rarest} times` : "";
  console.log(
    `${fuzz.name}: ${fuzz.inputs} inputs, ${percent(fuzz.parsed, fuzz.inputs)} parse${reasons}, ` +
      `the slowest ${fuzz.slowestMs.toFixed(0)} ms`,
  );
}

function percent(part: number, whole: number): string {
  return `${((100 * part) / whole).toFixed(1)} %`;
}

async function main(): Promise<number> {
  const seed = seedOfRun();
  console.log(`SEED=${seed}, ${SECONDS} s for all decoders but the packet parsers`);
  const prng = new Prng(seed);
  const wire = new WireFuzz(prng);
  const fuzzes = targets().map((target) => new TargetFuzz(target, new Prng(prng.next())));
  const shares = new Shares([{ share: WIRE_SHARE, turn: () => wire.turn() }, ...fuzzes]);
  await shares.runFor(SECONDS * WARM_UP_SHARE);
  const before = await shares.runFor(SECONDS * WINDOW_SHARE);
  const heapBefore = shares.heapBytes;
  const between = SECONDS * (1 - WARM_UP_SHARE - 2 * WINDOW_SHARE);
  await shares.runFor(between);
  const after = await shares.runFor(SECONDS * WINDOW_SHARE);
  let growth = after - before;
  let level = after;
  for (let i = 0; i < MEASURED_AGAIN_MAX && growth > GROWTH_BYTES_MAX; i++) {
    // What is kept grows again in the same time; an allocator that took a step up does not.
    console.log(`grew by ${growth} bytes, our objects by ${shares.heapBytes - heapBefore}: again`);
    await shares.runFor(between);
    const next = await shares.runFor(SECONDS * WINDOW_SHARE);
    growth = next - level;
    level = next;
  }
  const heapGrowth = shares.heapBytes - heapBefore;
  if (heapGrowth > HEAP_GROWTH_BYTES_MAX) fault(`our objects grew by ${heapGrowth} bytes`);
  const needed = Math.min(HITS_MIN, Math.floor((HITS_MIN * SECONDS) / HITS_SECONDS));
  // A busy machine does less in the same time: what is rare goes on, as long again at most.
  const end = performance.now() + SECONDS * 1000;
  while (rarestRefusal(wire) < needed && performance.now() < end) wire.turn();
  for (const fuzz of fuzzes) {
    while (fuzz.rarest < needed && performance.now() < end) fuzz.turn();
  }
  checkWire(wire, needed);
  for (const fuzz of fuzzes) checkTarget(fuzz, needed);
  const inputs = fuzzes.reduce((sum, fuzz) => sum + fuzz.inputs, wire.decoded);
  const parsed = fuzzes.reduce((sum, fuzz) => sum + fuzz.parsed, wire.parsed);
  if (parsed / inputs < PARSED_SHARE_MIN) fault(`only ${percent(parsed, inputs)} parse`);
  if (growth > GROWTH_BYTES_MAX) fault(`grew by ${growth} bytes`);
  const grown = `resident growth ${(growth / 1e6).toFixed(1)} MB`;
  console.log(`all: ${inputs} inputs, ${percent(parsed, inputs)} parse; ${grown}`);
  for (const message of faults) console.log(`  FAULT ${message}`);
  rmSync(FUZZ_FOLDER, { recursive: true });
  return faults.length > 0 ? 1 : 0;
}

process.exitCode = await main();
