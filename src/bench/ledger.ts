/**
 * `abs bench ledger`: blocks and contracts a second of a ledger of real processes, what a block
 * costs, and how far that is from what signatures and messages alone would allow (ledger-bound.ts).
 * docs/benchmarks.md. Bound and ledger take turns, so that a machine that slows down slows both.
 */
import { copyFileSync, readFileSync } from "node:fs";
import { CONTRACTS_MAX } from "../chain/block.ts";
import { encodeContract } from "../chain/contract-entry.ts";
import { AbsError } from "../errors.ts";
import { MASTER_FOLDER } from "../node/ledger-init.ts";
import { fileIn } from "../node/node-folder.ts";
import type { BoundResult } from "./ledger-bound.ts";
import { makeChain } from "./ledger-chain.ts";
import { contractOfBench, LedgerLoad, type LoadResult } from "./ledger-load.ts";
import { BenchSite, type NodeStatus, removeLeftovers } from "./ledger-site.ts";
import { describeMachine, type MachineReport, median, rounded } from "./machine.ts";

export type LedgerBenchOptions = {
  /** `abs`, as a command line without arguments. */
  readonly abs: readonly string[];
  readonly validators: readonly number[];
  readonly turns: number;
  /** Of each measurement. */
  readonly seconds: number;
  /** Of blocks before it, of ledger and bound alike. */
  readonly warmSeconds: number;
  /** Of the chain that a new node catches up with; 0 leaves that out. */
  readonly catchUpBlocks: number;
  /** Of the start-up check; 0 leaves it out. */
  readonly startContracts: number;
  /** On the disk that is to be measured. */
  readonly dir: string;
  readonly progress: (words: string) => void;
};

/** Names are fixed by issue 4. */
export type LedgerRun = {
  readonly validators: number;
  readonly blocks_per_s: number;
  readonly latency_ms_p50: number;
  readonly latency_ms_p99: number;
  readonly bound_share: number;
  readonly verifications_per_block: number;
  readonly signatures_per_block: number;
  readonly contracts_per_s: number;
  readonly catchup_blocks_per_s: number;
  /** While processes that have just started compile what they run. */
  readonly warming_blocks_per_s: number;
  /** What the shares are of. */
  readonly bound_blocks_per_s: number;
  readonly contracts_bound_per_s: number;
  readonly contracts_bound_share: number;
  readonly vrf_verifications_per_block: number;
  readonly wire_bytes_per_block: number;
  readonly frames_per_block: number;
  /** Of one validator, and of the master. */
  readonly cpu_ms_per_block: number;
  readonly master_cpu_ms_per_block: number;
  /** The load average of the machine when this run ended. */
  readonly load: number;
};

export type LedgerBenchResult = {
  readonly machine: MachineReport;
  readonly runs: readonly LedgerRun[];
  /** A validator's start with so many contracts on its disk, and with none. */
  readonly start?: {
    readonly contracts: number;
    readonly seconds: number;
    readonly empty_seconds: number;
  };
};

/** Contracts that wait at the master: one for the block after the one that is agreed on. */
const WINDOW = 2;
/** Full blocks of one measurement of contracts. */
const FULL_BLOCKS = 24;
const LATENCY_SECONDS = 3;
const CATCH_UP_MS = 300_000;
/** Ticks of /proc/PID/stat a second. */
const TICKS = 100;

type Costs = { readonly statuses: readonly NodeStatus[]; readonly cpuMs: readonly number[] };

export class LedgerBench {
  readonly #sites = new Set<BenchSite>();

  constructor(private readonly options: LedgerBenchOptions) {}

