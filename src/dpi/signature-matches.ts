/**
 * Every signature that a first payload matches, best first, and where: for `abs sig test`, which
 * shows who lost against whom, breaks ties by usual ports and joins both directions. The winner
 * alone is Matcher's (matcher.ts), which the agent asks too; this asks it about all candidates of
 * the same scan.
 */
import { type Pointer, read } from "bun:ffi";
import { contentWidth } from "./content-expression.ts";
import { type FlowNumbers, type Matcher, REPORT_WORDS } from "./matcher.ts";
import type { NumberRange, SignatureContent } from "./signature.ts";
import { type SignatureSnapshot, WAIT_LISTS } from "./snapshot.ts";

export class SignatureMatches {
  /** Signatures found by collect(), ascending: in winning order. */
  readonly found: Uint16Array;
  count = 0;
  /** Of the signature located last: bytes of the payload; both 0 when it asks for no content. */
  spotStart = 0;
  spotEnd = 0;
  #address = 0;
  #captured = 0;

  /** `contents`: by number, as compileSignatures gives them. */
  constructor(
    readonly matcher: Matcher,
    readonly contents: readonly SignatureContent[],
    readonly max: number,
  ) {
    this.found = new Uint16Array(max);
  }

  /**
   * Reads reports [0, end) of one payload of `bytes`, of which `captured` are at `address`; fills
   * `found` and `count`.
   */
  collect(
    direction: number,
    numbers: FlowNumbers,
    address: number,
    captured: number,
    bytes: number,
    reports: Uint32Array,
    end: number,
  ): void {
    const { snapshot } = this.matcher;
    this.#address = address;
    this.#captured = captured;
    this.matcher.takePayload(direction, address, captured, bytes, reports, 0, end);
    this.count = 0;
    const candidates: number[] = [];
    for (let i = 0; i < end; i++) {
      const content = reports[REPORT_WORDS * i + 1];
      for (let j = snapshot.useStart[content]; j < snapshot.useStart[content + 1]; j++) {
        const use = snapshot.uses[j];
        if ((use & 1) === direction) candidates.push(use >>> 1);
      }
    }
    for (let i = snapshot.plainStart[direction]; i < snapshot.plainStart[direction + 1]; i++) {
      candidates.push(snapshot.plain[i]);
    }
    const rowEnd = snapshot.placeRowStart[direction + 1];
    for (let row = snapshot.placeRowStart[direction]; row < rowEnd; row++) {
      const position = snapshot.placePosition[row];
      if (position >= captured) continue;
      const list = row * WAIT_LISTS + read.u8(address as Pointer, position);
      for (let i = snapshot.placeStart[list]; i < snapshot.placeStart[list + 1]; i++) {
        candidates.push(snapshot.places[i] >>> 1);
      }
    }
    candidates.sort((left, right) => left - right);
    for (const signature of candidates) {
      if (this.count === this.max) return;
      if (!this.matcher.fits(signature, numbers)) continue;
      this.found[this.count++] = signature;
    }
  }

  /**
   * Where a signature that was found matched the payload collected last: from `spotStart`, where
   * its first content begins, to `spotEnd`, where its last one ends.
   */
  locate(index: number, direction: number): void {
    const { checkStart, checks } = this.matcher.snapshot;
    const use = 2 * index + direction;
    this.spotStart = 0;
    this.spotEnd = 0;
    for (let i = checkStart[use]; i < checkStart[use + 1]; i++) {
      if ((checks[i] & 1) !== 0) continue;
      const end = this.#endOf(checks[i] >>> 1);
      const start = this.#startOf(checks[i] >>> 1, end);
      this.spotStart = this.spotEnd === 0 ? start : Math.min(this.spotStart, start);
      this.spotEnd = Math.max(this.spotEnd, end);
    }
  }

  /** Where the first match ends: the shortest beginning of the payload that holds one. */
  #endOf(content: number): number {
    let [without, holding] = [0, this.#captured];
    while (holding - without > 1) {
      const middle = (without + holding) >>> 1;
      if (this.#isWithin(content, middle, 0)) holding = middle;
      else without = middle;
    }
    return holding;
  }

  /** The last start of a match that ends at `end` or before. */
  #startOf(content: number, end: number): number {
    const { expression, offset } = this.contents[content];
    if (expression.kind === "regex" && expression.regex.anchored) return 0;
    const { min, max } = contentWidth(this.contents[content]);
    if (min === max) return end - min;
    let [holding, without] = [offset, end];
    while (without - holding > 1) {
      const middle = (without + holding) >>> 1;
      if (this.#isWithin(content, end, middle)) holding = middle;
      else without = middle;
    }
    return holding;
  }

  #isWithin(content: number, end: number, from: number): boolean {
    const { scanner, database } = this.matcher;
    return scanner.abs_match_test(database, content, this.#address as Pointer, end, from) === 1;
  }
}

export function holds(ranges: readonly NumberRange[] | undefined, port: number): boolean {
  return ranges === undefined || ranges.some(({ low, high }) => port >= low && port <= high);
}

/** Makes every signature fit every port, in place: for scores that must not know ports. */
export function ignorePorts(snapshot: SignatureSnapshot): void {
  snapshot.sourcePortStart.fill(0);
  snapshot.destinationPortStart.fill(0);
  snapshot.usualPortStart.fill(0);
}
