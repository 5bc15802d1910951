/**
 * `abs sig test FILE…`: identifies every flow of captures (docs/sig-test.md). The result goes to
 * standard output, progress and warnings to standard error. Exit 0: all was read and every
 * labelled flow is right; 1: one is not, or a capture could not be read; 2: wrong usage.
 */
import { statSync, writeSync } from "node:fs";
import { defineCommand } from "citty";
import { PcapngWriter } from "../capture/pcapng-writer.ts";
import { AbsError } from "../errors.ts";
import { CaptureRun } from "../sig/capture-run.ts";
import { Labels } from "../sig/labels.ts";
import { openSignatureSet } from "../sig/signature-set.ts";
import { OUTPUTS, type Output, TestReport } from "../sig/test-report.ts";
import { notes } from "./notes.ts";
import { ProgressBar } from "./progress-bar.ts";

export const sigTestCommand = defineCommand({
  meta: { name: "test", description: "identify every flow of captures, and score labels" },
  args: {
    file: { type: "positional", description: "captures (pcap, pcapng); - is standard input" },
    labels: { type: "string", description: "CSV: file,proto,src_ip,src_port,dst_ip,dst_port,app" },
    "ignore-ports": { type: "boolean", default: false, description: "no port may decide" },
    inner: { type: "boolean", default: false, description: "look inside tunnels" },
    signatures: { type: "string", description: "more signatures: files, separated by commas" },
    only: { type: "boolean", default: false, description: "without the built-in library" },
    output: { type: "string", default: "table", description: "table, json or jsonl" },
    write: { type: "string", description: "pcapng to write: packets with verdicts as comments" },
  },
  run({ args }) {
    const output = outputOf(args.output);
    const labels = args.labels === undefined ? undefined : new Labels(args.labels);
    const set = openSignatureSet({
      files: (args.signatures ?? "").split(",").filter((part) => part !== ""),
      only: args.only,
      ignorePorts: args["ignore-ports"],
    });
    const report = new TestReport(output, labels, printAll);
    const bar = new ProgressBar(args._.reduce((sum, file) => sum + sizeOf(file), 0));
    const writer = args.write === undefined ? undefined : new PcapngWriter(args.write);
    const run = new CaptureRun(set, report, {
      explain: output !== "json",
      inner: args.inner,
      progress: (bytes) => bar.show(bytes),
      ...(writer === undefined ? {} : { writer }),
    });
    for (const file of args._) {
      const told = report.capture(file, () => run.read(file));
      bar.next(sizeOf(file));
      if (typeof told === "string") notes.warn(told);
      else if (told !== undefined)
        notes.error(`${told.message} [${told.code}]\n  → ${told.remedy}`);
    }
    writer?.close();
    report.finish();
    if (report.failed) process.exitCode = 1;
  },
});

/** Standard output may be a pipe that takes some at a time: the rest waits, nothing is kept. */
function printAll(bytes: Uint8Array): void {
  let done = 0;
  while (done < bytes.length) {
    try {
      done += writeSync(1, bytes, done);
    } catch (error) {
      const { code } = error as { code?: string };
      // Nobody reads any more (`| head`): that is no error of ours.
      if (code === "EPIPE") process.exit(0);
      if (code !== "EAGAIN") throw error;
      Bun.sleepSync(1);
    }
  }
}

/** 0: not a file, or not known. */
function sizeOf(file: string): number {
  return file === "-" ? 0 : (statSync(file, { throwIfNoEntry: false })?.size ?? 0);
}

function outputOf(text: string): Output {
  const found = OUTPUTS.find((output) => output === text);
  if (found !== undefined) return found;
  throw new AbsError("OPTION_INVALID", `--output ${text} is not known.`, "Use table, json, jsonl.");
}
