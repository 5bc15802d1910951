/**
 * The child process of capture-tests.ts (`abs manager test-capture`): signatures and a capture on
 * standard input, one JSON object on standard output. It is given no key, and is confined before
 * it looks at a packet. What is told of a flow is what `abs sig test --output jsonl` tells
 * (docs/sig-test.md).
 */
import { captureOf } from "../capture/capture-window.ts";
import { compileSignatures } from "../dpi/compile.ts";
import { librarySignatures } from "../dpi/library.ts";
import { parseSignatures } from "../dpi/schema.ts";
import type { AppSignature } from "../dpi/signature.ts";
import { AbsError, messageOf } from "../errors.ts";
import { confine } from "../native/confinement.ts";
import { CaptureRun } from "../sig/capture-run.ts";
import { flowJson } from "../sig/flow-json.ts";
import type { FlowRecord } from "../sig/flow-record.ts";
import type { FlowSink } from "../sig/signature-judge.ts";
import { setOf } from "../sig/signature-set.ts";
import { TestReport, type TestSummary } from "../sig/test-report.ts";

/** Flows that are told one by one; all are counted. */
export const FLOWS_TOLD_MAX = 500;
const LENGTH_BYTES = 4;
/** In complaints. */
export const CAPTURE_NAME = "The capture";

/** What precedes the capture, as JSON with its length before it. */
export type CaptureTestHead = {
  /** Each the text of one, and how it is called in complaints. */
  readonly signatures: readonly { readonly place: string; readonly contents: string }[];
  /** The built-in ones beside them; the same `sig_id` takes their place. */
  readonly library: boolean;
  /** Look inside tunnels. */
  readonly inner: boolean;
};

export type CaptureTestFlow = ReturnType<typeof toldOf>;

/** Counts are of all flows, whether they are told or not. */
export type CaptureTestResult = Omit<TestSummary, "captures" | "errors" | "score" | "warnings"> & {
  /** How many signatures were there. */
  readonly signatures: number;
  readonly warnings: readonly string[];
  /** In the order of their first packets. */
  readonly told: readonly CaptureTestFlow[];
};

export type CaptureTestAnswer =
  | { readonly result: CaptureTestResult }
  | { readonly code: string; readonly message: string; readonly remedy: string };

export function captureTestInput(head: CaptureTestHead, capture: Uint8Array): Uint8Array {
  const text = Buffer.from(JSON.stringify(head));
  const length = Buffer.alloc(LENGTH_BYTES);
  length.writeUInt32LE(text.length, 0);
  return Buffer.concat([length, text, capture]);
}

export async function serveCaptureTest(): Promise<void> {
  let answer: CaptureTestAnswer;
  try {
    const input = await Bun.stdin.bytes();
    const headBytes = new DataView(input.buffer, input.byteOffset).getUint32(0, true);
    const end = LENGTH_BYTES + headBytes;
    const head = JSON.parse(Buffer.from(input.subarray(LENGTH_BYTES, end)).toString());
    answer = { result: testCapture(head, input.subarray(end)) };
  } catch (thrown) {
    if (!(thrown instanceof AbsError)) throw thrown;
    answer = { code: thrown.code, message: messageOf(thrown), remedy: thrown.remedy };
  }
  await Bun.write(Bun.stdout, JSON.stringify(answer));
}

/** @throws AbsError SIGNATURE_INVALID, CAPTURE_FORMAT */
function testCapture(head: CaptureTestHead, capture: Uint8Array): CaptureTestResult {
  const compiled = compileSignatures(signaturesOf(head), () => 0);
  const set = setOf(compiled, { portsMatter: true, cache: undefined });
  const told: CaptureTestFlow[] = [];
  const report = new TestReport("json", undefined, () => {});
  const sink: FlowSink = {
    count: (app, reason) => report.count(app, reason),
    get wantsRecords() {
      return told.length < FLOWS_TOLD_MAX;
    },
    record: (record) => told.push(toldOf(record)),
  };
  const run = new CaptureRun(set, sink, { explain: true, inner: head.inner });
  confine();
  const source = captureOf(CAPTURE_NAME, capture);
  const failure = report.capture(CAPTURE_NAME, () => run.readSource(source));
  if (failure instanceof AbsError) throw failure;
  const { captures: _, errors: __, warnings, ...counts } = report.finish();
  return {
    ...{ signatures: compiled.signatures.length, ...counts },
    warnings: warnings.map(({ warning }) => warning),
    told: told.sort((left, right) => left.first_packet - right.first_packet),
  };
}

function signaturesOf({ signatures, library }: CaptureTestHead): AppSignature[] {
  const own = signatures.flatMap(({ place, contents }) => parseSignatures(contents, place));
  const ids = new Set(own.map(({ id }) => id));
  return library ? [...librarySignatures().filter(({ id }) => !ids.has(id)), ...own] : own;
}

/** `version`: of the signature. */
function toldOf(record: FlowRecord) {
  const { file: _, ...flow } = flowJson(record, undefined);
  return { ...flow, version: record.identity?.signature.version ?? null };
}
