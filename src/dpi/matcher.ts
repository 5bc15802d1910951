/**
 * Which signature a first payload matches (design/agent.md "Application signatures"). Hot path.
 * One scan looks for the rarest content of every signature at once; a signature whose content was
 * found is compared in full: numbers, lengths, its other contents. The cost of a payload follows
 * what is found in it, not the number of signatures. The same code serves the agent and
 * `abs sig test`.
 *
 * Where contents of both directions are asked for, match() judges by the request's alone, because
 * the agent must decide before the responder answers; matchFlow() knows both and asks for both.
 *
 * A payload shorter than a signature needs is not judged against it: while that signature would win
 * and nothing so far contradicts it, the answer is NEED_MORE.
 */

import { type Pointer, ptr, read } from "bun:ffi";
import { PINNED_POSITIONS_MAX } from "./content-expression.ts";
import { type FlowNumbers, isAtHome, isPossible, numbersFit, possibleRow } from "./number-fit.ts";
import { AND_MORE } from "./number-index.ts";
import {
  REQUEST,
  RESPONSE,
  SCAN_EXACT,
  SCAN_MASK,
  SET_WORDS,
  SETTING_CONTENTS,
  SETTING_NEED_REQUEST,
  SETTING_SCAN_BYTES,
  type SignatureSnapshot,
  WAIT_ANY,
  WAIT_LISTS,
} from "./snapshot.ts";

export type { FlowNumbers };

/** No signature matches, however the payload goes on. */
export const NO_MATCH = -1;
/** A signature that would win needs more bytes than there are yet. */
export const NEED_MORE = -2;

/** The shim's calls (c/match_shim.c). */
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
  abs_match_test(
    database: number,
    content: number,
    text: Pointer,
    length: number,
    from: number,
  ): number;
}

/** Words of one report: text, content, match end. */
export const REPORT_WORDS = 3;

export class Matcher {
  /** Scans that the shim refused: they are answered NO_MATCH. */
  failures = 0;
  /** Most reports that a scan of one payload can give: each content once. */
  readonly reportsMax: number;

  private readonly reports: Uint32Array;
  private readonly textOffset = new Uint32Array(new ArrayBuffer(4));
  private readonly textLength = new Uint32Array(new ArrayBuffer(4));
  private readonly reportsPointer: Pointer;
  private readonly offsetPointer = ptr(this.textOffset);
  private readonly lengthPointer = ptr(this.textLength);
  /** By content: whether it is in its payload, valid when `knownIn` is `turn`. */
  private readonly isThere: Uint8Array;
  private readonly knownIn: Uint32Array;
  private turn = 0;

  /** What is judged in the running turn, by direction: is it, where is it, how long is it. */
  private readonly isJudged = new Uint8Array(2);
  private readonly address = new Float64Array(2);
  private readonly length = new Uint32Array(2);
  /** Bytes that are there: a capture may have cut the payload. */
  private readonly captured = new Uint32Array(2);
  /** Its first bytes by direction, as many as offerHead() gave; the others are read by address. */
  private readonly head = new Uint8Array(2 * PINNED_POSITIONS_MAX);
  private readonly headBytes = new Uint8Array(2);

  /**
   * `database`: of abs_match_compile, prepared by this thread; ignored when there are no contents.
   */
  constructor(
    readonly snapshot: SignatureSnapshot,
    readonly database: number,
    readonly scanner: MatchScanner,
  ) {
    const contents = snapshot.settings[SETTING_CONTENTS];
    this.reportsMax = contents + 1;
    this.reports = new Uint32Array(new ArrayBuffer(4 * REPORT_WORDS * this.reportsMax));
    this.reportsPointer = ptr(this.reports);
    this.isThere = new Uint8Array(Math.max(1, contents));
    this.knownIn = new Uint32Array(Math.max(1, contents));
  }

  /**
   * Whether the numbers alone leave a signature possible (flow state `establishing`). Where more
   * signatures are for one port than are worth asking, the answer is yes.
   */
  hasCandidate(numbers: FlowNumbers): boolean {
    return isPossible(this.snapshot, numbers);
  }

  /** Tag index of the signature's application; 0 when no tag is issued for it. */
  tagOf(signature: number): number {
    return this.snapshot.tag[signature];
  }

