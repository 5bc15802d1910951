/**
 * What `abs bench e2e` measures on a path between machines `a` and `b`, whatever the path is.
 * TCP by iperf3, everything else by bench/udp_load.c: one generator for all paths.
 * Rates are offered packets a second; `delivered` counts distinct packets that reached the socket.
 */
import { AbsError } from "../errors.ts";
import { ADDRESS, type BenchNetwork } from "./bench-network.ts";

/** UDP payload of a 64-byte frame: 64 - 14 (Ethernet, without FCS) - 20 (IPv4) - 8 (UDP). */
const SMALL_PAYLOAD_BYTES = 22;
const PING_PAYLOAD_BYTES = 64;
const LOAD_PORT = 7253;
const ECHO_PORT = 7254;
export const TCP_PORT = 7255;
/** Packets still under way when the generator ends are waited for this long. */
const DRAIN_MS = 300;
export const OFFERED_KPPS = [50, 100, 150, 200, 300, 0] as const; // 0: unlimited

export interface SmallResult {
  readonly offered_kpps: number; // what was asked for; 0 is unlimited
  readonly sent_kpps: number;
  readonly delivered_kpps: number;
}

export interface PingResult {
  readonly count: number;
  readonly lost: number;
  readonly p50_us: number;
  readonly p99_us: number;
  readonly samples_us: readonly number[];
  readonly one_way_samples_us: readonly number[];
}

export interface Durations {
  readonly tcpSeconds: number;
  readonly smallSeconds: number;
  readonly echoes: number;
  readonly sparseEchoes: number;
}

export class Measurement {
  #run = 0;

  constructor(
    readonly network: BenchNetwork,
    readonly udpLoad: string,
  ) {}

  /** Mbit/s of TCP payload from `a` to `b`. */
  async tcp(seconds: number): Promise<number> {
    const { network } = this;
    const port = String(TCP_PORT);
    const server = network.children.start([
      ...network.inside("b"),
      ...["iperf3", "--server", "--one-off", "--port", port],
    ]);
    try {
      await waitForListener(server.pid, TCP_PORT);
      const client = ["iperf3", "--client", ADDRESS.b, "--port", port, "--time", String(seconds)];
      const output = await network.children.run(
        [...network.inside("a"), ...client, "--json"],
        (seconds + 15) * 1000,
      );
      const bits: unknown = JSON.parse(output)?.end?.sum_received?.bits_per_second;
      if (typeof bits !== "number") throw new AbsError("BENCH_OUTPUT", "iperf3 gave no rate.");
      return bits / 1e6;
    } finally {
      await server.stop();
    }
  }

  /** 64-byte frames from `a` to `b` at one offered rate. */
  async small(offeredKpps: number, seconds: number): Promise<SmallResult> {
    const { network } = this;
    // Each run has its own number, so that stragglers of the last one are told apart.
    const run = String(++this.#run);
    const receiver = network.children.start([
      ...network.inside("b"),
      ...[this.udpLoad, "receive", "--port", String(LOAD_PORT), "--run", run],
      ...["--seconds", String(seconds + 20)],
    ]);
    await receiver.ready("ready");
    const rate = String(offeredKpps * 1000);
    const sent = await this.#load("send", [
      ...["--port", String(LOAD_PORT), "--run", run, "--size", String(SMALL_PAYLOAD_BYTES)],
      ...["--rate", rate, "--seconds", String(seconds)],
    ]);
    await Bun.sleep(DRAIN_MS);
    const received = toNumbers(await receiver.stop());
    const elapsed = field(sent, "seconds");
    return {
      offered_kpps: offeredKpps,
      sent_kpps: field(sent, "sent") / elapsed / 1000,
      delivered_kpps: field(received, "delivered") / elapsed / 1000,
    };
  }

  /** UDP echoes from `a` off `b`, one in flight. */
  async ping(count: number, intervalMs: number): Promise<PingResult> {
    const { network } = this;
    const seconds = String(20 + (count * Math.max(intervalMs, 10)) / 1000);
    const echo = network.children.start([
      ...network.inside("b"),
      ...[this.udpLoad, "echo", "--port", String(ECHO_PORT), "--seconds", seconds],
    ]);
    try {
      await echo.ready("ready");
      const output = await this.#load("ping", [
        ...["--port", String(ECHO_PORT), "--count", String(count)],
        ...["--interval-ms", String(intervalMs), "--size", String(PING_PAYLOAD_BYTES)],
      ]);
      return {
        count: field(output, "count"),
        lost: field(output, "lost"),
        p50_us: field(output, "p50_us"),
        p99_us: field(output, "p99_us"),
        samples_us: list(output, "samples_us"),
        one_way_samples_us: list(output, "one_way_samples_us"),
      };
    } finally {
      await echo.stop();
    }
  }

  async #load(command: string, options: readonly string[]): Promise<Record<string, unknown>> {
    const argv = [...this.network.inside("a"), this.udpLoad, command, "--to", ADDRESS.b];
    return toNumbers(await this.network.children.run([...argv, ...options], 120_000));
  }
}

function toNumbers(json: string): Record<string, unknown> {
  const value: unknown = JSON.parse(json);
  if (typeof value === "object" && value !== null) return { ...value };
  throw new AbsError("BENCH_OUTPUT", `udp_load printed no result: ${json}`);
}

function field(output: Record<string, unknown>, name: string): number {
  const value = output[name];
  if (typeof value === "number") return value;
  throw new AbsError("BENCH_OUTPUT", `udp_load's result has no number \`${name}\`.`);
}

function list(output: Record<string, unknown>, name: string): number[] {
  const value = output[name];
  if (Array.isArray(value)) return value.map(Number);
  throw new AbsError("BENCH_OUTPUT", `udp_load's result has no list \`${name}\`.`);
}

/** Waits until a socket listens on `port` in the namespace of process `pid`. */
async function waitForListener(pid: number, port: number): Promise<void> {
  const wanted = `:${port.toString(16).toUpperCase().padStart(4, "0")} `;
  for (let attempt = 0; attempt < 200; attempt++) {
    for (const table of ["tcp", "tcp6"]) {
      const text = await Bun.file(`/proc/${pid}/net/${table}`)
        .text()
        .catch(() => "");
      // State 0A is LISTEN; the local address is the first column of addresses.
      const rows = text.split("\n").filter((row) => row.includes(" 0A "));
      if (rows.some((row) => row.slice(0, 50).includes(wanted))) return;
    }
    await Bun.sleep(20);
  }
  throw new AbsError("BENCH_COMMAND", `Nothing listens on port ${port} after 4 s.`);
}
