/**
 * From a content to what Hyperscan does for it. A match must lie within [offset, depth).
 *
 * scan: a pattern that every payload is scanned for, together with those of all other signatures:
 * the byte string itself, the rarest fixed bytes of a regular expression (literal-factor.ts), or
 * where it fixes none the whole expression. Patterns carry no bounds, which would make Hyperscan
 * slow; the ends it reports are compared with the bounds.
 * test: asks about one payload exactly, for the few whose scan says that the content may be there.
 */

import { ascii, concat } from "../bytes.ts";
import { ByteSet } from "./byte-set.ts";
import { bestFactor, bytesWeight } from "./literal-factor.ts";
import {
  bytesToPcre,
  leadingSets,
  pinnedBytesOf,
  type Regex,
  toPcre,
  usesEnd,
  widthOf,
} from "./regex.ts";
import type { PinnedPosition, SignatureContent } from "./signature.ts";
import { NO_END } from "./snapshot.ts";

/** hs_compile.h: DOTALL, SINGLEMATCH. */
const DOTALL = 2;
const SINGLE_MATCH = 8;

/** Hyperscan's bound on {m,n}; a wider window is left open and judged by the match's end. */
const REPEAT_MAX = 32_767;

/** First bytes of a payload whose values are remembered for telling what cannot match any more. */
export const PINNED_POSITIONS_MAX = 64;

/** Kinds of entries of c/match_internal.h. */
export const ENTRY_SCAN = 1;
const ENTRY_TEST = 2;
const ENTRY_TEST_WHOLE = 3;
const ENTRY_TEST_BYTES = 4;

export interface ScanPattern {
  readonly pcre: string;
  readonly flags: number;
  /** Match ends that count; both included. */
  readonly endMin: number;
  readonly endMax: number;
  /** A match that counts is a match of the content; otherwise the content must be tested. */
  readonly exact: boolean;
  /** How rarely it is found: about the number of bytes it fixes. */
  readonly weight: number;
  /** It looks at the payload's end, so that its text must not be cut. */
  readonly usesEnd: boolean;
}

export interface ContentTest {
  readonly kind: number;
  readonly flags: number;
  /** Bytes of the payload that are looked at. */
  readonly low: number;
  readonly high: number;
  /** The byte string, or PCRE with a final NUL. */
  readonly text: Uint8Array;
}

export function scanPattern(content: SignatureContent): ScanPattern {
  const { expression, offset, depth } = content;
  if (expression.kind === "regex") return regexScan(content, expression.regex);
  const { bytes } = expression;
  const endMin = offset + bytes.length;
  return {
    pcre: bytesToPcre(bytes),
    flags: offset === 0 && depth === Infinity ? DOTALL | SINGLE_MATCH : DOTALL,
    endMin,
    endMax: Math.min(depth, NO_END),
    exact: true,
    weight: bytesWeight(bytes),
    usesEnd: false,
  };
}

function regexScan(content: SignatureContent, regex: Regex): ScanPattern {
  const { depth } = content;
  const { root } = regex;
  const whole = widthOf(root);
  const [startMin, startMax] = startsOf(content, regex);
  const factor = bestFactor(root, regex.anchored);
  if (factor === undefined) {
    const endMax = Math.min(startMax + whole.max, depth, NO_END);
    const bounds = { endMin: 0, endMax, exact: true, weight: 0, usesEnd: usesEnd(root) };
    return { ...boundedPattern(content, regex), ...bounds };
  }
  const { before, width } = factor;
  // A match that can have only one width, all of it scanned for, began where its bounds say.
  const isAll = whole.min === whole.max && width.min === whole.min && width.max === whole.max;
  return {
    pcre: toPcre(factor.node),
    flags: DOTALL,
    endMin: startMin + before.min + width.min,
    endMax: Math.min(startMax + before.max + width.max, depth, NO_END),
    exact: isAll && !usesEnd(root),
    weight: factor.weight,
    usesEnd: false,
  };
}

/** First and last byte at which a match may begin. */
function startsOf(content: SignatureContent, regex: Regex): [number, number] {
  if (regex.anchored) return [0, 0];
  return [content.offset, content.depth - widthOf(regex.root).min];
}

/** The expression with its start bounds; only the end of a match is left to compare. */
function boundedPattern(content: SignatureContent, regex: Regex): { pcre: string; flags: number } {
  const body = toPcre(regex.root);
  const { min, max } = widthOf(regex.root);
  const { offset, depth } = content;
  if (regex.anchored) {
    return { pcre: `^${body}`, flags: max <= depth ? DOTALL | SINGLE_MATCH : DOTALL };
  }
  const startMax = depth - min;
  const bounded = startMax <= REPEAT_MAX;
  const fixed = min === max && bounded;
  const flags = depth === Infinity || fixed ? DOTALL | SINGLE_MATCH : DOTALL;
  return { pcre: gap(offset, bounded ? startMax : Infinity) + body, flags };
}

export function contentTest(content: SignatureContent): ContentTest {
  const { expression, offset } = content;
  const high = Math.min(content.depth, NO_END);
  if (expression.kind === "bytes") {
    return { kind: ENTRY_TEST_BYTES, flags: 0, low: offset, high, text: expression.bytes };
  }
  const { regex } = expression;
  const terminated = (pcre: string) => concat(ascii(pcre), Uint8Array.of(0));
  // What lies beside the window matters to \b, \B and $: the payload is looked at as a whole.
  if (usesEnd(regex.root)) {
    const { pcre, flags } = boundedPattern(content, regex);
    return { kind: ENTRY_TEST_WHOLE, flags, low: 0, high, text: terminated(pcre) };
  }
  const pcre = (regex.anchored ? "^" : "") + toPcre(regex.root);
  const low = regex.anchored ? 0 : offset;
  return { kind: ENTRY_TEST, flags: DOTALL | SINGLE_MATCH, low, high, text: terminated(pcre) };
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
