/**
 * `abs bench flood`: 1,000,000 refused packets a second beside established traffic, in one process
 * and on one core: two queues, each a DPDK ring port with a data plane of its own, polled in turn
 * by one loop, with the generator of both and the agent's event path. docs/benchmarks.md.
 *
 * Of the flood 40 % have no ABS header, 30 % a proof that does not hold, 30 % hold and no rule lets
 * them in. Established traffic is sealed UDP at half of what this loop can carry alone.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type PlaneNames, planeEvent } from "../agent/plane-events.ts";
import { PUNT } from "../dataplane/control-records.ts";
import { ealArguments, openShim, type Shim } from "../dataplane/shim.ts";
import { KEY_MAX } from "../dataplane/shim-symbols.ts";
import { AbsError } from "../errors.ts";
import { EventLog } from "../observe/event-log.ts";
import { EventSinks } from "../observe/sinks/event-sinks.ts";
import { FloodQueue } from "./flood-queue.ts";
import { describeMachine, type MachineReport, rounded } from "./machine.ts";

const POOL_PACKETS = 16_384;
const ROOM_BYTES = 2_176;
const WARM_UP_SECONDS = 2;
/** The event path has its turn, as the agent's main thread would. */
const EVENTS_EVERY_US = 5_000;
/** Security events of another kind, told all the time. */
const MARKS_A_SECOND = 20;
const MARK = "peer-cut-off";
const LANE_BYTES = 16 * 1024 * 1024;
const PUNTS_A_TURN_MAX = 256;

export interface FloodOptions {
  readonly seconds: number;
  /** Refused packets offered a second. */
  readonly rate: number;
  readonly progress: (words: string) => void;
}

export interface FloodResult {
  readonly refused_pps: number;
  /** Every packet that the port took is in a drop counter. */
  readonly counted: boolean;
  readonly security_events_lost: number;
  readonly rss_growth_bytes: number;
  /** Rate of the established traffic beside the flood, by its rate without. */
  readonly established_ratio: number;
  readonly offered_pps: number;
  readonly seconds: number;
  /** Packets a second that established traffic reaches alone in this loop, and was offered. */
  readonly established_capacity_pps: number;
  readonly established_offered_pps: number;
  readonly security_events: number;
  readonly refusal_events: number;
  readonly drops: Readonly<Record<string, number>>;
  readonly machine: MachineReport;
}

interface Span {
  readonly seconds: number;
  readonly delivered: number;
  readonly refused: number;
  readonly offered: number;
}

export class FloodBench {
  readonly #shim: Shim;
  readonly #flood: FloodQueue;
  readonly #established: FloodQueue;
  readonly #folder = mkdtempSync(join(tmpdir(), "abs-flood-"));
  readonly #events: EventLog;
  readonly #sinks: EventSinks;
  #marks = 0;
  #refusals = 0;

