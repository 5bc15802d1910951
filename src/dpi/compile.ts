/**
 * Signatures to snapshot (snapshot.ts) and to the expressions Hyperscan compiles into one
 * database. Only enabled signatures take part. Winning order (design/agent.md "Application
 * signatures"): highest priority, most pinned bytes, most pinned numbers, newest version; two
 * applications that would tie on one and the same payload are an error (ties.ts). Control plane.
 */

import { ascii, concat } from "../bytes.ts";
import { AbsError } from "../errors.ts";
import {
  contentNeed,
  contentPinnedBytes,
  contentPositions,
  contentUsesEnd,
  contentWidth,
  PINNED_POSITIONS_MAX,
  searchExpression,
} from "./content-expression.ts";
import type { AppSignature, ContentDirection, NumberRange, SignatureContent } from "./signature.ts";
import { NO_END, REQUEST, SET_WORDS, SETTINGS, type SignatureSnapshot } from "./snapshot.ts";
import { checkTies } from "./ties.ts";

export interface CompiledSignatures {
  readonly snapshot: SignatureSnapshot;
  /** For abs_match_compile: per expression u32le id, u32le flags, PCRE, NUL. */
  readonly expressions: { readonly blob: Uint8Array; readonly count: number };
  /** PCRE text by expression id, for messages and tests. */
  readonly expressionTexts: readonly string[];
  /** By index, in winning order. */
  readonly signatures: readonly AppSignature[];
  /** Pairs that might tie on some payload without it being certain; in words. */
  readonly warnings: readonly string[];
}

/** How many expressions abs_match_compile takes. */
const EXPRESSIONS_MAX = 65_536;
const SIGNATURES_MAX = 65_000;

const DIRECTIONS: readonly ContentDirection[] = ["request", "response"];

/**
 * Compiles the enabled ones of `signatures`. `tagOf` gives the tag index of an application, 0 when
 * no tag is issued for it. Throws AbsError `SIGNATURE_INVALID`.
 */
export function compileSignatures(
  signatures: readonly AppSignature[],
  tagOf: (app: string) => number,
): CompiledSignatures {
  checkIds(signatures);
  const ranked = signatures.filter(({ status }) => status === "enabled").sort(compareRank);
  if (ranked.length > SIGNATURES_MAX) {
    const message = `${ranked.length} signatures are enabled; at most ${SIGNATURES_MAX} fit.`;
    throw new AbsError("SIGNATURE_INVALID", message, "Disable those that are not needed.");
  }
  const warnings = checkTies(ranked, sameRank);
  const table = new ExpressionTable();
  const payload = payloadArrays(ranked, table);
  const snapshot: SignatureSnapshot = {
    ...numberArrays(ranked, tagOf),
    ...payload,
    ...table.arrays(),
    ...listArrays(ranked, payload),
    settings: settingsOf(ranked, table.count, payload.need),
  };
  return {
    snapshot,
    expressions: { blob: table.blob(), count: table.count },
    expressionTexts: table.texts,
    signatures: ranked,
    warnings,
  };
}

/**
 * Most specific first; equal ranks in order of id, so that the order never depends on the file's.
 */
function compareRank(left: AppSignature, right: AppSignature): number {
  const rank = rankDifference(left, right);
  return rank !== 0 ? rank : left.id < right.id ? -1 : 1;
}

function sameRank(left: AppSignature, right: AppSignature): boolean {
  return rankDifference(left, right) === 0;
}

function rankDifference(left: AppSignature, right: AppSignature): number {
  return (
    right.priority - left.priority ||
    pinnedBytes(right) - pinnedBytes(left) ||
    pinnedNumbers(right) - pinnedNumbers(left) ||
    right.version - left.version
  );
}

export function pinnedBytes(signature: AppSignature): number {
  const positive = signature.contents.filter(({ not }) => !not);
  return positive.reduce((sum, content) => sum + contentPinnedBytes(content), 0);
}

/** How many of the numeric fields are not "any". */
export function pinnedNumbers(signature: AppSignature): number {
  return [
    signature.sourceAddresses,
    signature.sourcePorts,
    signature.destinationAddresses,
    signature.destinationPorts,
    signature.protocols,
    signature.length,
  ].filter((field) => field !== undefined).length;
}

function checkIds(signatures: readonly AppSignature[]): void {
  const places = new Map<string, string>();
  for (const { id, place } of signatures) {
    const earlier = places.get(id);
    if (earlier !== undefined) {
      const message = `${place}: sig_id "${id}" is used at ${earlier} too.`;
      throw new AbsError("SIGNATURE_INVALID", message, "Give each signature its own sig_id.");
    }
    places.set(id, place);
  }
}