  /** Leading bytes of a payload of `length` bytes that must be scanned. */
  scanLength(length: number): number {
    const bytes = this.snapshot.settings[SETTING_SCAN_BYTES];
    return length < bytes ? length : bytes;
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
    this.takePayload(direction, address, length, length, this.reports, 0, found);
    return this.resolve(direction, numbers, final, this.reports, 0, found);
  }

  /**
   * Begins to judge one payload: `length` bytes, of which `captured` are at `address`, and reports
   * [first, end) of their scan. For callers that scan themselves; resolve() and fits() follow.
   */
  takePayload(
    direction: number,
    address: number,
    captured: number,
    length: number,
    reports: Uint32Array,
    first: number,
    end: number,
  ): void {
    this.begin();
    this.take(direction, address, captured, reports, first, end);
    this.length[direction] = length;
  }

  /**
   * The payload taken last, where the caller has it as [start, end) of `bytes`: what is looked at
   * byte by byte is then not read by address (measured: 2 ns, not 9).
   */
  offerHead(direction: number, bytes: Uint8Array, start: number, end: number): void {
    const count = end - start < PINNED_POSITIONS_MAX ? end - start : PINNED_POSITIONS_MAX;
    const at = direction * PINNED_POSITIONS_MAX;
    for (let i = 0; i < count; i++) this.head[at + i] = bytes[start + i];
    this.headBytes[direction] = count;
  }

  private byteAt(direction: number, position: number): number {
    if (position < this.headBytes[direction]) {
      return this.head[direction * PINNED_POSITIONS_MAX + position];
    }
    return read.u8(this.address[direction] as Pointer, position);
  }

  /** Judges the payload taken last, by the same reports. */
  resolve(
    direction: number,
    numbers: FlowNumbers,
    final: number,
    reports: Uint32Array,
    first: number,
    end: number,
  ): number {
    const winner = this.winner(NO_MATCH, direction, numbers, reports, first, end);
    if (final === 0 && this.mayStillLose(winner, direction, numbers)) return NEED_MORE;
    return winner;
  }

  /**
   * Judges a whole flow: first payloads of both sides, either may be empty. Reports [first, middle)
   * are of the request's scan, [middle, end) of the response's: flow-burst.ts scans for many flows
   * at once. Without a request the responder's contents decide alone.
   */
  resolveFlow(
    numbers: FlowNumbers,
    requestAddress: number,
    requestLength: number,
    responseAddress: number,
    responseLength: number,
    reports: Uint32Array,
    first: number,
    middle: number,
    end: number,
  ): number {
    this.begin();
    let winner = NO_MATCH;
    if (requestLength === 0 && responseLength > 0) {
      this.take(RESPONSE, responseAddress, responseLength, reports, middle, end);
      winner = this.winner(winner, RESPONSE, numbers, reports, middle, end);
      this.isJudged[RESPONSE] = 0;
      this.take(REQUEST, requestAddress, 0, reports, first, first);
      return this.winner(winner, REQUEST, numbers, reports, first, first);
    }
    this.take(REQUEST, requestAddress, requestLength, reports, first, middle);
    if (responseLength > 0) {
      this.take(RESPONSE, responseAddress, responseLength, reports, middle, end);
      winner = this.winner(winner, RESPONSE, numbers, reports, middle, end);
    }
    return this.winner(winner, REQUEST, numbers, reports, first, middle);
  }

  /** Of two signatures, whether `left` wins; NO_MATCH loses to all. */
  beats(left: number, right: number, numbers: FlowNumbers): boolean {
    if (right === NO_MATCH) return left !== NO_MATCH;
    const rank = this.snapshot.rank;
    if (rank[left] !== rank[right]) return rank[left] < rank[right];
    const port = numbers.destinationPort;
    const isHome = isAtHome(this.snapshot, left, port);
    if (isHome !== isAtHome(this.snapshot, right, port)) return isHome;
    return left < right;
  }

  /** Reports written, or -1 when the shim failed. */
  private scan(address: number, length: number): number {
    if (length === 0 || this.snapshot.settings[SETTING_CONTENTS] === 0) return 0;
    this.textLength[0] = this.scanLength(length);
    const found = this.scanner.abs_match_burst(
      this.database,
      address as Pointer,
      this.offsetPointer,
      this.lengthPointer,
      1,
      this.reportsPointer,
      this.reportsMax,
    );
    if (found < 0) this.failures++;
    return found;
  }