  async run(): Promise<LedgerBenchResult> {
    removeLeftovers(this.options.dir);
    const machine = describeMachine({});
    const runs: LedgerRun[] = [];
    for (const validators of this.options.validators) runs.push(await this.#measure(validators));
    const { startContracts } = this.options;
    if (startContracts === 0) return { machine, runs };
    return { machine, runs, start: await this.#measureStart(startContracts) };
  }

  async clean(): Promise<void> {
    await Promise.all([...this.#sites].map((site) => site.end()));
    this.#sites.clear();
  }

  async #measure(validators: number): Promise<LedgerRun> {
    const { turns, progress } = this.options;
    const catchUp = await this.#catchUp(validators);
    const turnsOf: Turn[] = [];
    for (let turn = 1; turn <= turns; turn++) {
      progress(`${validators} validators, turn ${turn} of ${turns}`);
      turnsOf.push(await this.#turn(validators));
    }
    return runOf(validators, turnsOf, catchUp);
  }

  /** The bound, then the ledger, in folders of one ledger that is made anew. */
  async #turn(validators: number): Promise<Turn> {
    const { seconds, warmSeconds, progress } = this.options;
    const one = encodeContract(contractOfBench(Math.floor(Date.now() / 1000))).length + 4;
    const site = await this.#site(validators);
    const bound = await this.#bound(site, one);
    const contractsBound = CONTRACTS_MAX * (await this.#bound(site, one * CONTRACTS_MAX));
    const load = new LedgerLoad(site);
    for (const name of site.all) site.startNode(name);
    await site.untilConnected(site.all);
    const warming = await load.steadily(WINDOW, warmSeconds);
    const before = await costsOf(site);
    const steady = await load.steadily(WINDOW, seconds);
    const after = await costsOf(site);
    const single = await load.steadily(1, LATENCY_SECONDS);
    await load.fromQueue(CONTRACTS_MAX * 4);
    const full = await load.fromQueue(CONTRACTS_MAX * FULL_BLOCKS);
    await this.#end(site);
    const loads = { warming, steady, single, full };
    const turn = turnOf({ bound, contractsBound, before, after, ...loads });
    const share = ((100 * turn.blocksPerSecond) / bound).toFixed(0);
    progress(
      `${turn.blocksPerSecond.toFixed(1)} blocks/s, ${share} % of ${bound.toFixed(1)}; ` +
        `${turn.contractsPerSecond.toFixed(0)} contracts/s; load ${loadNow()}`,
    );
    return turn;
  }

  /** Blocks a second of the bound's processes. */
  async #bound(site: BenchSite, bodyBytes: number): Promise<number> {
    const { seconds, warmSeconds } = this.options;
    const result = Promise.withResolvers<BoundResult>();
    const words = ["bench", "ledger-bound", "--body", String(bodyBytes)];
    const rest = ["--seconds", String(seconds), "--warm", String(warmSeconds)];
    for (const name of site.names) {
      site.startOther(name, [...words, ...rest, "--dir", site.folder(name)]);
    }
    const master = [...words, ...rest, "--master", "--dir", site.folder(MASTER_FOLDER)];
    site.startOther(MASTER_FOLDER, master, (line) =>
      result.resolve(JSON.parse(line) as BoundResult),
    );
    const late = setTimeout(
      () => result.reject(new AbsError("BENCH_LEDGER", "The bound did not end in time.")),
      2000 * (seconds + warmSeconds) + 60_000,
    );
    try {
      const found = await result.promise;
      return found.blocks / found.seconds;
    } finally {
      clearTimeout(late);
      await site.stop();
    }
  }

  /** Blocks a second of a node without any, beside others that have them all. */
  async #catchUp(validators: number): Promise<number> {
    const { catchUpBlocks: blocks, progress } = this.options;
    if (blocks === 0) return 0;
    progress(`${validators} validators: a chain of ${blocks} blocks`);
    const site = await this.#site(validators);
    this.#makeChain(site, { blocks, contractsPerBlock: 1 });
    const [newcomer = "", ...others] = site.names;
    // Master and as many as it asks: the rest would only be started and stopped.
    const present = [MASTER_FOLDER, ...others.slice(0, 3)];
    for (const name of present) site.startNode(name);
    await site.untilConnected(present);
    progress(`${validators} validators: a new node catches up`);
    site.startNode(newcomer);
    let beginMs = 0;
    await site.until(
      [newcomer],
      ({ height }) => {
        if (beginMs === 0 && height > 0) beginMs = performance.now();
        return height >= blocks;
      },
      CATCH_UP_MS,
    );
    const seconds = (performance.now() - beginMs) / 1000;
    await this.#end(site);
    return blocks / seconds;
  }

  /** From the start of the process until it says that it is ready. */
  async #measureStart(contracts: number) {
    const { progress } = this.options;
    progress(`start-up check of ${contracts} contracts`);
    const site = await this.#site(4);
    const empty = await this.#startSeconds(site);
    const blocks = Math.ceil(contracts / CONTRACTS_MAX);
    this.#makeChain(site, { blocks, contractsPerBlock: Math.ceil(contracts / blocks) });
    const full = await this.#startSeconds(site);
    await this.#end(site);
    return { contracts, seconds: rounded(full, 2), empty_seconds: rounded(empty, 2) };
  }

  async #startSeconds(site: BenchSite): Promise<number> {
    const times: number[] = [];
    for (let turn = 0; turn < this.options.turns; turn++) {
      const beginMs = performance.now();
      site.startNode(MASTER_FOLDER);
      await new Promise<void>((resolve) => {
        site.listen(({ event }) => event === "ledger-ready" && resolve());
      });
      times.push((performance.now() - beginMs) / 1000);
      await site.stop();
    }
    return median(times);
  }

  /** In the store of every node but the first. */
  #makeChain(site: BenchSite, plan: { blocks: number; contractsPerBlock: number }): void {
    const masterDir = site.folder(MASTER_FOLDER);
    const store = fileIn(masterDir, "store");
    const memberDirs = site.names.map((name) => site.folder(name));
    makeChain({ masterDir, memberDirs, store, ...plan });
    for (const dir of memberDirs.slice(1, 4)) copyFileSync(store, fileIn(dir, "store"));
  }

  async #site(validators: number): Promise<BenchSite> {
    const site = await BenchSite.create(this.options.dir, validators, this.options.abs);
    this.#sites.add(site);
    return site;
  }

  async #end(site: BenchSite): Promise<void> {
    await site.end();
    this.#sites.delete(site);
  }
}

