/**
 * `abs sig test FILE…`: identifies every flow of captures (docs/sig-test.md). The result goes to
 * standard output, progress and warnings to standard error. Exit 0: all was read and every labelled flow
 * is right; 1: a labelled flow is not, or a capture could not be read; 2: wrong usage.
 */
import { defineCommand } from "citty";
import { AbsError } from "../errors.ts";
import { type CaptureCounts, CaptureRun } from "../sig/capture-run.ts";
import { flowJson } from "../sig/flow-json.ts";
import type { FlowRecord } from "../sig/flow-record.ts";
import { type LabelledFlow, Labels } from "../sig/labels.ts";
import { type Score, scoreOf } from "../sig/score.ts";
import { openSignatureSet } from "../sig/signature-set.ts";
import { flowLine, scoreText, summaryText } from "../sig/test-text.ts";
import { notes } from "./notes.ts";

const OUTPUTS = ["table", "json", "jsonl"] as const;
type Output = (typeof OUTPUTS)[number];

export const sigTestCommand = defineCommand({
  meta: { name: "test", description: "identify every flow of captures, and score labels" },
  args: {
    file: { type: "positional", description: "captures (pcap, pcapng); - is standard input" },
    labels: { type: "string", description: "CSV: file,proto,src_ip,src_port,dst_ip,dst_port,app" },
    "ignore-ports": { type: "boolean", default: false, description: "no port may decide" },
    signatures: { type: "string", description: "more signatures: files, separated by commas" },
    only: { type: "boolean", default: false, description: "without the built-in library" },
    output: { type: "string", default: "table", description: "table, json or jsonl" },
  },
  run({ args }) {
    const output = outputOf(args.output);
    const set = openSignatureSet({
      files: listOf(args.signatures),
      only: args.only,
      ignorePorts: args["ignore-ports"],
    });
    const labels = args.labels === undefined ? undefined : new Labels(args.labels);
    const report = new TestReport(output, labels);
    const run = new CaptureRun(set, (record) => report.flow(record));
    for (const file of args._) report.capture(file, () => run.read(file));
    report.finish();
    if (report.failed) process.exitCode = 1;
  },
});

class TestReport {
  failed = false;
  readonly #captures: CaptureCounts[] = [];
  readonly #errors: { file: string; error: string }[] = [];
  readonly #apps = new Map<string, number>();
  readonly #unknown = new Map<string, number>();
  readonly #files: string[] = [];
  #text = "";

  constructor(
    private readonly output: Output,
    private readonly labels: Labels | undefined,
  ) {}

  flow(record: FlowRecord): void {
    const label = this.labels?.take(record);
    const app = record.identity?.signature.app;
    const counts = app === undefined ? this.#unknown : this.#apps;
    const key = app ?? record.unknown ?? "no-match";
    counts.set(key, (counts.get(key) ?? 0) + 1);
    if (this.output !== "json") this.#write(this.#line(record, label));
  }

  #line(record: FlowRecord, label: LabelledFlow | undefined): string {
    if (this.output === "table") return flowLine(record, label);
    return JSON.stringify({ type: "flow", ...flowJson(record, label) });
  }

  /** One capture; what cannot be read is told, and the next one follows. */
  capture(file: string, read: () => CaptureCounts): void {
    this.#files.push(file);
    try {
      const counts = read();
      this.#captures.push(counts);
      if (counts.fault !== "") notes.warn(`${file}: ${counts.fault}.`);
    } catch (error) {
      if (!(error instanceof AbsError)) throw error;
      this.failed = true;
      this.#errors.push({ file, error: error.message });
      notes.error(`${error.message} [${error.code}]\n  → ${error.remedy}`);
    }
  }

  finish(): void {
    const score = this.labels === undefined ? undefined : scoreOf(this.labels.of(this.#files));
    if (score !== undefined && score.correct < score.labelled) this.failed = true;
    const summary = this.#summary(score);
    if (this.output === "json") this.#write(JSON.stringify(summary, null, 2));
    else if (this.output === "jsonl") this.#write(JSON.stringify({ type: "summary", ...summary }));
    else this.#write(summaryText(summary) + (score === undefined ? "" : scoreText(score)));
    process.stdout.write(this.#text);
  }

  #summary(score: Score | undefined) {
    const sum = (key: "packets" | "flows" | "notIp" | "malformed" | "evicted") =>
      this.#captures.reduce((total, counts) => total + counts[key], 0);
    return {
      captures: this.#captures.length,
      packets: sum("packets"),
      flows: sum("flows"),
      not_ip: sum("notIp"),
      malformed: sum("malformed"),
      evicted: sum("evicted"),
      apps: sorted(this.#apps),
      unknown: sorted(this.#unknown),
      warnings: this.#captures
        .filter(({ fault }) => fault !== "")
        .map(({ file, fault }) => ({ file, warning: fault })),
      errors: this.#errors,
      ...(score === undefined ? {} : { score }),
    };
  }

  /** Lines are written many at a time. */
  #write(line: string): void {
    this.#text += `${line}\n`;
    if (this.#text.length < 1 << 16) return;
    process.stdout.write(this.#text);
    this.#text = "";
  }
}

function sorted(counts: ReadonlyMap<string, number>): Record<string, number> {
  return Object.fromEntries([...counts].sort((left, right) => right[1] - left[1]));
}

function listOf(text: string | undefined): string[] {
  return text === undefined ? [] : text.split(",").filter((part) => part !== "");
}

function outputOf(text: string): Output {
  const found = OUTPUTS.find((output) => output === text);
  if (found !== undefined) return found;
  throw new AbsError("OPTION_INVALID", `--output ${text} is not known.`, "Use table, json, jsonl.");
}
