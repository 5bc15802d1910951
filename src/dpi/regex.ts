/**
 * Regular expressions over bytes as trees: what compile.ts needs to know about them (widths,
 * pinned bytes, which byte may stand where) and their canonical PCRE text for Hyperscan. Case and
 * character classes are already byte sets here, so no flag changes what the text means.
 * regex-parser.ts makes the trees.
 */

import { ByteSet } from "./byte-set.ts";

export type RegexNode =
  | { readonly kind: "set"; readonly set: ByteSet }
  | { readonly kind: "sequence"; readonly items: readonly RegexNode[] }
  | { readonly kind: "choice"; readonly items: readonly RegexNode[] }
  /** `max` may be Infinity. */
  | {
      readonly kind: "repeat";
      readonly item: RegexNode;
      readonly min: number;
      readonly max: number;
    }
  /** Payload's end, word boundary, no word boundary; none takes a byte. */
  | { readonly kind: "assert"; readonly which: "end" | "word" | "notWord" };

export interface Regex {
  /** The expression begins with `^`: it matches at payload byte 0 only. */
  readonly anchored: boolean;
  readonly root: RegexNode;
}

/** Fewest and most bytes a match can take; max may be Infinity. */
export interface Width {
  readonly min: number;
  readonly max: number;
}

export function widthOf(node: RegexNode): Width {
  switch (node.kind) {
    case "set":
      return { min: 1, max: 1 };
    case "assert":
      return { min: 0, max: 0 };
    case "sequence": {
      const widths = node.items.map(widthOf);
      return { min: sum(widths.map(({ min }) => min)), max: sum(widths.map(({ max }) => max)) };
    }
    case "choice": {
      const widths = node.items.map(widthOf);
      const min = Math.min(...widths.map((width) => width.min));
      return { min, max: Math.max(...widths.map((width) => width.max)) };
    }
    case "repeat": {
      const { min, max } = widthOf(node.item);
      return { min: min * node.min, max: max === 0 || node.max === 0 ? 0 : max * node.max };
    }
  }
}

/** How many bytes every match fixes to one value (either case of a letter counts as one). */
export function pinnedBytesOf(node: RegexNode): number {
  switch (node.kind) {
    case "set":
      return isOneLetter(node.set) ? 1 : 0;
    case "assert":
      return 0;
    case "sequence":
      return sum(node.items.map(pinnedBytesOf));
    case "choice":
      return Math.min(...node.items.map(pinnedBytesOf));
    case "repeat":
      return pinnedBytesOf(node.item) * node.min;
  }
}

/** Whether the expression looks at the payload's end, so that its text must not be cut. */
export function usesEnd(node: RegexNode): boolean {
  switch (node.kind) {
    case "set":
      return false;
    case "assert":
      return true;
    case "sequence":
    case "choice":
      return node.items.some(usesEnd);
    case "repeat":
      return usesEnd(node.item);
  }
}

/** Nodes Hyperscan would have to expand: a bound on what one expression may cost to compile. */
export function expandedSize(node: RegexNode): number {
  switch (node.kind) {
    case "set":
    case "assert":
      return 1;
    case "sequence":
    case "choice":
      return sum(node.items.map(expandedSize));
    case "repeat":
      return expandedSize(node.item) * Math.max(1, node.max === Infinity ? node.min + 1 : node.max);
  }
}

/**
 * Which values may stand at each of the first bytes of a match, as far as every match agrees on the
 * position: the list ends at the first part of varying width, or at `positionsMax`.
 */
export function leadingSets(node: RegexNode, positionsMax: number): ByteSet[] {
  return lead(node, positionsMax).sets.slice(0, positionsMax);
}

interface Lead {
  readonly sets: ByteSet[];
  /** The node has one width and `sets` covers it: what follows continues at a known position. */
  readonly whole: boolean;
}

function lead(node: RegexNode, positionsMax: number): Lead {
  switch (node.kind) {
    case "set":
      return { sets: [node.set], whole: true };
    case "assert":
      return { sets: [], whole: true };
    case "sequence": {
      const sets: ByteSet[] = [];
      for (const item of node.items) {
        const part = lead(item, positionsMax - sets.length);
        sets.push(...part.sets);
        if (!part.whole || sets.length >= positionsMax) return { sets, whole: false };
      }
      return { sets, whole: true };
    }
    case "choice": {
      const parts = node.items.map((item) => lead(item, positionsMax));
      const common = Math.min(...parts.map(({ sets }) => sets.length));
      const sets = Array.from({ length: common }, (_, i) =>
        parts.reduce((all, part) => all.union(part.sets[i] ?? ByteSet.ALL), ByteSet.NONE),
      );
      const whole = parts.every((part) => part.whole && part.sets.length === common);
      return { sets, whole };
    }
    case "repeat": {
      const item = lead(node.item, positionsMax);
      const sets: ByteSet[] = [];
      for (let i = 0; i < node.min && sets.length < positionsMax; i++) {
        sets.push(...item.sets);
        if (!item.whole) return { sets, whole: false };
      }
      const done = sets.length < positionsMax || node.min * item.sets.length <= positionsMax;
      return { sets, whole: node.min === node.max && item.whole && done };
    }
  }
}

/** Canonical PCRE, to be compiled with DOTALL and nothing else. */
export function toPcre(node: RegexNode): string {
  switch (node.kind) {
    case "set":
      return setToPcre(node.set);
    case "assert":
      return { end: "\\z", word: "\\b", notWord: "\\B" }[node.which];
    case "sequence":
      return node.items.map(toPcre).join("");
    case "choice":
      return `(?:${node.items.map(toPcre).join("|")})`;
    case "repeat": {
      const atom = toPcre(node.item);
      // A repeat of a repeat too: a++ would be possessive, a+? lazy.
      const isAtom = node.item.kind === "set" || node.item.kind === "choice";
      return (isAtom ? atom : `(?:${atom})`) + quantifier(node);
    }
  }
}

/** `bytes` as PCRE. */
export function bytesToPcre(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += byteToPcre(byte);
  return text;
}

function quantifier({ min, max }: { min: number; max: number }): string {
  if (min === 0 && max === 1) return "?";
  if (max === Infinity) return min === 0 ? "*" : min === 1 ? "+" : `{${min},}`;
  return min === max ? `{${min}}` : `{${min},${max}}`;
}

function setToPcre(set: ByteSet): string {
  const values = set.values();
  if (values.length === 256) return ".";
  if (values.length === 1) return byteToPcre(values[0] ?? 0);
  let text = "";
  for (let i = 0; i < values.length; ) {
    let last = i;
    while (values[last + 1] === (values[last] ?? 0) + 1) last++;
    text += hexEscape(values[i] ?? 0);
    if (last > i) text += `-${hexEscape(values[last] ?? 0)}`;
    i = last + 1;
  }
  return `[${text}]`;
}

/** Letters, digits and a few harmless signs stay readable, everything else is \xNN. */
function byteToPcre(byte: number): string {
  const sign = String.fromCharCode(byte);
  return /^[A-Za-z0-9 _:;,=@/"'<>%&~!-]$/.test(sign) ? sign : hexEscape(byte);
}

function hexEscape(byte: number): string {
  return `\\x${byte.toString(16).padStart(2, "0")}`;
}

/** Whether the set is one byte value, or both cases of one letter. */
export function isOneLetter(set: ByteSet): boolean {
  if (set.size === 1) return true;
  const [first = 0, second = 0] = set.values();
  return set.size === 2 && second === first + 32 && first >= 0x41 && first <= 0x5a;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
