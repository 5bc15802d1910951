/**
 * `abs bench dpi`: how fast a large capture is identified, beside ndpiReader on the same file.
 * docs/benchmarks.md. Whole processes are timed, start and compiling included, in turn, since
 * that is what a user waits for; the file is in the page cache. Times are wall-clock seconds.
 */
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { openShim } from "../dataplane/shim.ts";
import { AbsError } from "../errors.ts";
import { readFlowSamples } from "../sig/flow-samples.ts";
import { makeCapture } from "./dpi-capture.ts";
import { benchHostile, type HostileResult } from "./dpi-hostile.ts";
import { benchMatching, type MatchBenchResult } from "./dpi-match.ts";
import { describeMachine, type MachineReport, median, rounded } from "./machine.ts";

export interface DpiBenchOptions {
  /** `abs`, as a command line without arguments. */
  readonly abs: readonly string[];
  /** Directory of captures that the large one is made of. */
  readonly captures: string;
  /** The large capture: made when it is not there. */
  readonly file: string;
  readonly turns: number;
  readonly progress: (words: string) => void;
}

export interface DpiResult {
  readonly machine: MachineReport;
  readonly file: { readonly bytes: number; readonly packets: number; readonly flows: number };
  readonly turns: number;
  /** Packets a second, medians, and their ratio. */
  readonly abs_pps: number;
  readonly ndpi_pps: number;
  readonly ratio: number;
  readonly abs_flows_per_second: number;
  readonly ndpi_flows_per_second: number;
  /** Largest resident set of any turn. */
  readonly abs_rss_bytes: number;
  readonly ndpi_rss_bytes: number;
  readonly abs_seconds: readonly number[];
  readonly ndpi_seconds: readonly number[];
}

/** What a first payload costs (dpi-match.ts, dpi-hostile.ts). */
export interface MatchResult extends MatchBenchResult {
  readonly hostile: readonly HostileResult[];
}

interface Turn {
  readonly seconds: number;
  readonly residentBytes: number;
  readonly output: string;
}

const MEGABYTES_MIN = 500;
const FLOWS_MIN = 100_000;
const NDPI = "ndpiReader";

export class DpiBench {
  constructor(private readonly options: DpiBenchOptions) {}

  /** Matching alone, on the first payloads of the captures' flows. */
  match(): MatchResult {
    const { captures, turns, progress } = this.options;
    if (!existsSync(captures)) throw noCaptures(captures);
    const files = readdirSync(captures).filter((name) => /\.pcap/.test(name));
    const flows = readFlowSamples(files.map((name) => join(captures, name)));
    const payloads = flows
      .flatMap(({ request, response }) => [request, response])
      .filter(({ length }) => length > 0);
    const shim = openShim();
    return { ...benchMatching(shim, payloads, turns, progress), hostile: benchHostile(shim) };
  }

  async run(): Promise<DpiResult> {
    const { abs, file, turns, progress } = this.options;
    this.#ensureCapture();
    const machine = describeMachine({ ndpiReader: [NDPI, "-h"] });
    if (machine.programs["ndpiReader"] === "missing") {
      throw new AbsError("BENCH_PROGRAM", "ndpiReader was not found.", "Install it: `make setup`.");
    }
    const absCommand = [...abs, "sig", "test", file, "--output", "json"];
    const ndpiCommand = [NDPI, "-q", "-i", file];
    // The first turn brings the file into the page cache and is not counted.
    const { output } = await timed(absCommand);
    const { packets, flows } = JSON.parse(output) as { packets: number; flows: number };
    const absTurns: Turn[] = [];
    const ndpiTurns: Turn[] = [];
    for (let turn = 1; turn <= turns; turn++) {
      progress(`turn ${turn} of ${turns}`);
      absTurns.push(await timed(absCommand));
      ndpiTurns.push(await timed(ndpiCommand));
    }
    const absSeconds = absTurns.map(({ seconds }) => rounded(seconds, 3));
    const ndpiSeconds = ndpiTurns.map(({ seconds }) => rounded(seconds, 3));
    const absMedian = median(absSeconds);
    const ndpiMedian = median(ndpiSeconds);
    return {
      machine,
      file: { bytes: statSync(file).size, packets, flows },
      turns,
      abs_pps: Math.round(packets / absMedian),
      ndpi_pps: Math.round(packets / ndpiMedian),
      ratio: rounded(ndpiMedian / absMedian, 2),
      abs_flows_per_second: Math.round(flows / absMedian),
      ndpi_flows_per_second: Math.round(flows / ndpiMedian),
      abs_rss_bytes: Math.max(...absTurns.map(({ residentBytes }) => residentBytes)),
      ndpi_rss_bytes: Math.max(...ndpiTurns.map(({ residentBytes }) => residentBytes)),
      abs_seconds: absSeconds,
      ndpi_seconds: ndpiSeconds,
    };
  }

  #ensureCapture(): void {
    const { captures, file, progress } = this.options;
    if (existsSync(file)) return;
    if (!existsSync(captures)) throw noCaptures(captures);
    progress(`making ${file}`);
    makeCapture({ captures, file, bytesMin: MEGABYTES_MIN * 1e6, flowsMin: FLOWS_MIN });
  }
}

function noCaptures(captures: string): AbsError {
  const remedy = "Name a directory of captures with --captures, or a capture with --file.";
  return new AbsError("BENCH_CAPTURES", `There is no directory ${captures}.`, remedy);
}

/** Runs a program to its end. Throws AbsError `BENCH_PROGRAM` when it fails. */
async function timed(command: readonly string[]): Promise<Turn> {
  const begin = performance.now();
  const child = Bun.spawn([...command], { stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  const [output, errors, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  const seconds = (performance.now() - begin) / 1000;
  if (code !== 0) {
    const message = `${command.join(" ")} ended with ${code}: ${errors.trim()}`;
    throw new AbsError("BENCH_PROGRAM", message);
  }
  return { seconds, residentBytes: child.resourceUsage()?.maxRSS ?? 0, output };
}
