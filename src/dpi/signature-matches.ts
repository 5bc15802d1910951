/**
 * Every signature that a first payload matches, best first: for `abs sig test`, which shows who
 * lost against whom, breaks ties by usual ports and joins both directions. The winner alone is
 * Matcher's (matcher.ts), which the agent asks too; this reads the same reports of the same scan.
 */
import { contentWidth } from "./content-expression.ts";
import type { FlowNumbers } from "./matcher.ts";
import type { AppSignature, NumberRange } from "./signature.ts";
import {
  REQUEST,
  SETTING_EXPRESSIONS,
  SETTING_SIGNATURES,
  type SignatureSnapshot,
} from "./snapshot.ts";

const REPORT_WORDS = 3;

export class SignatureMatches {
  /** Signatures found by collect(), ascending: in winning order. */
  readonly found: Uint16Array;
  count = 0;
  /** Of the signature located last: bytes of the payload; both 0 when it asks for no content. */
  spotStart = 0;
  spotEnd = 0;
  /** Filled when first asked for. */
  readonly #byUse = new Map<number, number[]>();
  readonly #endOf: Uint32Array;
  readonly #seenIn: Uint32Array;
  readonly #counted: Uint32Array;
  readonly #countedIn: Uint32Array;
  #turn = 0;

  constructor(
    readonly snapshot: SignatureSnapshot,
    readonly signatures: readonly AppSignature[],
    readonly max: number,
  ) {
    const uses = 2 * snapshot.settings[SETTING_SIGNATURES] + 2;
    this.found = new Uint16Array(max);
    this.#endOf = new Uint32Array(snapshot.settings[SETTING_EXPRESSIONS] + 1);
    this.#seenIn = new Uint32Array(snapshot.settings[SETTING_EXPRESSIONS] + 1);
    this.#counted = new Uint32Array(uses);
    this.#countedIn = new Uint32Array(uses);
  }