/** Distinct expressions, numbered in order of first use, and who uses them. */
class ExpressionTable {
  readonly texts: string[] = [];
  private readonly flags: number[] = [];
  private readonly endMin: number[] = [];
  private readonly endMax: number[] = [];
  private readonly uses: number[][] = [];
  private readonly numbers = new Map<string, number>();

  get count(): number {
    return this.texts.length;
  }

  numberOf(content: SignatureContent): number {
    const { pcre, flags, endMin, endMax } = searchExpression(content);
    const key = `${flags} ${endMin} ${endMax} ${pcre}`;
    const known = this.numbers.get(key);
    if (known !== undefined) return known;
    const number = this.texts.length;
    if (number === EXPRESSIONS_MAX) {
      const message = `The signatures hold more than ${EXPRESSIONS_MAX} different expressions.`;
      throw new AbsError("SIGNATURE_INVALID", message, "Disable signatures that are not needed.");
    }
    this.numbers.set(key, number);
    this.texts.push(pcre);
    this.flags.push(flags);
    this.endMin.push(endMin);
    this.endMax.push(endMax);
    this.uses.push([]);
    return number;
  }

  addUse(expression: number, use: number): void {
    this.uses[expression]?.push(use);
  }

  arrays() {
    const { starts, items } = csr(this.uses);
    return {
      useStart: starts,
      uses: items,
      endMin: Uint32Array.from(this.endMin),
      endMax: Uint32Array.from(this.endMax),
    };
  }

  blob(): Uint8Array {
    const parts = this.texts.map((text, id) => {
      const header = new DataView(new ArrayBuffer(8));
      header.setUint32(0, id, true);
      header.setUint32(4, this.flags[id] ?? 0, true);
      return concat(new Uint8Array(header.buffer), ascii(text), Uint8Array.of(0));
    });
    return concat(...parts);
  }
}

function numberArrays(signatures: readonly AppSignature[], tagOf: (app: string) => number) {
  const protocols = new Uint32Array(signatures.length * SET_WORDS);
  for (const [i, { protocols: numbers }] of signatures.entries()) {
    const row = protocols.subarray(i * SET_WORDS, (i + 1) * SET_WORDS);
    if (numbers === undefined) row.fill(0xffff_ffff);
    for (const number of numbers ?? []) row[number >>> 5] = (row[number >>> 5] ?? 0) | bit(number);
  }
  const packed = (ranges: readonly NumberRange[] | undefined) =>
    (ranges ?? []).map(({ low, high }) => ((low << 16) | high) >>> 0);
  const ports = csr([
    ...signatures.map(({ sourcePorts }) => packed(sourcePorts)),
    ...signatures.map(({ destinationPorts }) => packed(destinationPorts)),
  ]);
  const addresses = [
    ...signatures.map(({ sourceAddresses }) => sourceAddresses ?? []),
    ...signatures.map(({ destinationAddresses }) => destinationAddresses ?? []),
  ];
  const rangeStarts = csr(addresses.map((ranges) => ranges.map(() => 0))).starts;
  const count = signatures.length;
  return {
    tag: Uint32Array.from(signatures, ({ app }) => tagOf(app)),
    protocols,
    ports: ports.items,
    sourcePortStart: ports.starts.slice(0, count + 1),
    destinationPortStart: ports.starts.slice(count),
    ranges: Uint32Array.from(
      addresses.flat().flatMap(({ version, low, high }) => [version, ...low, ...high]),
    ),
    sourceRangeStart: rangeStarts.slice(0, count + 1),
    destinationRangeStart: rangeStarts.slice(count),
    lengthMin: Uint32Array.from(signatures, ({ length }) => length?.low ?? 0),
    lengthMax: Uint32Array.from(signatures, ({ length }) => length?.high ?? NO_END),
  };
}