  private begin(): void {
    this.isJudged[REQUEST] = 0;
    this.isJudged[RESPONSE] = 0;
    this.turn = (this.turn + 1) >>> 0;
    if (this.turn !== 0) return;
    this.knownIn.fill(0);
    this.turn = 1;
  }

  /** Takes a payload and what its scan is certain of. */
  private take(
    direction: number,
    address: number,
    captured: number,
    reports: Uint32Array,
    first: number,
    end: number,
  ): void {
    this.isJudged[direction] = 1;
    this.address[direction] = address;
    this.length[direction] = captured;
    this.captured[direction] = captured;
    this.headBytes[direction] = 0;
    for (let i = first; i < end; i++) {
      const content = reports[REPORT_WORDS * i + 1];
      if (this.snapshot.scanKind[content] !== (SCAN_EXACT | (direction << 2))) continue;
      this.knownIn[content] = this.turn;
      this.isThere[content] = 1;
    }
  }

  /** The best of `winner` and the signatures that are looked for in one direction. */
  private winner(
    winner: number,
    direction: number,
    numbers: FlowNumbers,
    reports: Uint32Array,
    first: number,
    end: number,
  ): number {
    const snapshot = this.snapshot;
    let best = winner;
    for (let i = first; i < end; i++) {
      const content = reports[REPORT_WORDS * i + 1];
      const last = snapshot.useStart[content + 1];
      for (let j = snapshot.useStart[content]; j < last; j++) {
        const use = snapshot.uses[j];
        if ((use & 1) !== direction) continue;
        best = this.betterOf(best, use >>> 1, direction, numbers);
      }
    }
    best = this.bestPlaced(best, direction, numbers);
    const last = snapshot.plainStart[direction + 1];
    for (let i = snapshot.plainStart[direction]; i < last; i++) {
      const signature = snapshot.plain[i];
      if (best !== NO_MATCH && snapshot.rank[signature] > snapshot.rank[best]) return best;
      best = this.betterOf(best, signature, direction, numbers);
    }
    return best;
  }

  /** The best of `winner` and the signatures that are found by a byte where it stands. */
  private bestPlaced(winner: number, direction: number, numbers: FlowNumbers): number {
    const snapshot = this.snapshot;
    const length = this.captured[direction];
    let best = winner;
    const lastRow = snapshot.placeRowStart[direction + 1];
    for (let row = snapshot.placeRowStart[direction]; row < lastRow; row++) {
      const position = snapshot.placePosition[row];
      if (position >= length) continue;
      const list = row * WAIT_LISTS + this.byteAt(direction, position);
      const last = snapshot.placeStart[list + 1];
      for (let i = snapshot.placeStart[list]; i < last; i++) {
        const use = snapshot.places[i];
        if (this.contradicted(use, direction)) continue;
        best = this.betterOf(best, use >>> 1, direction, numbers);
      }
    }
    return best;
  }

  private betterOf(
    best: number,
    signature: number,
    direction: number,
    numbers: FlowNumbers,
  ): number {
    if (best !== NO_MATCH && this.snapshot.rank[signature] > this.snapshot.rank[best]) return best;
    // Of a flow, a signature that judges requests is looked for in the request.
    if (direction === RESPONSE && this.isJudged[REQUEST] === 1) {
      if (this.snapshot.judges[2 * signature + REQUEST] === 1) return best;
    }
    if (best === signature || !this.beats(signature, best, numbers)) return best;
    return this.fits(signature, numbers) ? signature : best;
  }

  /** Whether the signature fits what was taken in everything, in the directions judged. */
  fits(signature: number, numbers: FlowNumbers): boolean {
    const snapshot = this.snapshot;
    if (this.isJudged[REQUEST] === 1) {
      const length = this.length[REQUEST];
      if (length < snapshot.lengthMin[signature] || length > snapshot.lengthMax[signature]) {
        return false;
      }
    }
    if (!numbersFit(snapshot, signature, numbers)) return false;
    for (let direction = REQUEST; direction <= RESPONSE; direction++) {
      if (this.isJudged[direction] === 0) continue;
      const use = 2 * signature + direction;
      const last = snapshot.checkStart[use + 1];
      for (let i = snapshot.checkStart[use]; i < last; i++) {
        const check = snapshot.checks[i];
        if (this.holds(check >>> 1, direction) === (check & 1)) return false;
      }
    }
    return true;
  }

