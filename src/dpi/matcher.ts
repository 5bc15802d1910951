/**
 * Which signature a first payload matches (design/agent.md "Application signatures"). Hot path.
 * One scan finds all expressions of all signatures; here the reports are counted per signature and
 * the numbers, lengths and forbidden contents of those complete are compared. The cost of a
 * payload follows its matches, not the number of signatures. The same code serves the agent and
 * `abs sig test`.
 *
 * A payload shorter than a signature needs is not judged against it: while that signature would win
 * and nothing so far contradicts it, the answer is NEED_MORE.
 */

import { type Pointer, ptr, read } from "bun:ffi";
import { RANGE_WORDS, rangeHolds } from "../wire/address-range.ts";
import {
  REQUEST,
  SET_WORDS,
  SETTING_EXPRESSIONS,
  SETTING_NEED_REQUEST,
  SETTING_SCAN_BYTES,
  SETTING_SIGNATURES,
  type SignatureSnapshot,
} from "./snapshot.ts";

/** No signature matches, however the payload goes on. */
export const NO_MATCH = -1;
/** A signature that would win needs more bytes than there are yet. */
export const NEED_MORE = -2;

/** Numbers of a flow as its initiator sends; a ParsedPacket of the initiator is one. */
export interface FlowNumbers {
  ipVersion: number;
  transportProtocol: number;
  source0: number;
  source1: number;
  source2: number;
  source3: number;
  sourcePort: number;
  destination0: number;
  destination1: number;
  destination2: number;
  destination3: number;
  destinationPort: number;
}

/** The shim's call (c/match_shim.c). */
export interface MatchScanner {
  abs_match_burst(
    database: number,
    base: Pointer,
    offset: Pointer,
    length: Pointer,
    count: number,
    match: Pointer,
    matchMax: number,
  ): number;
}

/** Words of one report: text, expression, match end. */
const REPORT_WORDS = 3;

export class Matcher {
  /** Payloads whose reports did not fit and scans the shim refused: both are answered NO_MATCH. */
  overflows = 0;
  failures = 0;

  private readonly reports: Uint32Array;
  private readonly textOffset = new Uint32Array(1);
  private readonly textLength = new Uint32Array(1);
  private readonly reportsPointer: Pointer;
  private readonly offsetPointer = ptr(this.textOffset);
  private readonly lengthPointer = ptr(this.textLength);
  /** Equal to `turn` when the expression matched in the running turn. */
  private readonly matchedIn: Uint32Array;
  /** By 2 * signature + direction: expressions found so far, valid when `countedIn` is `turn`. */
  private readonly counted: Uint32Array;
  private readonly countedIn: Uint32Array;
  /** Signatures whose expressions all matched in the running turn. */
  private readonly complete: Uint32Array;
  private completeCount = 0;
  private turn = 0;

  /**
   * `database`: of abs_match_compile, prepared by this thread; ignored when there are no
   * expressions. `reportsMax`: reports kept of one payload.
   */
  constructor(
    private readonly snapshot: SignatureSnapshot,
    private readonly database: number,
    private readonly scanner: MatchScanner,
    private readonly reportsMax = 8192,
  ) {
    const signatures = snapshot.settings[SETTING_SIGNATURES];
    this.reports = new Uint32Array(REPORT_WORDS * reportsMax);
    this.reportsPointer = ptr(this.reports);
    this.matchedIn = new Uint32Array(Math.max(1, snapshot.settings[SETTING_EXPRESSIONS]));
    this.counted = new Uint32Array(Math.max(1, 2 * signatures));
    this.countedIn = new Uint32Array(Math.max(1, 2 * signatures));
    this.complete = new Uint32Array(Math.max(1, signatures));
  }

  /** Whether the numbers alone leave a signature possible (flow state `establishing`). */
  hasCandidate(numbers: FlowNumbers): boolean {
    const signatures = this.snapshot.byNumbers;
    for (let i = 0; i < signatures.length; i++) {
      if (this.numbersFit(signatures[i], numbers)) return true;
    }
    return false;
  }

  /** Tag index of the signature's application; 0 when no tag is issued for it. */
  tagOf(signature: number): number {
    return this.snapshot.tag[signature];
  }

