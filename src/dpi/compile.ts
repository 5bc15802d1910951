/**
 * Signatures to snapshot (snapshot.ts) and to the expressions Hyperscan compiles into one
 * database. Only enabled signatures take part. Winning order (design/agent.md "Application
 * signatures"): highest priority, most pinned bytes, most pinned numbers, newest version; two
 * applications that would tie on one and the same payload are an error (ties.ts). Control plane.
 */

import { AbsError } from "../errors.ts";
import {
  contentNeed,
  contentPinnedBytes,
  contentPositions,
  PINNED_POSITIONS_MAX,
} from "./content-expression.ts";
import { ContentTable } from "./content-table.ts";
import { csr } from "./csr.ts";
import { numberIndex } from "./number-index.ts";
import type { AppSignature, ContentDirection, NumberRange, SignatureContent } from "./signature.ts";
import { NO_END, REQUEST, SET_WORDS, SETTINGS, type SignatureSnapshot } from "./snapshot.ts";
import { checkTies } from "./ties.ts";
import { placeIndex, tellingPosition, waitIndex } from "./wait-index.ts";

export interface CompiledSignatures {
  readonly snapshot: SignatureSnapshot;
  /** For abs_match_compile: entries of all contents, and how many contents. */
  readonly expressions: { readonly blob: Uint8Array; readonly count: number };
  /** By content number, for messages and tests. */
  readonly contents: readonly SignatureContent[];
  /** By index, in winning order. */
  readonly signatures: readonly AppSignature[];
  /** Pairs that might tie on some payload without it being certain; in words. */
  readonly warnings: readonly string[];
}

const SIGNATURES_MAX = 65_000;
/** Contents that weigh less are found in most payloads, a single zero byte for one. */
const WEAK = 2.5;

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
  checkProcesses(signatures);
  const ranked = signatures.filter(({ status }) => status === "enabled").sort(compareRank);
  if (ranked.length > SIGNATURES_MAX) {
    const message = `${ranked.length} signatures are enabled; at most ${SIGNATURES_MAX} fit.`;
    throw new AbsError("SIGNATURE_INVALID", message, "Disable those that are not needed.");
  }
  const warnings = checkTies(ranked, sameRank);
  const table = new ContentTable();
  const payload = payloadArrays(ranked, table);
  const snapshot: SignatureSnapshot = {
    ...numberArrays(ranked, tagOf),
    ...payload.arrays,
    ...contentArrays(table),
    ...listArrays(ranked, payload),
    rank: ranksOf(ranked),
    settings: settingsOf(ranked, table, payload.arrays.need),
  };
  return {
    snapshot,
    expressions: { blob: table.blob(), count: table.count },
    contents: table.contents,
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

/** A requirement that nobody enforces must not pass for one that is met. */
function checkProcesses(signatures: readonly AppSignature[]): void {
  for (const { id, place, process, status } of signatures) {
    if (process === undefined || status !== "enabled") continue;
    const message = `${place}: "${id}" requires a process, which this version cannot attest.`;
    const remedy = 'Set its status to "disabled", or remove process, until attestation is there.';
    throw new AbsError("SIGNATURE_INVALID", message, remedy);
  }
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
    ...signatures.map(({ usualPorts }) => packed(usualPorts)),
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
    destinationPortStart: ports.starts.slice(count, 2 * count + 1),
    usualPortStart: ports.starts.slice(2 * count),
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
function payloadArrays(signatures: readonly AppSignature[], table: ContentTable) {
  const judges: number[] = [];
  const isPlain: boolean[] = [];
  const checks: number[][] = [];
  const need: number[] = [];
  const placed: number[] = [];
  const pinned: number[][] = [];
  const sets = new SetTable();
  for (const [i, signature] of signatures.entries()) {
    for (const [d, direction] of DIRECTIONS.entries()) {
      const contents = signature.contents.filter((content) => content.direction === direction);
      const positive = contents.filter(({ not }) => !not);
      const required = [...new Set(positive.map((content) => table.numberOf(content)))];
      const rarest = table.rarestOf(required);
      const isPlaced = rarest !== undefined && isWeak(table, rarest, signature, direction);
      if (rarest !== undefined && !isPlaced) table.addUse(rarest, 2 * i + d);
      placed.push(Number(isPlaced));
      const unwanted = contents.filter(({ not }) => not);
      // Numbers alone identify by the request; only contents say anything about responses.
      const byNumbersAlone = d === REQUEST && signature.contents.length === 0;
      judges.push(Number(contents.length > 0 || byNumbersAlone));
      isPlain.push(required.length === 0);
      checks.push([
        ...required.map((content) => content << 1),
        ...unwanted.map((content) => (table.numberOf(content) << 1) | 1),
      ]);
      const lengthMin = d === REQUEST ? (signature.length?.low ?? 0) : 0;
      need.push(Math.max(lengthMin, ...positive.map(contentNeed)));
      pinned.push(sets.pinnedOf(positive));
    }
  }
  const check = csr(checks);
  const pins = csr(pinned);
  return {
    isPlain,
    arrays: {
      judges: Uint8Array.from(judges),
      checkStart: check.starts,
      checks: check.items,
      need: Uint32Array.from(need),
      pinnedStart: pins.starts,
      pinned: pins.items,
      sets: sets.words(),
      ...placeIndex(signatures, placed),
    },
  };
}

/** Whether a byte at a fixed position tells as much as what would be scanned for. */
function isWeak(
  table: ContentTable,
  rarest: number,
  signature: AppSignature,
  direction: ContentDirection,
): boolean {
  return table.weightOf(rarest) < WEAK && tellingPosition(signature, direction) !== undefined;
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
  { isPlain, arrays }: ReturnType<typeof payloadArrays>,
) {
  const indexes = signatures.map((_, i) => i);
  const judging = (d: number) => indexes.filter((i) => arrays.judges[2 * i + d] === 1);
  const plain = csr(DIRECTIONS.map((_, d) => judging(d).filter((i) => isPlain[2 * i + d])));
  const numbers = signatures.map(pinnedNumbers);
  const easiest = judging(REQUEST).sort(
    (left, right) => (numbers[left] ?? 0) - (numbers[right] ?? 0) || left - right,
  );
  const waits = Array.from(arrays.need, (need, use) => (arrays.judges[use] === 1 ? need : 0));
  return {
    plainStart: plain.starts,
    plain: plain.items,
    ...waitIndex(signatures, waits),
    ...numberIndex(signatures, easiest),
  };
}

function contentArrays(table: ContentTable) {
  const { starts, items } = csr(table.usesOf());
  return { useStart: starts, uses: items, scanKind: table.scanKinds() };
}

/** Equal numbers for equal ranks, counting up. */
function ranksOf(signatures: readonly AppSignature[]): Uint32Array {
  const ranks = new Uint32Array(signatures.length);
  for (const [i, signature] of signatures.entries()) {
    const before = signatures[i - 1];
    if (before === undefined) continue;
    ranks[i] = (ranks[i - 1] ?? 0) + (sameRank(before, signature) ? 0 : 1);
  }
  return ranks;
}

function settingsOf(
  signatures: readonly AppSignature[],
  table: ContentTable,
  need: Uint32Array,
): Uint32Array {
  const settings = new Uint32Array(SETTINGS);
  const needs = [0, 1].map((d) =>
    need.reduce((most, n, i) => (i % 2 === d ? Math.max(most, n) : most), 0),
  );
  const count = signatures.length;
  settings.set([count, table.count, needs[0] ?? 0, needs[1] ?? 0, table.scanBytes]);
  return settings;
}

function bit(number: number): number {
  return 1 << (number & 31);
}