  constructor(readonly options: FloodOptions) {
    this.#shim = openShim();
    this.#shim.startEal(ealArguments({ packets: POOL_PACKETS, roomBytes: ROOM_BYTES }));
    this.#shim.createPool(POOL_PACKETS, ROOM_BYTES);
    this.#shim.createKeys(KEY_MAX);
    this.#flood = new FloodQueue(this.#shim, "flood", false);
    this.#established = new FloodQueue(this.#shim, "established", true);
    this.#events = new EventLog(join(this.#folder, "events.ndjson"), { role: "agent" });
    const way = { type: "file", path: this.#sinkFile, maxBytes: 1e9, keep: 1 } as const;
    const sink = { name: "bench", format: "abs", classes: ["security"], way } as const;
    const plan = { spool: join(this.#folder, "spool"), laneBytes: LANE_BYTES, sinks: [sink] };
    this.#sinks = new EventSinks(plan, this.#events);
  }

  get #sinkFile(): string {
    return join(this.#folder, "sink.ndjson");
  }

  async run(): Promise<FloodResult> {
    const { seconds, rate, progress } = this.options;
    const machine = describeMachine({ dpdk: ["pkg-config", "--modversion", "libdpdk"] });
    const alone = Math.max(2, Math.ceil(seconds / 10));
    progress(`capacity of established traffic, ${alone} s`);
    await this.#play(WARM_UP_SECONDS, 0, Infinity);
    const capacity = perSecond(await this.#play(alone, 0, Infinity), "delivered");
    const half = Math.floor(capacity / 2);
    progress(`${half} established packets a second alone, ${alone} s`);
    const before = perSecond(await this.#play(alone, 0, half), "delivered");
    progress(`with ${rate} refused packets a second, ${seconds} s`);
    await this.#play(WARM_UP_SECONDS, rate, half);
    const rss = process.memoryUsage.rss();
    const span = await this.#play(seconds, rate, half);
    const growth = process.memoryUsage.rss() - rss;
    const lost = await this.#lostMarks();
    return {
      refused_pps: rounded(perSecond(span, "refused"), 0),
      counted: this.#flood.refused === this.#flood.offered,
      security_events_lost: lost,
      rss_growth_bytes: Math.max(0, growth),
      established_ratio: rounded(perSecond(span, "delivered") / before, 3),
      offered_pps: rounded(perSecond(span, "offered"), 0),
      seconds: rounded(span.seconds, 2),
      established_capacity_pps: rounded(capacity, 0),
      established_offered_pps: half,
      security_events: this.#marks,
      refusal_events: this.#refusals,
      drops: Object.fromEntries(this.#flood.drops()),
      machine,
    };
  }

  async clean(): Promise<void> {
    await this.#sinks.close();
    this.#events.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** Both queues for `seconds`, each at its rate; Infinity: as fast as it goes. */
  async #play(seconds: number, floodRate: number, establishedRate: number): Promise<Span> {
    const flood = this.#flood;
    const established = this.#established;
    const begin = { delivered: established.delivered, refused: flood.refused };
    const offered = flood.offered;
    const start = this.#nowUs;
    flood.begin(start, floodRate);
    established.begin(start, establishedRate);
    let nextEvents = start;
    let now = start;
    for (; now - start < seconds * 1e6; now = this.#nowUs) {
      flood.turn(now);
      established.turn(now);
      if (now < nextEvents) continue;
      nextEvents = now + EVENTS_EVERY_US;
      this.#tell(floodRate > 0 ? ((now - start) / 1e6) * MARKS_A_SECOND : 0);
      await new Promise((resolve) => setImmediate(resolve));
    }
    flood.drain(now);
    established.drain(now);
    return {
      seconds: (now - start) / 1e6,
      delivered: established.delivered - begin.delivered,
      refused: flood.refused - begin.refused,
      offered: flood.offered - offered,
    };
  }

  get #nowUs(): number {
    return this.#shim.symbols.abs_now_us();
  }

  /** Reports of the data plane, and marks up to `due` since the span began. */
  #tell(due: number): void {
    const ring = this.#flood.punts;
    for (let i = 0; i < PUNTS_A_TURN_MAX; i++) {
      const at = ring.peek();
      if (at < 0) break;
      if (ring.type === PUNT.event) {
        this.#events.write(planeEvent(ring.memory, at, NAMES));
        this.#refusals++;
      }
      ring.release();
    }
    if (due === 0) this.#toldInSpan = 0;
    for (; this.#toldInSpan < due; this.#toldInSpan++) {
      this.#events.write({ event: MARK, peer: `mark-${this.#marks++}` });
    }
  }

  #toldInSpan = 0;

  /** Marks that the sink has not got, when it has had its time. */
  async #lostMarks(): Promise<number> {
    await this.#sinks.close();
    const found = new Set<unknown>();
    for (const line of readFileSync(this.#sinkFile, "utf8").split("\n")) {
      if (line.includes(MARK)) found.add(JSON.parse(line).peer);
    }
    return this.#marks - found.size;
  }
}

function perSecond(span: Span, what: "delivered" | "refused" | "offered"): number {
  if (span.seconds > 0) return span[what] / span.seconds;
  throw new AbsError("BENCH_OUTPUT", "A span of the flood took no time.");
}

/** Reports name rules and peers by number: the bench has no names. */
const NAMES = {
  provisioning: { peers: [], tags: [], signatures: [] },
  policy: { ruleIds: ["nobody"], contracts: [], snapshot: undefined },
  signatures: { signatures: [] },
} as unknown as PlaneNames;
