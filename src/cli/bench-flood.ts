/**
 * `abs bench flood`: reads flags, calls src/bench/flood.ts, prints a table or, with `--output
 * json`, one JSON object. Progress goes to standard error.
 */
import { defineCommand } from "citty";
import { FloodBench, type FloodResult } from "../bench/flood.ts";
import { formatTable } from "../bench/table.ts";
import { cleanly } from "./bench-cleanup.ts";
import { notes } from "./notes.ts";
import { isJsonOutput, outputArgument, wholeNumberOf } from "./options.ts";

export const benchFloodCommand = defineCommand({
  meta: { name: "flood", description: "refused packets beside established traffic" },
  args: {
    output: outputArgument,
    seconds: { type: "string", default: "60", description: "of the flood" },
    rate: { type: "string", default: "1000000", description: "refused packets offered a second" },
  },
  async run({ args }) {
    const isJson = isJsonOutput(args.output);
    const bench = new FloodBench({
      seconds: wholeNumberOf("--seconds", args.seconds, 1, 3_600),
      rate: wholeNumberOf("--rate", args.rate, 1, 100_000_000),
      progress: (words) => notes.info(words),
    });
    const result = await cleanly(
      () => bench.run(),
      () => bench.clean(),
    );
    process.stdout.write(isJson ? `${JSON.stringify(result, null, 2)}\n` : floodText(result));
  },
});

function floodText(result: FloodResult): string {
  const { drops, machine: _, ...figures } = result;
  const rows = Object.entries({ ...figures, ...drops }).map(([name, value]) => [
    name,
    String(value),
  ]);
  return formatTable(["figure", "value"], rows);
}
