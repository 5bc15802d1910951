/**
 * The TypeScript side of `abs bench dataplane`, a process of its own so that its garbage collector
 * can be watched: reads a run's options a line from standard input and answers with its figures,
 * exactly as `abs-oracle bench --serve` does. Bursts come from DPDK's null driver, are filled with
 * packets, handled by the agent's own egress or ingress, and go to the null driver.
 */
import { writeSync } from "node:fs";
import { BURST_MAX } from "../dataplane/send-queue.ts";
import { addressOf, ealArguments, openShim, type Shim } from "../dataplane/shim.ts";
import { KEY_MAX } from "../dataplane/shim-symbols.ts";
import { AbsError } from "../errors.ts";
import { BenchPlane } from "./bench-plane.ts";
import { fillTables, LoadFiller } from "./dataplane-load.ts";

const POOL_PACKETS = 16_384;
const ROOM_BYTES = 2_176;
const CARRIER_PROTOCOL = 253;
const WARM_UP_BURSTS = 2_000;
const CLOCK_READINGS = 10_000;

/** Lines on standard error around the timed bursts; collections logged between them count. */
export const MARK_BEGIN = "abs-bench: begin";
export const MARK_END = "abs-bench: end";

export interface RunRequest {
  readonly direction: "egress" | "ingress";
  readonly payload: number;
  readonly flows: number;
  readonly sessions: number;
  readonly packets: number;
}

export interface RunFigures {
  readonly ns: number;
  /** Of the median burst: what remains when other programs disturb. */
  readonly ns_p50: number;
  readonly gap_us_p9999: number;
}

/** A request as the command line of one run; both sides read it. */
export function requestLine(request: RunRequest): string {
  return Object.entries(request)
    .map(([name, value]) => `--${name} ${value}`)
    .join(" ");
}

function parseRequest(line: string): RunRequest {
  const words = line.trim().split(/\s+/);
  const value = (name: string) => words[words.indexOf(`--${name}`) + 1] ?? "";
  const number = (name: string) => {
    const parsed = Number(value(name));
    if (Number.isInteger(parsed) && parsed > 0) return parsed;
    throw new AbsError("BENCH_OPTION", `A run wants --${name} and a number; got: ${line}`);
  };
  return {
    direction: value("direction") === "ingress" ? "ingress" : "egress",
    payload: number("payload"),
    flows: number("flows"),
    sessions: number("sessions"),
    packets: number("packets"),
  };
}

/** Serves runs until standard input ends. */
export async function serveRuns(): Promise<void> {
  const runner = new Runner();
  for await (const line of console) {
    if (line.trim() === "") continue;
    const figures = runner.run(parseRequest(line));
    process.stdout.write(`${JSON.stringify(figures)}\n`);
  }
}

class Runner {
  readonly #shim: Shim;
  readonly #memory: DataView;
  readonly #inPort: number;
  readonly #outPort: number;
  #bench: BenchPlane | undefined;
  #filler: LoadFiller | undefined;

  constructor() {
    this.#shim = openShim();
    this.#shim.startEal(ealArguments({ packets: POOL_PACKETS, roomBytes: ROOM_BYTES }));
    this.#shim.createPool(POOL_PACKETS, ROOM_BYTES);
    this.#shim.createKeys(KEY_MAX);
    this.#memory = this.#shim.poolView().memory;
    this.#inPort = this.#nullPort("net_null0");
    this.#outPort = this.#nullPort("net_null1");
  }

  run(request: RunRequest): RunFigures {
    const { bench, filler } = this.#load(request);
    const bursts = Math.floor(request.packets / BURST_MAX);
    const took = new Float64Array(bursts);
    const warmUp = new Float64Array(WARM_UP_BURSTS);
    const incoming = request.direction === "ingress";
    const lost = this.#lostSoFar(bench);
    this.#bursts(bench, filler, incoming, request.payload, warmUp);
    writeSync(2, `${MARK_BEGIN}\n`);
    this.#bursts(bench, filler, incoming, request.payload, took);
    writeSync(2, `${MARK_END}\n`);
    if (this.#lostSoFar(bench) !== lost) {
      const drops = JSON.stringify([...bench.plane.counters.read()]);
      throw new AbsError("BENCH_DROP", `A packet of the load was dropped: ${drops}`);
    }
    const sum = took.reduce((total, us) => total + us, 0);
    took.sort();
    return {
      ns: (sum * 1000) / bursts / BURST_MAX,
      ns_p50: (took[Math.floor(bursts / 2)] * 1000) / BURST_MAX,
      gap_us_p9999: took[Math.ceil(bursts * 0.9999) - 1],
    };
  }

  /** Tables of the run before are used again when they fit. */
  #load(request: RunRequest): { bench: BenchPlane; filler: LoadFiller } {
    const { flows, sessions } = request;
    const shape = this.#filler?.shape;
    if (this.#bench === undefined || this.#filler === undefined || shape?.flows !== flows) {
      this.#bench = new BenchPlane({
        shim: this.#shim,
        memory: this.#memory,
        insidePort: this.#inPort,
        outsidePort: this.#outPort,
        lane: 0,
        carrierProtocol: CARRIER_PROTOCOL,
      });
      fillTables(this.#bench, { flows, sessions });
      this.#filler = new LoadFiller(this.#shim.symbols, this.#memory, { flows, sessions });
    }
    return { bench: this.#bench, filler: this.#filler };
  }

  /** Handles `took.length` bursts and writes the µs that the timed part of each took. */
  /** What two readings of the clock are apart with nothing between them, in µs: the median. */
  #clockUs(): number {
    const shim = this.#shim.symbols;
    const apart = new Float64Array(CLOCK_READINGS);
    for (let i = 0; i < CLOCK_READINGS; i++) {
      const before = shim.abs_now_us();
      apart[i] = shim.abs_now_us() - before;
    }
    apart.sort();
    return apart[CLOCK_READINGS / 2];
  }

  #bursts(
    bench: BenchPlane,
    filler: LoadFiller,
    incoming: boolean,
    payload: number,
    took: Float64Array,
  ): void {
    const shim = this.#shim.symbols;
    const plane = bench.plane;
    const side = incoming ? bench.ingress : bench.egress;
    const handles = addressOf(side.handle);
    const offsets = addressOf(side.offset);
    const lengths = addressOf(side.length);
    const clockUs = this.#clockUs();
    for (let burst = 0; burst < took.length; burst++) {
      const begin = shim.abs_now_us();
      const count = shim.abs_rx_burst(this.#inPort, 0, handles, offsets, lengths, BURST_MAX);
      const received = shim.abs_now_us();
      if (incoming) filler.fillIngress(side.offset, side.length, count, payload);
      else filler.fillEgress(side.offset, side.length, count, payload);
      const filled = shim.abs_now_us();
      plane.nowUs = filled;
      plane.nowSeconds = Math.floor(filled / 1e6);
      if (incoming) bench.ingress.process(count);
      else bench.egress.process(count);
      took[burst] = shim.abs_now_us() - filled + received - begin - 2 * clockUs;
    }
  }

  #lostSoFar(bench: BenchPlane): number {
    const { counters, inside, outside } = bench.plane;
    let lost = inside.unsentPackets + outside.unsentPackets;
    for (const drops of [counters.dropsIn, counters.dropsOut]) {
      for (const count of drops) lost += count;
    }
    return lost;
  }

  #nullPort(name: string): number {
    const port = this.#shim.attachPort(name, "size=64");
    this.#shim.startPort(port);
    return port;
  }
}
