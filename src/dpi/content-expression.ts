/**
 * From a content to what Hyperscan searches: a PCRE text that already holds the start bound, and
 * the range of match ends that count (Hyperscan reports ends). A match must lie within [offset,
 * depth): the text `^.{low,high}…` keeps starts within bounds, and ends beyond `depth` are not
 * counted. Where the text alone decides (`single`), one report is enough and Hyperscan is told to
 * stop at the first.
 */

import { ByteSet } from "./byte-set.ts";
import { bytesToPcre, leadingSets, pinnedBytesOf, toPcre, usesEnd, widthOf } from "./regex.ts";
import type { PinnedPosition, SignatureContent } from "./signature.ts";
import { NO_END } from "./snapshot.ts";

/** hs_compile.h: DOTALL, SINGLEMATCH. */
const DOTALL = 2;
const SINGLE_MATCH = 8;

/** Hyperscan's bound on {m,n}; a wider window is left open and judged by the match's end. */
const REPEAT_MAX = 32_767;

/** First bytes of a payload whose values are remembered for telling what cannot match any more. */
export const PINNED_POSITIONS_MAX = 64;

export interface SearchExpression {
  readonly pcre: string;
  readonly flags: number;
  /** Match ends that count; both included. */
  readonly endMin: number;
  readonly endMax: number;
}

export function searchExpression(content: SignatureContent): SearchExpression {
  const { expression, offset, depth } = content;
  const body =
    expression.kind === "bytes" ? bytesToPcre(expression.bytes) : toPcre(expression.regex.root);
  const { min, max } = contentWidth(content);
  const endMax = depth === Infinity ? NO_END : depth;
  if (expression.kind === "regex" && expression.regex.anchored) {
    const flags = max <= depth ? DOTALL | SINGLE_MATCH : DOTALL;
    return { pcre: `^${body}`, flags, endMin: 0, endMax };
  }
  const startMax = depth - min;
  const bounded = startMax <= REPEAT_MAX;
  const fixed = min === max && bounded;
  const flags = depth === Infinity || fixed ? DOTALL | SINGLE_MATCH : DOTALL;
  return { pcre: `${gap(offset, bounded ? startMax : Infinity)}${body}`, flags, endMin: 0, endMax };
}

/** Fewest and most bytes a match of the content takes. */
export function contentWidth(content: SignatureContent): { min: number; max: number } {
  const { expression } = content;
  if (expression.kind === "regex") return widthOf(expression.regex.root);
  return { min: expression.bytes.length, max: expression.bytes.length };
}

/** Bytes a payload must have before the content can be found in it. */
export function contentNeed(content: SignatureContent): number {
  return content.offset + contentWidth(content).min;
}

/** Bytes that every match fixes: what "most specific" counts. */
export function contentPinnedBytes(content: SignatureContent): number {
  const { expression } = content;
  return expression.kind === "bytes"
    ? expression.bytes.length
    : pinnedBytesOf(expression.regex.root);
}

/**
 * Whether the content's bytes all stand at known positions and `contentPositions` lists them all.
 */
export function contentIsPinned(content: SignatureContent): boolean {
  const { min, max } = contentWidth(content);
  return min === max && contentPositions(content).length === min && !contentUsesEnd(content);
}

export function contentUsesEnd(content: SignatureContent): boolean {
  return content.expression.kind === "regex" && usesEnd(content.expression.regex.root);
}

/** What the content says about single positions of the payload, as far as it stands still. */
export function contentPositions(content: SignatureContent): PinnedPosition[] {
  const { expression, offset, depth } = content;
  const start = expression.kind === "regex" && expression.regex.anchored ? 0 : offset;
  const room = PINNED_POSITIONS_MAX - start;
  if (room <= 0) return [];
  const { min, max } = contentWidth(content);
  const stands = expression.kind === "regex" && expression.regex.anchored;
  if (!stands && (min !== max || offset + min !== depth)) return [];
  const sets: ByteSet[] =
    expression.kind === "bytes"
      ? Array.from(expression.bytes.subarray(0, room), (byte) => ByteSet.of(byte))
      : leadingSets(expression.regex.root, room);
  return sets.map((allowed, i) => ({ position: start + i, allowed }));
}

function gap(low: number, high: number): string {
  if (high === Infinity) return low === 0 ? "" : `^.{${low},}`;
  if (high === 0) return "^";
  return low === high ? `^.{${low}}` : `^.{${low},${high}}`;
}
