/**
 * What an idle agent costs, and how fast it wakes: processor time and resident memory of both
 * agents while 10 s pass between two echoes. /proc counts processor time in ticks of 10 ms.
 */
import { readFileSync } from "node:fs";
import { rounded } from "./machine.ts";
import type { Measurement } from "./measure.ts";

const IDLE_MS = 10_000;
const IDLE_ECHOES = 4;
const TICKS_PER_SECOND = 100;

export interface AgentFigures {
  /** Of the busier agent, per cent of one core. */
  readonly idle_cpu_percent: number;
  /** Of the larger agent. */
  readonly resident_mb: number;
  /** One way and round trip of the echoes that came after 10 s of silence, slowest. */
  readonly first_after_idle_us: number;
  readonly first_after_idle_rtt_us: number;
}

export class AgentWatch {
  constructor(readonly measurement: Measurement) {}

  async watch(pids: readonly number[]): Promise<AgentFigures> {
    const before = pids.map(processorTicks);
    const started = performance.now();
    // The first echo of the four comes right after the path was in use; the others after silence.
    const echoes = await this.measurement.ping(IDLE_ECHOES, IDLE_MS);
    const seconds = (performance.now() - started) / 1000;
    const used = pids.map((pid, i) => processorTicks(pid) - (before[i] ?? 0));
    return {
      idle_cpu_percent: rounded((Math.max(...used) / TICKS_PER_SECOND / seconds) * 100, 2),
      resident_mb: rounded(Math.max(...pids.map(residentKb)) / 1024, 1),
      first_after_idle_us: Math.max(...echoes.one_way_samples_us.slice(1)),
      first_after_idle_rtt_us: Math.max(...echoes.samples_us.slice(1)),
    };
  }
}

/** User and system time of a process with all its threads; fields 14 and 15 of proc_pid_stat(5). */
function processorTicks(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return Number(fields[11]) + Number(fields[12]);
}

function residentKb(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]);
}