/** What each signature asks of the payloads of each direction, by 2 * signature + direction. */
function payloadArrays(signatures: readonly AppSignature[], table: ExpressionTable) {
  const judges: number[] = [];
  const positives: number[] = [];
  const negatives: number[][] = [];
  const need: number[] = [];
  const pinned: number[][] = [];
  const sets = new SetTable();
  for (const [i, signature] of signatures.entries()) {
    for (const [d, direction] of DIRECTIONS.entries()) {
      const contents = signature.contents.filter((content) => content.direction === direction);
      const positive = contents.filter(({ not }) => !not);
      const expressions = new Set(positive.map((content) => table.numberOf(content)));
      for (const expression of expressions) table.addUse(expression, 2 * i + d);
      const unwanted = contents.filter(({ not }) => not);
      // Numbers alone identify by the request; only contents say anything about responses.
      const byNumbersAlone = d === REQUEST && signature.contents.length === 0;
      judges.push(Number(contents.length > 0 || byNumbersAlone));
      positives.push(expressions.size);
      negatives.push([...new Set(unwanted.map((content) => table.numberOf(content)))]);
      const lengthMin = d === REQUEST ? (signature.length?.low ?? 0) : 0;
      need.push(Math.max(lengthMin, ...positive.map(contentNeed)));
      pinned.push(sets.pinnedOf(positive));
    }
  }
  const negative = csr(negatives);
  const pins = csr(pinned);
  return {
    judges: Uint8Array.from(judges),
    positives: Uint32Array.from(positives),
    negativeStart: negative.starts,
    negatives: negative.items,
    need: Uint32Array.from(need),
    pinnedStart: pins.starts,
    pinned: pins.items,
    sets: sets.words(),
  };
}

/** Distinct byte sets, numbered. */
class SetTable {
  private readonly rows: Uint32Array[] = [];
  private readonly numbers = new Map<string, number>();

  pinnedOf(contents: readonly SignatureContent[]): number[] {
    return contents.flatMap(contentPositions).map(({ position, allowed }) => {
      const number = this.numbers.get(allowed.key) ?? this.rows.length;
      if (number === this.rows.length) {
        this.numbers.set(allowed.key, number);
        this.rows.push(allowed.words);
      }
      return ((position << 16) | number) >>> 0;
    });
  }

  words(): Uint32Array {
    if (this.rows.length > 0xffff || PINNED_POSITIONS_MAX > 0xffff) {
      const message = `The signatures hold ${this.rows.length} different byte classes.`;
      throw new AbsError("SIGNATURE_INVALID", message, "Disable signatures that are not needed.");
    }
    return Uint32Array.from(this.rows.flatMap((row) => [...row]));
  }
}

function listArrays(
  signatures: readonly AppSignature[],
  payload: { judges: Uint8Array; positives: Uint32Array; need: Uint32Array },
) {
  const indexes = signatures.map((_, i) => i);
  const judging = (d: number) => indexes.filter((i) => payload.judges[2 * i + d] === 1);
  const needOf = (i: number, d: number) => payload.need[2 * i + d] ?? 0;
  const plain = csr(
    DIRECTIONS.map((_, d) => judging(d).filter((i) => payload.positives[2 * i + d] === 0)),
  );
  const needy = csr(
    DIRECTIONS.map((_, d) =>
      judging(d)
        .filter((i) => needOf(i, d) > 0)
        .sort((left, right) => needOf(right, d) - needOf(left, d) || left - right),
    ),
  );
  const numbers = signatures.map(pinnedNumbers);
  const byNumbers = judging(REQUEST).sort(
    (left, right) => (numbers[left] ?? 0) - (numbers[right] ?? 0) || left - right,
  );
  return {
    plainStart: plain.starts,
    plain: plain.items,
    needyStart: needy.starts,
    needy: needy.items,
    byNumbers: Uint32Array.from(byNumbers),
  };
}

function settingsOf(
  signatures: readonly AppSignature[],
  expressions: number,
  need: Uint32Array,
): Uint32Array {
  const settings = new Uint32Array(SETTINGS);
  const contents = signatures.flatMap((signature) => signature.contents);
  let scanBytes = 0;
  for (const content of contents) {
    const { depth, expression } = content;
    const anchored = expression.kind === "regex" && expression.regex.anchored;
    const reach = Math.min(depth, anchored ? contentWidth(content).max : Infinity);
    const end = contentUsesEnd(content) ? NO_END : reach;
    scanBytes = Math.max(scanBytes, Math.min(end, NO_END));
  }
  const needs = [0, 1].map((d) =>
    need.reduce((most, n, i) => (i % 2 === d ? Math.max(most, n) : most), 0),
  );
  settings.set([signatures.length, expressions, needs[0] ?? 0, needs[1] ?? 0, scanBytes]);
  return settings;
}

function csr(lists: readonly (readonly number[])[]): { starts: Uint32Array; items: Uint32Array } {
  const starts = new Uint32Array(lists.length + 1);
  for (const [i, list] of lists.entries()) starts[i + 1] = (starts[i] ?? 0) + list.length;
  return { starts, items: Uint32Array.from(lists.flat()) };
}

function bit(number: number): number {
  return 1 << (number & 31);
}