  /** Reads reports [0, end) of one payload of `bytes`; fills `found` and `count`. */
  collect(
    direction: number,
    numbers: FlowNumbers,
    bytes: number,
    reports: Uint32Array,
    end: number,
  ): void {
    const snapshot = this.snapshot;
    this.#turn++;
    this.count = 0;
    const complete: number[] = [];
    for (let i = 0; i < end; i++) {
      this.#take(reports[REPORT_WORDS * i + 1], reports[REPORT_WORDS * i + 2], direction, complete);
    }
    for (let i = snapshot.plainStart[direction]; i < snapshot.plainStart[direction + 1]; i++) {
      complete.push(snapshot.plain[i]);
    }
    complete.sort((left, right) => left - right);
    for (const signature of complete) {
      if (this.count === this.max) return;
      if (!this.#fits(signature, direction, numbers, bytes)) continue;
      this.found[this.count++] = signature;
    }
  }

  /**
   * Where a signature that was found matched: `spotStart` and `spotEnd`. Hyperscan tells ends only;
   * where one began is known for a single content, else from the first byte that was searched.
   */
  locate(index: number, direction: number): void {
    const wanted = direction === REQUEST ? "request" : "response";
    const contents = this.signatures[index].contents.filter(
      (content) => !content.not && content.direction === wanted,
    );
    const [only] = contents;
    let end = 0;
    for (const expression of this.#expressionsOf(2 * index + direction)) {
      end = Math.max(end, this.#endOf[expression]);
    }
    this.spotEnd = Math.min(end, 0xffff);
    this.spotStart = Math.min(...contents.map(({ offset }) => offset), this.spotEnd);
    if (contents.length !== 1) return;
    const { min, max } = contentWidth(only);
    if (min === max) this.spotStart = Math.max(0, this.spotEnd - min);
  }

  /** Expressions that a signature requires of a direction. */
  #expressionsOf(use: number): readonly number[] {
    if (this.#byUse.size === 0) {
      const { useStart, uses } = this.snapshot;
      for (let expression = 0; expression + 1 < useStart.length; expression++) {
        for (let i = useStart[expression]; i < useStart[expression + 1]; i++) {
          this.#byUse.set(uses[i], [...(this.#byUse.get(uses[i]) ?? []), expression]);
        }
      }
    }
    return this.#byUse.get(use) ?? [];
  }

  #take(expression: number, end: number, direction: number, complete: number[]): void {
    const snapshot = this.snapshot;
    if (this.#seenIn[expression] === this.#turn) return;
    if (end > snapshot.endMax[expression] || end < snapshot.endMin[expression]) return;
    this.#seenIn[expression] = this.#turn;
    this.#endOf[expression] = end;
    for (let i = snapshot.useStart[expression]; i < snapshot.useStart[expression + 1]; i++) {
      const use = snapshot.uses[i];
      if ((use & 1) !== direction) continue;
      const counted = this.#countedIn[use] === this.#turn ? this.#counted[use] + 1 : 1;
      this.#countedIn[use] = this.#turn;
      this.#counted[use] = counted;
      if (counted === snapshot.positives[use]) complete.push(use >>> 1);
    }
  }

  #fits(index: number, direction: number, numbers: FlowNumbers, bytes: number): boolean {
    const snapshot = this.snapshot;
    if (direction === REQUEST) {
      if (bytes < snapshot.lengthMin[index] || bytes > snapshot.lengthMax[index]) return false;
    }
    const use = 2 * index + direction;
    for (let i = snapshot.negativeStart[use]; i < snapshot.negativeStart[use + 1]; i++) {
      if (this.#seenIn[snapshot.negatives[i]] === this.#turn) return false;
    }
    return numbersFit(this.signatures[index], numbers, this.#portsMatter(index));
  }

  /** False when the snapshot was told to ignore ports (`ignorePorts`). */
  #portsMatter(index: number): boolean {
    const { destinationPortStart, sourcePortStart } = this.snapshot;
    return (
      destinationPortStart[index] !== destinationPortStart[index + 1] ||
      sourcePortStart[index] !== sourcePortStart[index + 1]
    );
  }
}

function numbersFit(signature: AppSignature, numbers: FlowNumbers, ports: boolean): boolean {
  const { protocols, sourceAddresses, destinationAddresses } = signature;
  if (protocols?.includes(numbers.transportProtocol) === false) return false;
  if (ports && !holds(signature.sourcePorts, numbers.sourcePort)) return false;
  if (ports && !holds(signature.destinationPorts, numbers.destinationPort)) return false;
  const source = [numbers.source0, numbers.source1, numbers.source2, numbers.source3];
  const destination = [
    numbers.destination0,
    numbers.destination1,
    numbers.destination2,
    numbers.destination3,
  ];
  return (
    addressFits(sourceAddresses, numbers.ipVersion, source) &&
    addressFits(destinationAddresses, numbers.ipVersion, destination)
  );
}

export function holds(ranges: readonly NumberRange[] | undefined, port: number): boolean {
  return ranges === undefined || ranges.some(({ low, high }) => port >= low && port <= high);
}

function addressFits(
  ranges: AppSignature["sourceAddresses"],
  version: number,
  words: readonly number[],
): boolean {
  if (ranges === undefined) return true;
  return ranges.some((range) => {
    if (range.version !== version) return false;
    return compare(range.low, words) <= 0 && compare(words, range.high) <= 0;
  });
}

function compare(left: readonly number[], right: readonly number[]): number {
  for (let i = 0; i < 4; i++) if (left[i] !== right[i]) return left[i] < right[i] ? -1 : 1;
  return 0;
}

/** Makes every signature fit every port, in place: for scores that must not know ports. */
export function ignorePorts(snapshot: SignatureSnapshot): void {
  snapshot.sourcePortStart.fill(0);
  snapshot.destinationPortStart.fill(0);
}
