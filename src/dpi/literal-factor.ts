/**
 * The part of a regular expression by which it is looked for. Hyperscan scans every payload for the
 * factors of all expressions, which is about as cheap as scanning for byte strings, and only where
 * one is found the expression itself is tested: what Snort and Suricata call the fast pattern. Best
 * is a run of fixed bytes; where those are few, narrow classes and choices beside them join in.
 */

import type { ByteSet } from "./byte-set.ts";
import { isOneLetter, type RegexNode, type Width, widthOf } from "./regex.ts";

export interface Factor {
  /** Every match contains a match of it. */
  readonly node: RegexNode;
  /** Bytes of the match in front of it. */
  readonly before: Width;
  readonly width: Width;
  /** How rare it is: about the number of bytes it fixes. */
  readonly weight: number;
}

/** Longer runs are no rarer. */
const RUN_MAX = 32;
/** What may stand in a run beside fixed bytes: larger classes and repeats make scanning dearer. */
interface Breadth {
  /** Values of a class. */
  readonly values: number;
  /** Words of a choice. */
  readonly words: number;
  /** Copies of a byte that need not be there. */
  readonly copies: number;
  /** A run of this weight is rare enough; else the next breadth is tried. */
  readonly enough: number;
}

const FIXED: Breadth = { values: 1, words: 0, copies: 0, enough: 4.6 };
const NARROW: Breadth = { values: 128, words: 8, copies: 8, enough: 0 };
/** Ends of a run that weigh less only cost. */
const END_WEIGHT_MIN = 0.1;

/**
 * The rarest part; undefined when no byte is fixed. `isAnchored`: the expression stands still, so
 * that few fixed bytes tell much.
 */
export function bestFactor(root: RegexNode, isAnchored: boolean): Factor | undefined {
  let best: Factor | undefined;
  for (const breadth of isAnchored ? [FIXED] : [FIXED, NARROW]) {
    const found = new Finder(breadth).find(root);
    if (found !== undefined && found.weight > (best?.weight ?? 0)) best = found;
    if (best !== undefined && best.weight >= breadth.enough) return best;
  }
  return best;
}

/** How rare a byte string is. */
export function bytesWeight(bytes: Uint8Array): number {
  return bytes.reduce((sum, byte) => sum + byteWeight(byte), 0);
}

interface RunItem {
  readonly node: RegexNode;
  readonly weight: number;
}

class Finder {
  private best: Factor | undefined;
  /** Bytes of the match before the node visited next. */
  private before: Width = { min: 0, max: 0 };
  private run: RunItem[] = [];
  private runBefore: Width = { min: 0, max: 0 };

  constructor(private readonly breadth: Breadth) {}

  find(root: RegexNode): Factor | undefined {
    this.visit(root);
    this.closeRun();
    return this.best;
  }

  private visit(node: RegexNode): void {
    switch (node.kind) {
      case "set":
        return this.take(node, this.joins(node.set));
      case "assert":
        return;
      case "sequence":
        for (const item of node.items) this.visit(item);
        return;
      case "choice":
        return this.visitChoice(node);
      case "repeat":
        return this.visitRepeat(node);
    }
  }

  private joins(set: ByteSet): boolean {
    return isOneLetter(set) || set.size <= this.breadth.values;
  }

  private visitChoice(node: Extract<RegexNode, { kind: "choice" }>): void {
    const isWords = wordsWeight(node) > 0;
    const joins = isWords && node.items.length <= this.breadth.words;
    if (!joins) this.closeRun();
    this.take(node, isWords);
    if (!joins) this.closeRun();
  }

  /** The copies that must be there, as far as they are worth it, and then what may follow. */
  private visitRepeat({ item, min, max }: Extract<RegexNode, { kind: "repeat" }>): void {
    const copies = Math.min(min, RUN_MAX);
    for (let i = 0; i < copies; i++) this.visit(item);
    if (copies === max) return;
    const rest = { kind: "repeat", item, min: min - copies, max: max - copies } as const;
    const isShort = max - copies <= this.breadth.copies;
    this.take(rest, isShort && item.kind === "set" && this.joins(item.set));
  }

  /** Goes over a node, which joins the run or ends it. */
  private take(node: RegexNode, joins: boolean): void {
    if (!joins || this.run.length === RUN_MAX) this.closeRun();
    if (joins) {
      if (this.run.length === 0) this.runBefore = this.before;
      this.run.push({ node, weight: weightOf(node) });
    }
    this.before = sumOf(this.before, widthOf(node));
  }

  private closeRun(): void {
    let [first, last] = [0, this.run.length];
    const isLight = (i: number) => (this.run[i]?.weight ?? 1) < END_WEIGHT_MIN;
    while (last > first && isLight(last - 1)) last--;
    while (first < last && isLight(first)) first++;
    const before = this.run
      .slice(0, first)
      .reduce((width, { node }) => sumOf(width, widthOf(node)), this.runBefore);
    const items = this.run.slice(first, last);
    this.run = [];
    const weight = items.reduce((sum, item) => sum + item.weight, 0);
    if (items.length === 0 || weight <= (this.best?.weight ?? 0)) return;
    const node: RegexNode = { kind: "sequence", items: items.map((item) => item.node) };
    this.best = { node, before, width: widthOf(node), weight };
  }
}

function sumOf(left: Width, right: Width): Width {
  return { min: left.min + right.min, max: left.max + right.max };
}

function weightOf(node: RegexNode): number {
  if (node.kind === "set") return setWeight(node.set);
  return node.kind === "choice" ? wordsWeight(node) : 0;
}

/** Weight of a choice of words of fixed bytes; 0 when it is something else. */
function wordsWeight({ items }: Extract<RegexNode, { kind: "choice" }>): number {
  const weights = items.map((item) => {
    const sets = item.kind === "sequence" ? item.items : [item];
    const isWord = sets.every((one) => one.kind === "set" && isOneLetter(one.set));
    return isWord ? sets.reduce((sum, one) => sum + weightOf(one), 0) : 0;
  });
  return Math.min(...weights);
}

/** A class of n values tells as much less as its values are more. */
function setWeight(set: ByteSet): number {
  if (!isOneLetter(set)) return (8 - Math.log2(set.size)) / 8;
  return Math.min(...set.values().map(byteWeight));
}

/** Zeros, blanks and small numbers are everywhere; the rest is about even. */
function byteWeight(byte: number): number {
  if (byte === 0) return 0.3;
  if (byte === 0xff || byte === 0x20 || byte <= 2) return 0.6;
  return byte >= 0x61 && byte <= 0x7a ? 0.9 : 1;
}