  /**
   * Judges `length` bytes of an initiator's first payload at `address`. `final`: 1 when no more
   * bytes will be waited for. Returns a signature, NO_MATCH or NEED_MORE.
   */
  match(numbers: FlowNumbers, address: number, length: number, final: number): number {
    return this.matchPayload(REQUEST, numbers, address, length, final);
  }

  /** As match(), for the first payload of either side; `numbers` stay the initiator's. */
  matchPayload(
    direction: number,
    numbers: FlowNumbers,
    address: number,
    length: number,
    final: number,
  ): number {
    const found = this.scan(address, length);
    if (found < 0) return NO_MATCH;
    return this.resolve(direction, numbers, address, length, final, this.reports, 0, found);
  }

  /**
   * Judges one payload by the reports [first, end) of a scan, which must all be of that payload:
   * for callers that scan a burst at once. `address` is read only when the payload is short.
   */
  resolve(
    direction: number,
    numbers: FlowNumbers,
    address: number,
    length: number,
    final: number,
    reports: Uint32Array,
    first: number,
    end: number,
  ): number {
    this.beginTurn();
    for (let i = first; i < end; i++) {
      this.count(reports[REPORT_WORDS * i + 1], reports[REPORT_WORDS * i + 2], direction);
    }
    let winner = this.snapshot.settings[SETTING_SIGNATURES];
    for (let i = 0; i < this.completeCount; i++) {
      const signature = this.complete[i];
      if (signature < winner && this.fits(signature, direction, numbers, length)) {
        winner = signature;
      }
    }
    winner = this.bestPlain(winner, direction, numbers, length);
    if (final === 0 && this.mayStillLose(winner, direction, numbers, address, length)) {
      return NEED_MORE;
    }
    return winner < this.snapshot.settings[SETTING_SIGNATURES] ? winner : NO_MATCH;
  }

  /** Reports written, or -1 when they did not fit or the shim failed. */
  private scan(address: number, length: number): number {
    if (length === 0 || this.snapshot.settings[SETTING_EXPRESSIONS] === 0) return 0;
    const scanBytes = this.snapshot.settings[SETTING_SCAN_BYTES];
    this.textLength[0] = Math.min(length, scanBytes);
    const found = this.scanner.abs_match_burst(
      this.database,
      address as Pointer,
      this.offsetPointer,
      this.lengthPointer,
      1,
      this.reportsPointer,
      this.reportsMax,
    );
    if (found < 0) {
      this.failures++;
      return -1;
    }
    if (found < this.reportsMax) return found;
    this.overflows++;
    return -1;
  }

  private beginTurn(): void {
    this.completeCount = 0;
    this.turn = (this.turn + 1) >>> 0;
    if (this.turn !== 0) return;
    this.matchedIn.fill(0);
    this.countedIn.fill(0);
    this.turn = 1;
  }

  /** Takes one report: the expression counts once for each signature that uses it. */
  private count(expression: number, end: number, direction: number): void {
    const snapshot = this.snapshot;
    if (this.matchedIn[expression] === this.turn) return;
    if (end > snapshot.endMax[expression] || end < snapshot.endMin[expression]) return;
    this.matchedIn[expression] = this.turn;
    const last = snapshot.useStart[expression + 1];
    for (let i = snapshot.useStart[expression]; i < last; i++) {
      const use = snapshot.uses[i];
      if ((use & 1) !== direction) continue;
      const counted = this.countedIn[use] === this.turn ? this.counted[use] + 1 : 1;
      this.countedIn[use] = this.turn;
      this.counted[use] = counted;
      if (counted === snapshot.positives[use]) this.complete[this.completeCount++] = use >>> 1;
    }
  }

  /** Whether a signature whose required contents were found fits in everything else. */
  private fits(
    signature: number,
    direction: number,
    numbers: FlowNumbers,
    length: number,
  ): boolean {
    const snapshot = this.snapshot;
    if (direction === REQUEST) {
      if (length < snapshot.lengthMin[signature] || length > snapshot.lengthMax[signature]) {
        return false;
      }
    }
    const use = 2 * signature + direction;
    const last = snapshot.negativeStart[use + 1];
    for (let i = snapshot.negativeStart[use]; i < last; i++) {
      if (this.matchedIn[snapshot.negatives[i]] === this.turn) return false;
    }
    return this.numbersFit(signature, numbers);
  }

