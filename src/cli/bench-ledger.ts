/**
 * `abs bench ledger`: reads flags, calls src/bench/ledger.ts, prints a table or, with `--output
 * json`, one JSON object. Progress goes to standard error.
 */
import { tmpdir } from "node:os";
import { defineCommand } from "citty";
import { ownCommand } from "../agent/own-command.ts";
import { LedgerBench, type LedgerBenchResult } from "../bench/ledger.ts";
import { BoundNode } from "../bench/ledger-bound.ts";
import { formatTable } from "../bench/table.ts";
import { cleanly } from "./bench-cleanup.ts";
import { notes } from "./notes.ts";
import { isJsonOutput, outputArgument, wholeNumberOf } from "./options.ts";

const VALIDATORS_MAX = 20;
/** A bound's validator that nobody ends. */
const LIFETIME_MS = 600_000;

export const benchLedgerCommand = defineCommand({
  meta: { name: "ledger", description: "blocks a second of a ledger of real processes" },
  args: {
    output: outputArgument,
    validators: { type: "string", default: "4,7,10,20", description: "numbers of validators" },
    turns: { type: "string", default: "3", description: "how often each is measured" },
    seconds: { type: "string", default: "3", description: "of each measurement" },
    warm: { type: "string", default: "10", description: "seconds of blocks before it" },
    "catch-up": {
      type: "string",
      default: "10000",
      description: "blocks that a new node catches up with; 0: not measured",
    },
    start: {
      type: "string",
      default: "100000",
      description: "contracts of the start-up check; 0: not measured",
    },
    dir: { type: "string", default: tmpdir(), description: "where the nodes' folders are made" },
  },
  async run({ args }) {
    const isJson = isJsonOutput(args.output);
    const bench = new LedgerBench({
      ...{ abs: ownCommand(), dir: args.dir },
      validators: args.validators
        .split(",")
        .map((text) => wholeNumberOf("--validators", text, 1, VALIDATORS_MAX)),
      turns: wholeNumberOf("--turns", args.turns, 1, 100),
      seconds: wholeNumberOf("--seconds", args.seconds, 1, 3600),
      warmSeconds: wholeNumberOf("--warm", args.warm, 1, 3600),
      catchUpBlocks: wholeNumberOf("--catch-up", args["catch-up"], 0, 1_000_000),
      startContracts: wholeNumberOf("--start", args.start, 0, 10_000_000),
      progress: (words) => notes.info(words),
    });
    const result = await cleanly(
      () => bench.run(),
      () => bench.clean(),
    );
    process.stdout.write(isJson ? `${JSON.stringify(result, null, 2)}\n` : ledgerText(result));
  },
});

function ledgerText({ machine, runs, start }: LedgerBenchResult): string {
  const head = ["validators", ...runs.map(({ validators }) => String(validators))];
  const row = (name: string, pick: (run: (typeof runs)[number]) => number, digits = 0) => [
    name,
    ...runs.map((run) => pick(run).toFixed(digits)),
  ];
  const rows = [
    row("blocks/s", (run) => run.blocks_per_s, 1),
    row("blocks/s, just started", (run) => run.warming_blocks_per_s, 1),
    row("bound, blocks/s", (run) => run.bound_blocks_per_s, 1),
    row("share of the bound, %", (run) => 100 * run.bound_share),
    row("latency ms, p50", (run) => run.latency_ms_p50, 1),
    row("latency ms, p99", (run) => run.latency_ms_p99, 1),
    row("contracts/s, 1,024 a block", (run) => run.contracts_per_s),
    row("share of its bound, %", (run) => 100 * run.contracts_bound_share),
    row("signatures a block", (run) => run.signatures_per_block, 1),
    row("verifications a block", (run) => run.verifications_per_block, 1),
    row("VRF proofs verified a block", (run) => run.vrf_verifications_per_block, 1),
    row("frames a block", (run) => run.frames_per_block, 1),
    row("bytes on the wire a block", (run) => run.wire_bytes_per_block),
    row("CPU ms a block, validator", (run) => run.cpu_ms_per_block, 2),
    row("CPU ms a block, master", (run) => run.master_cpu_ms_per_block, 2),
    row("catch-up, blocks/s", (run) => run.catchup_blocks_per_s),
    row("load average", (run) => run.load, 2),
  ];
  const started =
    start === undefined
      ? ""
      : `\nStart with ${start.contracts} contracts: ${start.seconds} s; ` +
        `with none: ${start.empty_seconds} s.\n`;
  return (
    `${machine.cpu}, ${machine.cores} cores, Linux ${machine.kernel}, Bun ${machine.bun}, ` +
    `load ${machine.load} at the start\n\n${formatTable(head, rows)}${started}`
  );
}

/** One process of the bound, started by `ledger`. */
export const benchLedgerBoundCommand = defineCommand({
  meta: { name: "ledger-bound", hidden: true },
  args: {
    dir: { type: "string", required: true, description: "a node's folder" },
    body: { type: "string", required: true, description: "bytes of contracts in a block" },
    seconds: { type: "string", required: true, description: "of the measurement" },
    warm: { type: "string", required: true, description: "seconds of blocks before it" },
    master: { type: "boolean", default: false, description: "measures, prints, and ends" },
  },
  async run({ args }) {
    const bodyBytes = wholeNumberOf("--body", args.body, 0, 2 ** 20);
    const seconds = wholeNumberOf("--seconds", args.seconds, 1, 3600);
    const warmSeconds = wholeNumberOf("--warm", args.warm, 1, 3600);
    const node = new BoundNode({ dir: args.dir, bodyBytes, seconds, warmSeconds });
    await node.connect();
    if (args.master) {
      process.stdout.write(`${JSON.stringify(await node.measure())}\n`);
    } else {
      await Bun.sleep(LIFETIME_MS);
    }
    process.exit(0);
  },
});
