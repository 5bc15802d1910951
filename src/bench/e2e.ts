/**
 * `abs bench e2e`: what two virtual machines see of each other over a bare wire, plain DPDK
 * forwarding, `abs` and wireguard-go, in turn in one run, so that a machine that slows down slows
 * all of them. Figures are medians over the turns. docs/benchmarks.md says how to read them.
 */
import { AbsError } from "../errors.ts";
import { AbsPath } from "./abs-path.ts";
import { type AgentFigures, AgentWatch } from "./agent-watch.ts";
import {
  BenchNetwork,
  makeBenchDirectory,
  removeBenchDirectory,
  removeLeftovers,
} from "./bench-network.ts";
import { Children } from "./children.ts";
import { describeMachine, type MachineReport, median, rounded } from "./machine.ts";
import { type Durations, Measurement, OFFERED_KPPS, type SmallResult } from "./measure.ts";
import { makePath, type Path, type PathName, type Tools } from "./paths.ts";

const SPARSE_INTERVAL_MS = 100;
const WARM_UP_ECHOES = 5;

export interface E2eOptions extends Durations {
  readonly paths: readonly PathName[];
  readonly turns: number;
  readonly tools: Omit<Tools, "directory">;
  /** Also watch idle agents: 40 s more. */
  readonly idle: boolean;
  readonly progress: (words: string) => void;
}

export interface E2eRun {
  readonly path: PathName;
  readonly tcp_mbps: number;
  readonly small_kpps: number;
  readonly rtt_us_p50: number;
  readonly rtt_us_p99: number;
  readonly rtt_sparse_us_p50: number;
  readonly echoes_lost: number; // over all turns
  readonly small_by_rate: readonly SmallResult[];
}

export interface E2eResult {
  readonly runs: readonly E2eRun[];
  readonly turns: number;
  readonly agents?: AgentFigures;
  readonly machine: MachineReport;
}

/** One path measured once. */
interface Turn {
  readonly tcpMbps: number;
  readonly small: readonly SmallResult[];
  readonly rttUs: number;
  readonly rttP99Us: number;
  readonly sparseUs: number;
  readonly lost: number;
}

export class E2eBench {
  readonly #children = new Children();
  readonly #network = new BenchNetwork(this.#children);
  readonly #directory = makeBenchDirectory();
  readonly #tools: Tools;
  readonly #measurement: Measurement;
  #path: Path | undefined;

  constructor(readonly options: E2eOptions) {
    this.#tools = { ...options.tools, directory: this.#directory };
    this.#measurement = new Measurement(this.#network, this.#tools.udpLoad);
  }

  async run(): Promise<E2eResult> {
    const { options } = this;
    await removeLeftovers();
    const machine = describeMachine({
      iperf3: ["iperf3", "--version"],
      "wireguard-go": ["wireguard-go", "--version"],
      dpdk: ["pkg-config", "--modversion", "libdpdk"],
    });
    const turns = new Map<PathName, Turn[]>(options.paths.map((path) => [path, []]));
    for (let turn = 1; turn <= options.turns; turn++) {
      for (const path of options.paths) {
        options.progress(`turn ${turn} of ${options.turns}: ${path}`);
        turns.get(path)?.push(await this.#turn(path));
      }
    }
    const runs = [...turns].map(([path, results]) => summarise(path, results));
    const watch = options.idle && options.paths.includes("abs");
    const agents = watch ? { agents: await this.#watchIdle() } : {};
    return { runs, turns: options.turns, ...agents, machine };
  }

  /** Ends every program and removes every namespace and file; also after an interruption. */
  async clean(): Promise<void> {
    await this.#children.endAll();
    await this.#path?.stop();
    await this.#network.removeAll();
    removeBenchDirectory(this.#directory);
  }

  async #turn(name: PathName): Promise<Turn> {
    const { options } = this;
    const path = makePath(name, this.#network, this.#tools);
    await this.#open(path);
    const echoes = await this.#measurement.ping(options.echoes, 0);
    const sparse = await this.#measurement.ping(options.sparseEchoes, SPARSE_INTERVAL_MS);
    const tcpMbps = await this.#measurement.tcp(options.tcpSeconds);
    const small: SmallResult[] = [];
    for (const kpps of OFFERED_KPPS) {
      small.push(await this.#measurement.small(kpps, options.smallSeconds));
    }
    await path.stop();
    return {
      tcpMbps,
      small,
      rttUs: echoes.p50_us,
      rttP99Us: echoes.p99_us,
      sparseUs: sparse.p50_us,
      lost: echoes.lost + sparse.lost,
    };
  }

  /**
   * Starts a path. The first echoes resolve neighbours and set up sessions; some must come back.
   */
  async #open(path: Path): Promise<void> {
    this.#path = path;
    await path.start();
    const warmUp = await this.#measurement.ping(WARM_UP_ECHOES, SPARSE_INTERVAL_MS);
    if (warmUp.lost < WARM_UP_ECHOES) return;
    throw new AbsError("BENCH_PATH", `No packet gets through the path \`${path.name}\`.`);
  }

  async #watchIdle(): Promise<AgentFigures> {
    const path = new AbsPath(this.#network, this.#tools);
    this.options.progress("idle agents: memory, processor time, first packet after 10 s");
    await this.#open(path);
    const figures = await new AgentWatch(this.#measurement).watch(path.agentPids());
    await path.stop();
    return figures;
  }
}

function summarise(path: PathName, turns: readonly Turn[]): E2eRun {
  const best = turns.map((turn) => Math.max(...turn.small.map((row) => row.delivered_kpps)));
  return {
    path,
    tcp_mbps: rounded(median(turns.map((turn) => turn.tcpMbps)), 0),
    small_kpps: rounded(median(best), 1),
    rtt_us_p50: rounded(median(turns.map((turn) => turn.rttUs)), 1),
    rtt_us_p99: rounded(median(turns.map((turn) => turn.rttP99Us)), 1),
    rtt_sparse_us_p50: rounded(median(turns.map((turn) => turn.sparseUs)), 1),
    echoes_lost: turns.reduce((sum, turn) => sum + turn.lost, 0),
    small_by_rate: OFFERED_KPPS.map((kpps, row) => ({
      offered_kpps: kpps,
      sent_kpps: rounded(median(turns.map((turn) => turn.small[row]?.sent_kpps ?? 0)), 1),
      delivered_kpps: rounded(median(turns.map((turn) => turn.small[row]?.delivered_kpps ?? 0)), 1),
    })),
  };
}