  /** The better of `winner` and the best signature that requires no content. */
  private bestPlain(
    winner: number,
    direction: number,
    numbers: FlowNumbers,
    length: number,
  ): number {
    const snapshot = this.snapshot;
    const last = snapshot.plainStart[direction + 1];
    for (let i = snapshot.plainStart[direction]; i < last; i++) {
      const signature = snapshot.plain[i];
      if (signature >= winner) return winner;
      if (this.fits(signature, direction, numbers, length)) return signature;
    }
    return winner;
  }

  /** Whether a better signature than `winner` needs more bytes and is not contradicted so far. */
  private mayStillLose(
    winner: number,
    direction: number,
    numbers: FlowNumbers,
    address: number,
    length: number,
  ): boolean {
    const snapshot = this.snapshot;
    if (length >= snapshot.settings[SETTING_NEED_REQUEST + direction]) return false;
    const last = snapshot.needyStart[direction + 1];
    for (let i = snapshot.needyStart[direction]; i < last; i++) {
      const signature = snapshot.needy[i];
      const use = 2 * signature + direction;
      if (snapshot.need[use] <= length) return false;
      if (signature >= winner) continue;
      if (direction === REQUEST && length > snapshot.lengthMax[signature]) continue;
      if (this.contradicted(use, address, length)) continue;
      if (this.numbersFit(signature, numbers)) return true;
    }
    return false;
  }

  /** Whether a byte that is already there excludes the contents of `use`. */
  private contradicted(use: number, address: number, length: number): boolean {
    const snapshot = this.snapshot;
    const last = snapshot.pinnedStart[use + 1];
    for (let i = snapshot.pinnedStart[use]; i < last; i++) {
      const position = snapshot.pinned[i] >>> 16;
      if (position >= length) continue;
      const value = read.u8(address as Pointer, position);
      const word = snapshot.sets[(snapshot.pinned[i] & 0xffff) * SET_WORDS + (value >>> 5)];
      if (((word >>> (value & 31)) & 1) === 0) return true;
    }
    return false;
  }

  private numbersFit(signature: number, numbers: FlowNumbers): boolean {
    const snapshot = this.snapshot;
    const protocol = numbers.transportProtocol;
    const word = snapshot.protocols[signature * SET_WORDS + (protocol >>> 5)];
    if (((word >>> (protocol & 31)) & 1) === 0) return false;
    if (!this.portFits(snapshot.destinationPortStart, signature, numbers.destinationPort)) {
      return false;
    }
    if (!this.portFits(snapshot.sourcePortStart, signature, numbers.sourcePort)) return false;
    return (
      this.addressFits(
        snapshot.destinationRangeStart,
        signature,
        numbers.ipVersion,
        numbers.destination0,
        numbers.destination1,
        numbers.destination2,
        numbers.destination3,
      ) &&
      this.addressFits(
        snapshot.sourceRangeStart,
        signature,
        numbers.ipVersion,
        numbers.source0,
        numbers.source1,
        numbers.source2,
        numbers.source3,
      )
    );
  }

  private portFits(starts: Uint32Array, signature: number, port: number): boolean {
    const start = starts[signature];
    const end = starts[signature + 1];
    if (start === end) return true;
    const ports = this.snapshot.ports;
    for (let i = start; i < end; i++) {
      if (port >= ports[i] >>> 16 && port <= (ports[i] & 0xffff)) return true;
    }
    return false;
  }

  private addressFits(
    starts: Uint32Array,
    signature: number,
    ipVersion: number,
    word0: number,
    word1: number,
    word2: number,
    word3: number,
  ): boolean {
    const start = starts[signature];
    const end = starts[signature + 1];
    if (start === end) return true;
    const ranges = this.snapshot.ranges;
    for (let i = start; i < end; i++) {
      if (rangeHolds(ranges, i * RANGE_WORDS, ipVersion, word0, word1, word2, word3)) return true;
    }
    return false;
  }
}
