/**
 * What `abs sig test` has found, as it comes: flows are written at once when they are wanted one by
 * one, counts and scores at the end. docs/sig-test.md has every field.
 */
import { AbsError } from "../errors.ts";
import type { CaptureCounts } from "./capture-run.ts";
import { flowJson } from "./flow-json.ts";
import type { FlowRecord, UnknownReason } from "./flow-record.ts";
import type { Labels } from "./labels.ts";
import { type Score, scoreOf } from "./score.ts";
import type { FlowSink } from "./signature-judge.ts";
import { flowLine, scoreText, summaryText } from "./test-text.ts";

export const OUTPUTS = ["table", "json", "jsonl"] as const;
export type Output = (typeof OUTPUTS)[number];

export interface TestSummary {
  readonly captures: number;
  readonly packets: number;
  readonly flows: number;
  readonly not_ip: number;
  readonly malformed: number;
  readonly fragments: number;
  readonly skipped: number;
  readonly evicted: number;
  /** Flows by application, and those without one by reason. */
  readonly apps: Record<string, number>;
  readonly unknown: Record<string, number>;
  /** Captures that were not read to their end, and those that could not be read at all. */
  readonly warnings: readonly { readonly file: string; readonly warning: string }[];
  readonly errors: readonly { readonly file: string; readonly code: string; error: string }[];
  readonly score?: Score;
}

const OUTPUT_BYTES = 1 << 16;
const NEWLINE = 0x0a;
const ENCODER = new TextEncoder();
/** What each flow leaves on the heap is gone after its line is written. */
const FLUSHES_BETWEEN_COLLECTIONS = 16;

export class TestReport implements FlowSink {
  /** A capture could not be read, or a labelled flow is not right. */
  failed = false;
  wantsRecords: boolean;
  readonly #captures: CaptureCounts[] = [];
  readonly #errors: { file: string; code: string; error: string }[] = [];
  readonly #apps = new Map<string, number>();
  readonly #unknown = new Map<string, number>();
  readonly #files: string[] = [];
  readonly #bytes = new Uint8Array(OUTPUT_BYTES);
  #end = 0;
  #flushes = 0;

  constructor(
    private readonly output: Output,
    private readonly labels: Labels | undefined,
    private readonly print: (bytes: Uint8Array) => void,
  ) {
    this.wantsRecords = output !== "json";
  }

  count(app: string | undefined, reason: UnknownReason | undefined): void {
    const counts = app === undefined ? this.#unknown : this.#apps;
    const key = app ?? reason ?? "no-match";
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }

  record(record: FlowRecord): void {
    const label = this.labels?.take(record);
    if (this.output === "table") this.#write(flowLine(record, label));
    if (this.output === "jsonl") {
      this.#write(JSON.stringify({ type: "flow", ...flowJson(record, label) }));
    }
  }

  /** One capture. Returns what the user should be told of it: an error, or why it ended early. */
  capture(file: string, read: () => CaptureCounts): AbsError | string | undefined {
    this.#files.push(file);
    this.wantsRecords = this.output !== "json" || this.labels?.has(file) === true;
    try {
      const counts = read();
      this.#captures.push(counts);
      return counts.fault === "" ? undefined : `${file}: ${counts.fault}.`;
    } catch (error) {
      if (!(error instanceof AbsError)) throw error;
      this.failed = true;
      this.#errors.push({ file, code: error.code, error: error.message });
      return error;
    }
  }

  finish(): TestSummary {
    const score = this.labels === undefined ? undefined : scoreOf(this.labels.of(this.#files));
    if (score !== undefined && score.correct < score.labelled) this.failed = true;
    const summary = this.#summary(score);
    if (this.output === "json") this.#write(JSON.stringify(summary, null, 2));
    else if (this.output === "jsonl") this.#write(JSON.stringify({ type: "summary", ...summary }));
    else this.#write(summaryText(summary) + (score === undefined ? "" : scoreText(score)));
    this.#flush();
    return summary;
  }

  #summary(score: Score | undefined): TestSummary {
    const sum = (of: (counts: CaptureCounts) => number) =>
      this.#captures.reduce((total, counts) => total + of(counts), 0);
    return {
      captures: this.#captures.length,
      packets: sum(({ packets }) => packets),
      flows: sum(({ flows }) => flows),
      not_ip: sum(({ notIp }) => notIp),
      malformed: sum(({ malformed }) => malformed),
      fragments: sum(({ fragments }) => fragments),
      skipped: sum(({ skipped }) => skipped),
      evicted: sum(({ evicted }) => evicted),
      apps: sorted(this.#apps),
      unknown: sorted(this.#unknown),
      warnings: this.#captures
        .filter(({ fault }) => fault !== "")
        .map(({ file, fault }) => ({ file, warning: fault })),
      errors: this.#errors,
      ...(score === undefined ? {} : { score }),
    };
  }

  /**
   * Lines are written many at a time, through one buffer: joined as text, they would be 200 MB of
   * garbage by the end of a large capture.
   */
  #write(line: string): void {
    const needed = 3 * line.length + 1; // UTF-8 takes at most 3 bytes a UTF-16 unit
    if (needed > this.#bytes.length - this.#end) this.#flush();
    if (needed > this.#bytes.length) {
      this.print(Buffer.from(`${line}\n`));
      return;
    }
    this.#end += ENCODER.encodeInto(line, this.#bytes.subarray(this.#end)).written;
    this.#bytes[this.#end++] = NEWLINE;
  }

  #flush(): void {
    this.print(this.#bytes.subarray(0, this.#end));
    this.#end = 0;
    if (++this.#flushes % FLUSHES_BETWEEN_COLLECTIONS === 0) Bun.gc(true);
  }
}

/** Most frequent first. */
function sorted(counts: ReadonlyMap<string, number>): Record<string, number> {
  return Object.fromEntries([...counts].sort((left, right) => right[1] - left[1]));
}
