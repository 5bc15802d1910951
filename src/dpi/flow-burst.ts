/**
 * Judges many flows at once by both first payloads: one call scans the payloads of a burst. For
 * `abs sig test`, which knows whole flows; the agent judges payloads one by one as they come
 * (matcher.ts). Hot path: add() and run() allocate nothing.
 *
 * Use: `while (burst.add(numbers, request, response) < 0) { burst.run(); … read burst.signature[i]
 * for i below the count that run() returned … }`, and run() once more at the end. A side that said
 * nothing is an empty array. add() copies, so that the caller may reuse what it gave.
 */

import { type Pointer, ptr } from "bun:ffi";
import { type Matcher, REPORT_WORDS } from "./matcher.ts";
import type { FlowNumbers } from "./number-fit.ts";
import { SETTING_CONTENTS } from "./snapshot.ts";

/** Flows of one burst; two texts each, as many as one call scans (ABS_BURST_MAX). */
export const BURST_FLOWS = 32;
const TEXTS = 2 * BURST_FLOWS;
/** Room for a payload of the largest IP packet and more. */
const TEXT_BYTES = 4 * 65_536;
/** Reports of a burst; more of them only take more calls. */
const REPORTS_MIN = 8192;

export class FlowBurst {
  /** By flow of the last run(): a signature or NO_MATCH. */
  readonly signature = new Int32Array(BURST_FLOWS);

  private count = 0;
  private used = 0;
  private readonly numbers: FlowNumbers[] = [];
  private readonly text = new Uint8Array(new ArrayBuffer(TEXT_BYTES));
  private readonly textPointer = ptr(this.text);
  /** By text, 2 * flow + direction: where it is, how much is scanned, how long it is. */
  private readonly offset = new Uint32Array(new ArrayBuffer(4 * TEXTS));
  private readonly scanned = new Uint32Array(new ArrayBuffer(4 * TEXTS));
  private readonly length = new Uint32Array(new ArrayBuffer(4 * TEXTS));
  private readonly offsetPointer = ptr(this.offset);
  private readonly scannedPointer = ptr(this.scanned);
  private readonly reportsMax: number;
  private readonly reports: Uint32Array;
  private readonly reportsPointer: Pointer;

  constructor(private readonly matcher: Matcher) {
    for (let i = 0; i < BURST_FLOWS; i++) this.numbers.push(emptyNumbers());
    // At least those of one flow, so that each call brings one further.
    this.reportsMax = Math.max(REPORTS_MIN, 2 * matcher.reportsMax);
    this.reports = new Uint32Array(new ArrayBuffer(4 * REPORT_WORDS * this.reportsMax));
    this.reportsPointer = ptr(this.reports);
  }

  /** Takes a flow. Returns its number in the burst, or -1 when there is no room: run() first. */
  add(numbers: FlowNumbers, request: Uint8Array, response: Uint8Array): number {
    const flow = this.count;
    if (flow === BURST_FLOWS) return -1;
    if (this.used + request.length + response.length > TEXT_BYTES) return -1;
    copyNumbers(numbers, this.numbers[flow]);
    this.put(2 * flow, request);
    this.put(2 * flow + 1, response);
    this.count++;
    return flow;
  }

  /** Judges the flows taken and forgets them; returns how many they were. */
  run(): number {
    const count = this.count;
    let text = 0;
    while (text < 2 * count) text = this.runFrom(text, 2 * count);
    this.count = 0;
    this.used = 0;
    return count;
  }

  private put(text: number, payload: Uint8Array): void {
    this.offset[text] = this.used;
    this.length[text] = payload.length;
    this.scanned[text] = this.matcher.scanLength(payload.length);
    this.text.set(payload, this.used);
    this.used += payload.length;
  }

  /** Judges flows from text `from` on, as far as the reports fit; returns the next text. */
  private runFrom(from: number, end: number): number {
    const found = this.scan(from, end);
    // A full array may lack reports of the last text's flow.
    const full = found === this.reportsMax;
    const last = full ? (from + this.reports[REPORT_WORDS * (found - 1)]) & ~1 : end;
    let report = 0;
    for (let text = from; text < last; text += 2) {
      const first = report;
      report = this.endOf(report, found, text - from);
      const middle = report;
      report = this.endOf(report, found, text + 1 - from);
      this.judge(text, first, middle, report);
    }
    return last;
  }

  private judge(text: number, first: number, middle: number, end: number): void {
    this.signature[text >>> 1] = this.matcher.resolveFlow(
      this.numbers[text >>> 1],
      this.textPointer + this.offset[text],
      this.length[text],
      this.textPointer + this.offset[text + 1],
      this.length[text + 1],
      this.reports,
      first,
      middle,
      end,
    );
  }

  private endOf(report: number, found: number, text: number): number {
    let end = report;
    while (end < found && this.reports[REPORT_WORDS * end] === text) end++;
    return end;
  }

  /** Reports of texts [from, end); 0 when the shim refuses, which the matcher counts. */
  private scan(from: number, end: number): number {
    const matcher = this.matcher;
    if (matcher.snapshot.settings[SETTING_CONTENTS] === 0) return 0;
    const found = matcher.scanner.abs_match_burst(
      matcher.database,
      this.textPointer,
      (this.offsetPointer + 4 * from) as Pointer,
      (this.scannedPointer + 4 * from) as Pointer,
      end - from,
      this.reportsPointer,
      this.reportsMax,
    );
    if (found >= 0) return found;
    matcher.failures++;
    return 0;
  }
}

/** Set-up: made once. */
function emptyNumbers(): FlowNumbers {
  return {
    ipVersion: 0,
    transportProtocol: 0,
    source0: 0,
    source1: 0,
    source2: 0,
    source3: 0,
    sourcePort: 0,
    destination0: 0,
    destination1: 0,
    destination2: 0,
    destination3: 0,
    destinationPort: 0,
  };
}

function copyNumbers(from: FlowNumbers, to: FlowNumbers): void {
  to.ipVersion = from.ipVersion;
  to.transportProtocol = from.transportProtocol;
  to.source0 = from.source0;
  to.source1 = from.source1;
  to.source2 = from.source2;
  to.source3 = from.source3;
  to.sourcePort = from.sourcePort;
  to.destination0 = from.destination0;
  to.destination1 = from.destination1;
  to.destination2 = from.destination2;
  to.destination3 = from.destination3;
  to.destinationPort = from.destinationPort;
}