  /** 1 when the content is in the payload of its direction, 0 when it is not. */
  private holds(content: number, direction: number): number {
    if (this.knownIn[content] === this.turn) return this.isThere[content];
    // An exact content that the scan did not report is not there.
    if (this.captured[direction] === 0) return 0;
    if ((this.snapshot.scanKind[content] & SCAN_MASK) === SCAN_EXACT) return 0;
    const found = this.scanner.abs_match_test(
      this.database,
      content,
      this.address[direction] as Pointer,
      this.captured[direction],
      0,
    );
    if (found < 0) this.failures++;
    this.knownIn[content] = this.turn;
    this.isThere[content] = found > 0 ? 1 : 0;
    return this.isThere[content];
  }

  /** Whether a better signature than `winner` needs more bytes and is not contradicted so far. */
  private mayStillLose(winner: number, direction: number, numbers: FlowNumbers): boolean {
    const snapshot = this.snapshot;
    const length = this.length[direction];
    if (length >= snapshot.settings[SETTING_NEED_REQUEST + direction]) return false;
    if (direction === REQUEST) {
      // Few signatures are for the flow's port: those are all that can still win.
      const row = possibleRow(snapshot, numbers);
      const end = snapshot.possibleStart[row + 1];
      if (snapshot.possible[end - 1] !== AND_MORE) return this.possibleMayWin(row, winner, numbers);
    }
    const last = snapshot.waitRowStart[direction + 1];
    for (let row = snapshot.waitRowStart[direction]; row < last; row++) {
      const position = snapshot.waitPosition[row];
      const isThere = position < this.captured[direction];
      const value = isThere ? this.byteAt(direction, position) : WAIT_ANY;
      const list = row * WAIT_LISTS + value;
      if (this.listMayWin(list, winner, direction, numbers)) return true;
    }
    return false;
  }

  private possibleMayWin(row: number, winner: number, numbers: FlowNumbers): boolean {
    const snapshot = this.snapshot;
    const last = snapshot.possibleStart[row + 1];
    for (let i = snapshot.possibleStart[row]; i < last; i++) {
      if (this.mayWin(2 * snapshot.possible[i] + REQUEST, winner, REQUEST, numbers)) return true;
    }
    return false;
  }

  private listMayWin(
    list: number,
    winner: number,
    direction: number,
    numbers: FlowNumbers,
  ): boolean {
    const snapshot = this.snapshot;
    const last = snapshot.waiterStart[list + 1];
    for (let i = snapshot.waiterStart[list]; i < last; i++) {
      if (this.mayWin(snapshot.waiters[i], winner, direction, numbers)) return true;
    }
    return false;
  }

  /** Whether a signature needs more bytes, would win and is not contradicted. */
  private mayWin(use: number, winner: number, direction: number, numbers: FlowNumbers): boolean {
    const snapshot = this.snapshot;
    const length = this.length[direction];
    const signature = use >>> 1;
    if (snapshot.need[use] <= length) return false;
    if (signature === winner || !this.beats(signature, winner, numbers)) return false;
    if (direction === REQUEST && length > snapshot.lengthMax[signature]) return false;
    return !this.contradicted(use, direction) && numbersFit(snapshot, signature, numbers);
  }

  /** Whether a byte that is already there excludes the contents of `use`. */
  private contradicted(use: number, direction: number): boolean {
    const snapshot = this.snapshot;
    const length = this.captured[direction];
    const last = snapshot.pinnedStart[use + 1];
    for (let i = snapshot.pinnedStart[use]; i < last; i++) {
      const position = snapshot.pinned[i] >>> 16;
      if (position >= length) continue;
      const value = this.byteAt(direction, position);
      const word = snapshot.sets[(snapshot.pinned[i] & 0xffff) * SET_WORDS + (value >>> 5)];
      if (((word >>> (value & 31)) & 1) === 0) return true;
    }
    return false;
  }
}
