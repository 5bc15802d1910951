/**
 * Tests of captures that administrators hand in: each in a child process (capture-test-child.ts),
 * since a stranger's packets have no place beside the manager's keys. A child has a limited time
 * and memory, gives way to everything else, and few run at once. docs/manager.md "Signatures".
 */
import { readFileSync } from "node:fs";
import { readerOf } from "../capture/capture-reader.ts";
import { CaptureWindow, captureOf } from "../capture/capture-window.ts";
import { AbsError } from "../errors.ts";
import { giveWay } from "../native/child-priority.ts";
import { ApiProblem } from "./api/problems.ts";
import {
  CAPTURE_NAME,
  type CaptureTestAnswer,
  type CaptureTestHead,
  type CaptureTestResult,
  captureTestInput,
} from "./capture-test-child.ts";

const LIMITS = {
  atOnce: 2,
  timeMs: 60_000,
  /** Resident, of the child. Measured: 200 MiB and 3 s for 135,000 flows of a packet each. */
  memoryBytes: 512 * 1024 * 1024,
};
/** What the child's collector is told that the machine has. */
const CHILD_HEAP_BYTES = 100_000_000;
/** The flows that are told take 300 kB. */
const OUTPUT_BYTES_MAX = 16 * 1024 * 1024;
/** Enough for the header of either format. */
const HEADER_BYTES = 64;
const WATCH_MS = 50;
const NICE = 5;
const RETRY_SECONDS = 5;

export type CaptureTestOptions = {
  /** The command line of the child. */
  readonly program: readonly string[];
  readonly limits?: Partial<typeof LIMITS>;
};

type Child = Bun.Subprocess<Uint8Array, "pipe", "pipe">;

export class CaptureTests {
  readonly #limits: typeof LIMITS;
  readonly #children = new Set<Child>();
  #claimed = 0;

  constructor(private readonly options: CaptureTestOptions) {
    this.#limits = { ...LIMITS, ...options.limits };
  }

  /** Before the capture is read: it is what takes memory. @throws ApiProblem OVERLOADED */
  claim(): () => void {
    const { atOnce } = this.#limits;
    if (this.#claimed >= atOnce) {
      const what = `${atOnce} captures are being tested, and not more at once.`;
      const headers = { "Retry-After": `${RETRY_SECONDS}` };
      throw new ApiProblem("OVERLOADED", what, "Try again when they are done.", headers);
    }
    this.#claimed++;
    return () => {
      this.#claimed--;
    };
  }

  /** @throws AbsError CAPTURE_FORMAT, SIGNATURE_INVALID, CAPTURE_TEST_LIMIT, CAPTURE_TEST_FAILED */
  async run(head: CaptureTestHead, capture: Uint8Array): Promise<CaptureTestResult> {
    checkHeader(capture);
    const child = Bun.spawn([...this.options.program], {
      stdin: captureTestInput(head, capture),
      ...{ stdout: "pipe", stderr: "pipe" },
      env: { ...process.env, BUN_JSC_forceRAMSize: String(CHILD_HEAP_BYTES) },
    });
    this.#children.add(child);
    giveWay(child.pid, NICE);
    const watch = new ChildWatch(child, this.#limits);
    try {
      const [output, words] = await Promise.all([
        watch.read(child.stdout, OUTPUT_BYTES_MAX),
        watch.read(child.stderr, OUTPUT_BYTES_MAX),
        child.exited,
      ]);
      if (watch.exceeded !== undefined) throw tooMuch(watch.exceeded);
      return resultOf(output, words || `it ended with ${child.signalCode ?? child.exitCode}`);
    } finally {
      watch.end();
      this.#children.delete(child);
    }
  }

  /** Ends all of them. */
  stop(): void {
    for (const child of this.#children) child.kill("SIGKILL");
  }
}

/** No child is started for what is no capture. @throws AbsError CAPTURE_FORMAT */
function checkHeader(capture: Uint8Array): void {
  const window = new CaptureWindow();
  window.open(captureOf(CAPTURE_NAME, capture.subarray(0, HEADER_BYTES)));
  readerOf(window, CAPTURE_NAME);
}

/** Kills a child that takes more than it may; `exceeded` says of what. */
class ChildWatch {
  exceeded: string | undefined;
  readonly #from = performance.now();
  readonly #timer: Timer;

  constructor(
    private readonly child: Child,
    private readonly limits: typeof LIMITS,
  ) {
    this.#timer = setInterval(() => this.#look(), WATCH_MS);
    this.#look();
  }

  end(): void {
    clearInterval(this.#timer);
  }

  async read(stream: ReadableStream<Uint8Array>, bytesMax: number): Promise<string> {
    const parts: Uint8Array[] = [];
    let size = 0;
    for await (const part of stream) {
      size += part.length;
      if (size > bytesMax) this.#kill(`${bytesMax / 1024 / 1024} MiB of findings`);
      else parts.push(part);
    }
    return Buffer.concat(parts).toString();
  }

  #look(): void {
    const { timeMs, memoryBytes } = this.limits;
    if (performance.now() - this.#from >= timeMs) this.#kill(`${timeMs / 1000} s`);
    else if (residentBytes(this.child.pid) > memoryBytes) {
      this.#kill(`${memoryBytes / 1024 / 1024} MiB of memory`);
    }
  }

  #kill(what: string): void {
    this.exceeded ??= what;
    this.child.kill("SIGKILL");
  }
}

/** 0: it has ended. */
function residentBytes(pid: number): number {
  try {
    const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
    return Number(kilobytes?.[1] ?? 0) * 1024;
  } catch {
    return 0;
  }
}

function resultOf(output: string, words: string): CaptureTestResult {
  let answer: CaptureTestAnswer;
  try {
    answer = JSON.parse(output) as CaptureTestAnswer;
  } catch (cause) {
    const what = `The child process that tests the capture failed: ${words.trim().slice(-500)}`;
    const remedy = "Try `abs sig test` on a machine of your own, and report what it says.";
    throw new AbsError("CAPTURE_TEST_FAILED", what, remedy, cause);
  }
  if ("result" in answer) return answer.result;
  throw new AbsError(answer.code, answer.message, answer.remedy);
}

function tooMuch(what: string): AbsError {
  const message = `The test took more than ${what}, and was ended.`;
  return new AbsError(
    "CAPTURE_TEST_LIMIT",
    message,
    "Take a part of the capture, or use `abs sig test` on a machine of your own.",
  );
}