function runOf(validators: number, turns: readonly Turn[], catchUp: number): LedgerRun {
  const mid = (digits: number, pick: (turn: Turn) => number): number =>
    rounded(median(turns.map(pick)), digits);
  return {
    validators,
    blocks_per_s: mid(1, (turn) => turn.blocksPerSecond),
    latency_ms_p50: mid(2, (turn) => turn.latencyP50),
    latency_ms_p99: mid(2, (turn) => turn.latencyP99),
    bound_share: mid(3, (turn) => turn.blocksPerSecond / turn.bound),
    verifications_per_block: mid(1, (turn) => turn.verifications),
    signatures_per_block: mid(1, (turn) => turn.signatures),
    contracts_per_s: mid(0, (turn) => turn.contractsPerSecond),
    catchup_blocks_per_s: Math.round(catchUp),
    warming_blocks_per_s: mid(1, (turn) => turn.warmingBlocksPerSecond),
    bound_blocks_per_s: mid(1, (turn) => turn.bound),
    contracts_bound_per_s: mid(0, (turn) => turn.contractsBound),
    contracts_bound_share: mid(3, (turn) => turn.contractsPerSecond / turn.contractsBound),
    vrf_verifications_per_block: mid(1, (turn) => turn.vrfVerifications),
    wire_bytes_per_block: mid(0, (turn) => turn.wireBytes),
    frames_per_block: mid(1, (turn) => turn.frames),
    cpu_ms_per_block: mid(2, (turn) => turn.cpuMs),
    master_cpu_ms_per_block: mid(2, (turn) => turn.masterCpuMs),
    load: loadNow(),
  };
}

type Turn = ReturnType<typeof turnOf>;

function turnOf(found: {
  readonly bound: number;
  readonly contractsBound: number;
  readonly before: Costs;
  readonly after: Costs;
  readonly warming: LoadResult;
  readonly steady: LoadResult;
  readonly single: LoadResult;
  readonly full: LoadResult;
}) {
  const { bound, contractsBound, before, after, warming, steady, single, full } = found;
  const blocks = heightOf(after) - heightOf(before);
  const perBlock = (pick: (status: NodeStatus) => number): number => {
    const sum = ({ statuses }: Costs) => statuses.reduce((all, status) => all + pick(status), 0);
    return (sum(after) - sum(before)) / blocks;
  };
  const [masterMs = 0, ...othersMs] = after.cpuMs.map((ms, i) => ms - (before.cpuMs[i] ?? 0));
  return {
    ...{ bound, contractsBound },
    blocksPerSecond: steady.blocks / steady.seconds,
    warmingBlocksPerSecond: warming.blocks / warming.seconds,
    contractsPerSecond: full.contracts / full.seconds,
    latencyP50: percentile(single.latenciesMs, 0.5),
    latencyP99: percentile(single.latenciesMs, 0.99),
    verifications: perBlock(({ work }) => work.verifications),
    signatures: perBlock(({ work }) => work.signatures),
    vrfVerifications: perBlock(({ work }) => work.vrf_verifications),
    wireBytes: perBlock(({ sent }) => sent.bytes),
    frames: perBlock(({ sent }) => sent.frames),
    cpuMs: othersMs.reduce((all, ms) => all + ms, 0) / othersMs.length / blocks,
    masterCpuMs: masterMs / blocks,
  };
}

/** The master is the first of `all`. */
async function costsOf(site: BenchSite): Promise<Costs> {
  const found = await Promise.all(site.all.map((name) => site.status(name)));
  const statuses = found.filter((status): status is NodeStatus => status !== undefined);
  if (statuses.length === found.length) {
    return { statuses, cpuMs: site.all.map((name) => cpuMsOf(site.pidOf(name))) };
  }
  throw new AbsError("BENCH_LEDGER", "A node of the bench does not answer.");
}

function heightOf({ statuses }: Costs): number {
  return statuses[0]?.height ?? 0;
}

/** User and system time of all threads of a process. */
function cpuMsOf(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, "utf8");
  // The name, which may hold spaces, ends at the last bracket; utime and stime are fields 14, 15.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return ((Number(fields[11]) + Number(fields[12])) * 1000) / TICKS;
}

/** Of ascending values. */
function percentile(values: readonly number[], share: number): number {
  return values[Math.min(values.length - 1, Math.floor(share * values.length))] ?? Number.NaN;
}

function loadNow(): number {
  return Number(readFileSync("/proc/loadavg", "utf8").split(" ")[0]);
}
