/**
 * `abs bench dataplane`: the agent's egress and ingress in TypeScript beside the same work in C
 * (bench/oracle.c), on the same null ports, tables and AEAD calls, turn by turn in one run, so that
 * a machine that slows down slows both. Figures are medians. docs/benchmarks.md says how to read
 * them.
 */
import { AbsError } from "../errors.ts";
import { measureCeiling } from "./ceiling.ts";
import { Children } from "./children.ts";
import { MARK_BEGIN, MARK_END, type RunRequest, requestLine } from "./dataplane-serve.ts";
import { LineServer } from "./line-server.ts";
import { describeMachine, type MachineReport, median, rounded } from "./machine.ts";

export const PAYLOADS = [64, 512, 1400] as const;
export const FLOWS = [1, 100, 10_000, 100_000, 1_000_000] as const;
export const DIRECTIONS = ["egress", "ingress"] as const;
/** Sessions of a load: a flow each, and 1,000 from 1,000 flows on. */
const SESSIONS_MAX = 1000;

export interface DataplaneOptions {
  readonly directions: readonly RunRequest["direction"][];
  readonly payloads: readonly number[];
  readonly flows: readonly number[];
  readonly turns: number;
  /** Timed packets of one run. */
  readonly packets: number;
  readonly serve: readonly string[]; // command line of the TypeScript side
  readonly oracle: string;
  readonly progress: (words: string) => void;
}

export interface DataplaneCase {
  readonly direction: RunRequest["direction"];
  readonly payload_bytes: number;
  readonly flows: number;
  readonly sessions: number;
  readonly abs_mpps: number;
  readonly oracle_mpps: number;
  readonly ratio: number;
  readonly abs_ns: number;
  readonly oracle_ns: number;
  /** Of the median burst: hardly disturbed by other programs. */
  readonly abs_ns_p50: number;
  readonly oracle_ns_p50: number;
  /** Garbage collections during the timed bursts of all turns. */
  readonly collections: number;
  /** What one burst of 64 takes, 99.99th percentile; the median of the turns. */
  readonly gap_us_p9999: number;
  readonly oracle_gap_us_p9999: number;
}

export interface DataplaneResult {
  readonly cases: readonly DataplaneCase[];
  readonly ceiling_mpps: number;
  readonly turns: number;
  readonly packets: number;
  readonly machine: MachineReport;
}

interface Turn {
  readonly ns: number;
  readonly p50: number;
  readonly gapUs: number;
}

export class DataplaneBench {
  readonly #children = new Children();
  #servers: LineServer[] = [];
  #timing = false;
  #collections = 0;

  constructor(readonly options: DataplaneOptions) {}

  async run(): Promise<DataplaneResult> {
    const { options } = this;
    const machine = describeMachine({ dpdk: ["pkg-config", "--modversion", "libdpdk"] });
    options.progress("ceiling: testpmd macswap");
    const ceiling = await measureCeiling(this.#children);
    const watch = (line: string) => this.#watch(line);
    const abs = new LineServer(options.serve, { BUN_JSC_logGC: "1" }, watch);
    const oracle = new LineServer([options.oracle, "bench", "--serve"]);
    this.#servers = [abs, oracle];
    const cases: DataplaneCase[] = [];
    for (const flows of options.flows) {
      for (const direction of options.directions) {
        for (const payload of options.payloads) {
          const sessions = Math.min(flows, SESSIONS_MAX);
          const request = { direction, payload, flows, sessions, packets: options.packets };
          const found = await this.#case(abs, oracle, request);
          options.progress(
            `${direction}, ${payload} bytes, ${flows} flows: ` +
              `${found.abs_mpps} of ${found.oracle_mpps} Mpps`,
          );
          cases.push(found);
        }
      }
    }
    return {
      cases,
      ceiling_mpps: rounded(ceiling, 3),
      turns: options.turns,
      packets: options.packets,
      machine,
    };
  }

  async clean(): Promise<void> {
    await Promise.all(this.#servers.map((server) => server.stop()));
    await this.#children.endAll();
  }

  async #case(abs: LineServer, oracle: LineServer, request: RunRequest): Promise<DataplaneCase> {
    const line = requestLine(request);
    const ours: Turn[] = [];
    const theirs: Turn[] = [];
    this.#collections = 0;
    for (let turn = 0; turn < this.options.turns; turn++) {
      ours.push(toTurn(await abs.ask(line)));
      theirs.push(toTurn(await oracle.ask(line)));
    }
    const absNs = median(ours.map((turn) => turn.ns));
    const oracleNs = median(theirs.map((turn) => turn.ns));
    return {
      direction: request.direction,
      payload_bytes: request.payload,
      flows: request.flows,
      sessions: request.sessions,
      abs_mpps: rounded(1000 / absNs, 3),
      oracle_mpps: rounded(1000 / oracleNs, 3),
      ratio: rounded(oracleNs / absNs, 3),
      abs_ns: rounded(absNs, 1),
      oracle_ns: rounded(oracleNs, 1),
      abs_ns_p50: rounded(median(ours.map((turn) => turn.p50)), 1),
      oracle_ns_p50: rounded(median(theirs.map((turn) => turn.p50)), 1),
      collections: this.#collections,
      gap_us_p9999: rounded(median(ours.map((turn) => turn.gapUs)), 1),
      oracle_gap_us_p9999: rounded(median(theirs.map((turn) => turn.gapUs)), 1),
    };
  }

  /** What the TypeScript side says on standard error: its marks, and its collector's log. */
  #watch(line: string): void {
    if (line.includes(MARK_BEGIN)) this.#timing = true;
    else if (line.includes(MARK_END)) this.#timing = false;
    else if (this.#timing && /\[GC<[^>]*>: START/.test(line)) this.#collections++;
  }
}

function toTurn(answer: Record<string, unknown>): Turn {
  const { ns, ns_p50: p50, gap_us_p9999: gapUs } = answer;
  if (typeof ns === "number" && typeof p50 === "number" && typeof gapUs === "number") {
    return { ns, p50, gapUs };
  }
  throw new AbsError("BENCH_OUTPUT", `A run's answer has no figures: ${JSON.stringify(answer)}`);
}
