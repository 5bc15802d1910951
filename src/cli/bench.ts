/**
 * `abs bench dataplane|e2e`: reads flags, calls src/bench, prints. Progress goes to standard error;
 * the result to standard output, as a table or, with `--output json`, as one JSON object. The other
 * benches have files of their own.
 */
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { defineCommand } from "citty";
import { ownCommand } from "../agent/own-command.ts";
import {
  DataplaneBench,
  type DataplaneResult,
  DIRECTIONS,
  FLOWS,
  PAYLOADS,
} from "../bench/dataplane.ts";
import { serveRuns } from "../bench/dataplane-serve.ts";
import { E2eBench, type E2eResult } from "../bench/e2e.ts";
import type { MachineReport } from "../bench/machine.ts";
import { PATHS, type PathName } from "../bench/paths.ts";
import { formatTable } from "../bench/table.ts";
import { AbsError } from "../errors.ts";
import { cleanly } from "./bench-cleanup.ts";
import { benchDpiCommand } from "./bench-dpi.ts";
import { benchFloodCommand } from "./bench-flood.ts";
import { benchLedgerBoundCommand, benchLedgerCommand } from "./bench-ledger.ts";
import { benchPolicyCommand } from "./bench-policy.ts";
import { notes } from "./notes.ts";
import { isJsonOutput, outputArgument } from "./options.ts";

function positive(name: string, text: string): number {
  const value = Number(text);
  if (Number.isFinite(value) && value > 0) return value;
  throw new AbsError("BENCH_OPTION", `--${name} ${text} is not a number above 0.`);
}

/** A program of the bench: beside the executable, or in ./dist of the repository. */
function findProgram(name: string): string {
  for (const directory of [dirname(process.execPath), "dist"]) {
    const file = join(directory, name);
    if (existsSync(file)) return file;
  }
  throw new AbsError("BENCH_PROGRAM", `${name} was not found.`, "Build it with `make build`.");
}

const e2e = defineCommand({
  meta: { name: "e2e", description: "bare wire, plain forwarding, abs and wireguard-go, compared" },
  args: {
    output: outputArgument,
    paths: { type: "string", default: PATHS.join(","), description: "which paths" },
    turns: { type: "string", default: "3", description: "how often each path is measured" },
    "tcp-seconds": { type: "string", default: "4", description: "of each TCP transfer" },
    "small-seconds": { type: "string", default: "1.5", description: "at each offered packet rate" },
    echoes: { type: "string", default: "1000", description: "UDP echoes, one in flight" },
    sparse: { type: "string", default: "100", description: "UDP echoes, 100 ms apart" },
    idle: { type: "boolean", default: true, description: "also watch idle agents (40 s)" },
  },
  async run({ args }) {
    const json = isJsonOutput(args.output);
    const paths = args.paths.split(",").map(pathName);
    const bench = new E2eBench({
      paths,
      turns: positive("turns", args.turns),
      tcpSeconds: positive("tcp-seconds", args["tcp-seconds"]),
      smallSeconds: positive("small-seconds", args["small-seconds"]),
      echoes: positive("echoes", args.echoes),
      sparseEchoes: positive("sparse", args.sparse),
      idle: args.idle,
      tools: {
        abs: ownCommand(),
        oracle: findProgram("abs-oracle"),
        udpLoad: findProgram("udp_load"),
      },
      progress: (words) => notes.info(words),
    });
    const result = await cleanly(
      () => bench.run(),
      () => bench.clean(),
    );
    process.stdout.write(json ? `${JSON.stringify(result, null, 2)}\n` : e2eText(result));
  },
});

