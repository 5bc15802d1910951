/**
 * `abs bench dpi`: reads flags, calls src/bench/dpi.ts, prints a table or, with `--output json`, one
 * JSON object. Progress goes to standard error.
 */
import { defineCommand } from "citty";
import { ownCommand } from "../agent/own-command.ts";
import { DpiBench, type DpiResult } from "../bench/dpi.ts";
import { formatTable } from "../bench/table.ts";
import { AbsError } from "../errors.ts";
import { notes } from "./notes.ts";

export const benchDpiCommand = defineCommand({
  meta: { name: "dpi", description: "identifying a large capture, beside ndpiReader" },
  args: {
    output: { type: "string", default: "text", description: "text or json" },
    captures: {
      type: "string",
      default: "../shared/captures",
      description: "captures that the large one is made of",
    },
    file: { type: "string", default: "build/bench/dpi.pcap", description: "the large capture" },
    turns: { type: "string", default: "5", description: "how often each program runs" },
  },
  async run({ args }) {
    if (args.output !== "json" && args.output !== "text") {
      const message = `--output ${args.output} is not known.`;
      throw new AbsError("BENCH_OUTPUT", message, "Use text or json.");
    }
    const turns = Number(args.turns);
    if (!Number.isInteger(turns) || turns < 1) {
      throw new AbsError("BENCH_OPTION", `--turns ${args.turns} is not a number above 0.`);
    }
    const { captures, file } = args;
    const progress = (words: string) => notes.info(words);
    const bench = new DpiBench({ abs: ownCommand(), captures, file, turns, progress });
    const result = await bench.run();
    const text = args.output === "json" ? `${JSON.stringify(result, null, 2)}\n` : dpiText(result);
    process.stdout.write(text);
  },
});

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
