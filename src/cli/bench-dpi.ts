/**
 * `abs bench dpi`: reads flags, calls src/bench/dpi.ts, prints a table or, with `--output json`,
 * one JSON object. Progress goes to standard error.
 */
import { defineCommand } from "citty";
import { ownCommand } from "../agent/own-command.ts";
import { DpiBench, type DpiResult, type MatchResult } from "../bench/dpi.ts";
import { formatTable } from "../bench/table.ts";
import { AbsError } from "../errors.ts";
import { notes } from "./notes.ts";
import { isJsonOutput, outputArgument } from "./options.ts";

export const benchDpiCommand = defineCommand({
  meta: { name: "dpi", description: "identifying a large capture, beside ndpiReader" },
  args: {
    output: outputArgument,
    captures: {
      type: "string",
      default: "../shared/captures",
      description: "captures that the large one is made of",
    },
    file: { type: "string", default: "build/bench/dpi.pcap", description: "the large capture" },
    "match-only": { type: "boolean", default: false, description: "no large capture" },
    turns: { type: "string", default: "5", description: "how often each program runs" },
  },
  async run({ args }) {
    const isJson = isJsonOutput(args.output);
    const turns = Number(args.turns);
    if (!Number.isInteger(turns) || turns < 1) {
      throw new AbsError("BENCH_OPTION", `--turns ${args.turns} is not a number above 0.`);
    }
    const { captures, file } = args;
    const progress = (words: string) => notes.info(words);
    const bench = new DpiBench({ abs: ownCommand(), captures, file, turns, progress });
    const result = args["match-only"] ? undefined : await bench.run();
    const match = bench.match();
    const text = isJson
      ? `${JSON.stringify({ ...result, ...match }, null, 2)}\n`
      : (result === undefined ? "" : `${dpiText(result)}\n`) + matchText(match);
    process.stdout.write(text);
  },
});

function matchText({ sets, match_ratio, hostile }: MatchResult): string {
  const rows = sets.map((set) => [
    `${set.signatures}, ${100 * set.regex_share} % regular expressions`,
    set.ns.toFixed(0),
    set.compile_seconds.toFixed(2),
    (set.database_bytes / 1e6).toFixed(1),
  ]);
  const bytes = Object.keys(hostile[0]?.ns ?? {});
  const times = hostile.map((one) => [one.expr, ...bytes.map((size) => String(one.ns[size]))]);
  return (
    `${formatTable(["signatures", "ns a payload", "compile s", "database MB"], rows)}\n` +
    `10,000 signatures cost ${match_ratio.toFixed(2)} times what 100 cost.\n\n` +
    formatTable(["hostile expression, ns", ...bytes.map((size) => `${size} bytes`)], times)
  );
}

function dpiText(result: DpiResult): string {
  const { machine, file } = result;
  const row = (name: string, pps: number, fps: number, bytes: number) => [
    name,
    (pps / 1e6).toFixed(2),
    (fps / 1e3).toFixed(0),
    (bytes / 1e6).toFixed(0),
  ];
  const rows = [
    row("abs", result.abs_pps, result.abs_flows_per_second, result.abs_rss_bytes),
    row("ndpiReader", result.ndpi_pps, result.ndpi_flows_per_second, result.ndpi_rss_bytes),
  ];
  return (
    `${machine.cpu}, ${machine.cores} cores, Bun ${machine.bun}, load ${machine.load}\n` +
    `${(file.bytes / 1e6).toFixed(0)} MB, ${file.packets} packets, ${file.flows} flows\n\n` +
    formatTable(["program", "Mpps", "1,000 flows/s", "peak MB"], rows) +
    `\nratio ${result.ratio}\n`
  );
}