const dataplane = defineCommand({
  meta: { name: "dataplane", description: "egress and ingress beside the same work in C" },
  args: {
    output: outputArgument,
    directions: { type: "string", default: DIRECTIONS.join(","), description: "which directions" },
    payloads: { type: "string", default: PAYLOADS.join(","), description: "UDP payload bytes" },
    flows: { type: "string", default: FLOWS.join(","), description: "numbers of flows" },
    turns: { type: "string", default: "5", description: "how often each case is measured" },
    packets: { type: "string", default: "2000000", description: "timed packets of one turn" },
  },
  async run({ args }) {
    const json = isJsonOutput(args.output);
    const numbers = (name: string, text: string) => text.split(",").map((n) => positive(name, n));
    const wanted = args.directions.split(",");
    const bench = new DataplaneBench({
      directions: DIRECTIONS.filter((direction) => wanted.includes(direction)),
      payloads: numbers("payloads", args.payloads),
      flows: numbers("flows", args.flows),
      turns: positive("turns", args.turns),
      packets: positive("packets", args.packets),
      serve: [...ownCommand(), "bench", "dataplane-serve"],
      oracle: findProgram("abs-oracle"),
      progress: (words) => notes.info(words),
    });
    const result = await cleanly(
      () => bench.run(),
      () => bench.clean(),
    );
    process.stdout.write(json ? `${JSON.stringify(result, null, 2)}\n` : dataplaneText(result));
  },
});

function dataplaneText(result: DataplaneResult): string {
  const head = ["case", "abs Mpps", "ns", "C Mpps", "ns", "ratio", "GCs", "p99.99 µs a burst"];
  const rows = result.cases.map((row) => [
    `${row.direction} ${row.payload_bytes} bytes, ${row.flows} flows`,
    row.abs_mpps.toFixed(2),
    row.abs_ns.toFixed(1),
    row.oracle_mpps.toFixed(2),
    row.oracle_ns.toFixed(1),
    row.ratio.toFixed(2),
    String(row.collections),
    row.gap_us_p9999.toFixed(0),
  ]);
  const ceiling = `Ceiling (testpmd macswap on a null port): ${result.ceiling_mpps} Mpps\n`;
  return `${machineText(result.machine)}\n${formatTable(head, rows)}${ceiling}`;
}

/** One side of `dataplane`, started by it; reads runs from standard input. */
const dataplaneServe = defineCommand({
  meta: { name: "dataplane-serve", hidden: true },
  run: serveRuns,
});

function pathName(text: string): PathName {
  const found = PATHS.find((path) => path === text);
  if (found !== undefined) return found;
  throw new AbsError("BENCH_OPTION", `There is no path ${text}.`, `Use ${PATHS.join(", ")}.`);
}

function e2eText(result: E2eResult): string {
  const rows = result.runs.map((run) => [
    run.path,
    run.tcp_mbps.toFixed(0),
    run.small_kpps.toFixed(1),
    run.rtt_us_p50.toFixed(0),
    run.rtt_sparse_us_p50.toFixed(0),
  ]);
  const head = ["path", "TCP Mbit/s", "64-byte kpps", "RTT µs p50", "sparse RTT µs p50"];
  const { agents } = result;
  const idle =
    agents === undefined
      ? ""
      : `\nIdle agent: ${agents.idle_cpu_percent} % of a core, ${agents.resident_mb} MB ` +
        `resident; first packet after 10 s: ${agents.first_after_idle_us} µs one way.\n`;
  return `${machineText(result.machine)}\n${formatTable(head, rows)}${idle}`;
}

function machineText(machine: MachineReport): string {
  const programs = Object.entries(machine.programs).map(([name, version]) => `${name} ${version}`);
  return (
    `${machine.cpu}, ${machine.cores} cores, Linux ${machine.kernel}, Bun ${machine.bun}, ` +
    `load ${machine.load}\n${programs.join("; ")}\n`
  );
}

export const benchCommand = defineCommand({
  meta: { name: "bench", description: "measure data plane, ledger, and paths between machines" },
  subCommands: {
    dataplane,
    e2e,
    dpi: benchDpiCommand,
    ledger: benchLedgerCommand,
    policy: benchPolicyCommand,
    flood: benchFloodCommand,
    "dataplane-serve": dataplaneServe,
    "ledger-bound": benchLedgerBoundCommand,
  },
});
