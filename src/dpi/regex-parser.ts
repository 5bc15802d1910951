/**
 * Parses the regular expressions of signatures: the common subset of PCRE and JavaScript that runs
 * in linear time, over bytes. `^` is payload byte 0, `$` the payload's end (not "before a last
 * newline"), `.` any byte but \x0a unless flag `s` is given. Groups only group; lazy means the
 * same as greedy, because only whether there is a match counts.
 */

import { ByteSet } from "./byte-set.ts";
import { expandedSize, type Regex, type RegexNode, widthOf } from "./regex.ts";

/** Why an expression is refused and what to do about it. */
export interface RegexProblem {
  readonly reason: string;
  readonly remedy: string;
}

/** Hyperscan's own bound on {m,n}. */
const REPEAT_MAX = 32_767;
const EXPANDED_MAX = 20_000;
const DEPTH_MAX = 64;

const DIGIT = ByteSet.range(0x30, 0x39);
const WORD = DIGIT.union(ByteSet.range(0x41, 0x5a))
  .union(ByteSet.range(0x61, 0x7a))
  .union(ByteSet.of(0x5f));
const SPACE = ByteSet.of(0x20, 0x09, 0x0a, 0x0b, 0x0c, 0x0d);
const NEWLINE = ByteSet.of(0x0a);
const CLASS_ESCAPES: Readonly<Record<string, ByteSet>> = {
  d: DIGIT,
  D: DIGIT.complement(),
  w: WORD,
  W: WORD.complement(),
  s: SPACE,
  S: SPACE.complement(),
};
const BYTE_ESCAPES: Readonly<Record<string, number>> = {
  n: 0x0a,
  r: 0x0d,
  t: 0x09,
  f: 0x0c,
  v: 0x0b,
  "0": 0x00,
};

class Refusal extends Error {
  constructor(
    readonly reason: string,
    readonly remedy: string,
  ) {
    super(reason);
  }
}

/** The tree of `pattern` (the text between the slashes) under `flags`, or why it is refused. */
export function parseRegex(pattern: string, flags: string): Regex | RegexProblem {
  try {
    return new Parser(pattern, readFlags(flags)).parse();
  } catch (thrown) {
    if (!(thrown instanceof Refusal)) throw thrown;
    return { reason: thrown.reason, remedy: thrown.remedy };
  }
}

interface Flags {
  readonly caseless: boolean;
  readonly dotAll: boolean;
}

function readFlags(flags: string): Flags {
  for (const [i, flag] of [...flags].entries()) {
    if (flag === "m") {
      throw new Refusal(
        "the flag m is refused.",
        "^ is always payload byte 0; write \\n before it.",
      );
    }
    if (flag !== "i" && flag !== "s") {
      throw new Refusal(`"${flag}" is not a flag.`, "Use i (either case) and s (. is any byte).");
    }
    if (flags.indexOf(flag) !== i) throw new Refusal(`the flag ${flag} is repeated.`, "Keep one.");
  }
  return { caseless: flags.includes("i"), dotAll: flags.includes("s") };
}

class Parser {
  private at = 0;
  private nesting = 0;

  constructor(
    private readonly text: string,
    private readonly flags: Flags,
  ) {}

  parse(): Regex {
    for (const [i, sign] of [...this.text].entries()) {
      if (sign < " " || sign > "~") {
        this.at = i;
        this.refuse("a character outside printable ASCII", "Write each byte as \\xNN.");
      }
    }
    const branches = [this.branch()];
    while (this.take("|")) branches.push(this.branch());
    if (this.at < this.text.length) this.refuse("a ) without its (", "Write \\) for the sign.");
    const anchoredCount = branches.filter(({ anchored }) => anchored).length;
    if (anchoredCount !== 0 && anchoredCount !== branches.length) {
      const remedy = "Begin all alternatives with ^, or write two contents or signatures.";
      throw new Refusal("only some alternatives begin with ^.", remedy);
    }
    const root = choice(branches.map(({ node }) => node));
    if (expandedSize(root) > EXPANDED_MAX) {
      const remedy = "Use smaller repeats; Hyperscan unrolls them.";
      throw new Refusal(`the expression unrolls to more than ${EXPANDED_MAX} steps.`, remedy);
    }
    if (widthOf(root).min === 0) {
      throw new Refusal(
        "it matches the empty text, so it says nothing.",
        "Ask for at least a byte.",
      );
    }
    return { anchored: anchoredCount > 0, root };
  }

  /** One alternative at the top level, where ^ may lead. */
  private branch(): { anchored: boolean; node: RegexNode } {
    const anchored = this.take("^") || this.takeWord("\\A");
    return { anchored, node: this.sequence() };
  }

  private alternatives(): RegexNode {
    const items = [this.sequence()];
    while (this.take("|")) items.push(this.sequence());
    return choice(items);
  }

  private sequence(): RegexNode {
    const items: RegexNode[] = [];
    while (this.at < this.text.length && !this.sees("|") && !this.sees(")")) {
      items.push(this.quantified());
    }
    const only = items[0];
    return items.length === 1 && only !== undefined ? only : { kind: "sequence", items };
  }

  private quantified(): RegexNode {
    const item = this.atom();
    const bounds = this.quantifier();
    if (bounds === undefined) return item;
    if (item.kind === "assert") this.refuse("a repeated assertion", "Remove the repeat.");
    if (this.take("+")) this.refuse("a possessive repeat", "Remove the second +.");
    this.take("?");
    if (/[*+?]/.test(this.text[this.at] ?? "")) this.refuse("two repeats", "Use a (group).");
    return { kind: "repeat", item, ...bounds };
  }

  private quantifier(): { min: number; max: number } | undefined {
    if (this.take("*")) return { min: 0, max: Infinity };
    if (this.take("+")) return { min: 1, max: Infinity };
    if (this.take("?")) return { min: 0, max: 1 };
    if (!this.sees("{")) return undefined;
    const found = /^\{([0-9]{1,6})(,([0-9]{1,6})?)?\}/.exec(this.text.slice(this.at));
    if (found === null)
      return this.refuse("a { that begins no repeat", "Write \\x7b for the sign.");
    const min = Number(found[1]);
    const max = found[2] === undefined ? min : found[3] === undefined ? Infinity : Number(found[3]);
    if (min > max) this.refuse("a repeat that counts down", "Write {low,high}.");
    if (min > REPEAT_MAX || (max !== Infinity && max > REPEAT_MAX) || max === 0) {
      this.refuse("a repeat out of range", `Repeat 1 to ${REPEAT_MAX} times.`);
    }
    this.at += found[0].length;
    return { min, max };
  }

  private atom(): RegexNode {
    const sign = this.text[this.at] ?? "";
    switch (sign) {
      case "(":
        return this.group();
      case "[":
        return this.characterClass();
      case "\\":
        return this.escape();
      case ".":
        this.at++;
        return { kind: "set", set: this.flags.dotAll ? ByteSet.ALL : NEWLINE.complement() };
      case "$":
        this.at++;
        return { kind: "assert", which: "end" };
      case "^":
        return this.refuse("a ^ that is not first", "Write \\x5e for the sign.");
      case "*":
      case "+":
      case "?":
        return this.refuse("a repeat of nothing", `Write \\${sign} for the sign.`);
      default:
        if (sign === "{" || sign === "}") this.refuse(`a bare ${sign}`, "Write \\x7b or \\x7d.");
        this.at++;
        return this.byte(sign.charCodeAt(0));
    }
  }

  private group(): RegexNode {
    if (++this.nesting > DEPTH_MAX) this.refuse("groups nested too deep", "Simplify it.");
    this.at++;
    if (this.take("?")) {
      const name = /^P?<[A-Za-z_][A-Za-z0-9_]*>/.exec(this.text.slice(this.at));
      if (name !== null) this.at += name[0].length;
      else if (!this.take(":")) {
        const remedy = "Only (…), (?:…) and (?<name>…) run in linear time; use `not` contents.";
        this.refuse("a look-around, atomic or conditional group, or an inline flag", remedy);
      }
    } else if (this.sees("*")) {
      this.refuse("a PCRE verb", "Remove it.");
    }
    const inside = this.alternatives();
    if (!this.take(")")) this.refuse("a ( without its )", "Write \\( for the sign.");
    this.nesting--;
    return inside;
  }

  private escape(): RegexNode {
    const sign = this.text[this.at + 1] ?? "";
    if (sign === "b" || sign === "B") {
      this.at += 2;
      return { kind: "assert", which: sign === "b" ? "word" : "notWord" };
    }
    if (sign === "z") {
      this.at += 2;
      return { kind: "assert", which: "end" };
    }
    const set = CLASS_ESCAPES[sign];
    if (set !== undefined) {
      this.at += 2;
      return { kind: "set", set };
    }
    return this.byte(this.escapedByte());
  }

  /** The byte of an escape that stands for one; `at` is on the backslash. */
  private escapedByte(): number {
    const rest = this.text.slice(this.at + 1);
    const hex = /^x([0-9a-fA-F]{2})/.exec(rest);
    if (hex !== null) {
      this.at += 4;
      return Number.parseInt(hex[1] ?? "", 16);
    }
    const sign = rest[0] ?? "";
    const byte = BYTE_ESCAPES[sign];
    if (byte !== undefined && !/^0[0-9]/.test(rest)) {
      this.at += 2;
      return byte;
    }
    if (/^[1-9k]/.test(sign)) this.refuse("a back-reference", "It cannot run in linear time.");
    if (sign === "" || /^[A-Za-z0-9]$/.test(sign)) {
      this.refuse(
        `the escape \\${sign}`,
        "Use \\xNN for bytes, \\d \\w \\s \\D \\W \\S for classes.",
      );
    }
    this.at += 2;
    return sign.charCodeAt(0);
  }

  private characterClass(): RegexNode {
    this.at++;
    const negated = this.take("^");
    let set = ByteSet.NONE;
    let first = true;
    while (first || !this.sees("]")) {
      if (this.at >= this.text.length) this.refuse("a [ without its ]", "Write \\[ for the sign.");
      if (this.sees("]")) this.refuse("an empty class", "Write \\] for the sign.");
      set = set.union(this.classItem());
      first = false;
    }
    this.at++;
    if (this.flags.caseless) set = set.caseless();
    if (negated) set = set.complement();
    if (set.isEmpty) this.refuse("a class that holds no byte", "Name at least one byte.");
    return { kind: "set", set };
  }

  private classItem(): ByteSet {
    if (this.sees("[") && /^\[[:.=]/.test(this.text.slice(this.at))) {
      this.refuse("a POSIX class", "Write the ranges, as A-Za-z0-9.");
    }
    const low = this.classByte();
    if (typeof low !== "number") return low;
    if (!this.sees("-") || this.text[this.at + 1] === "]") return ByteSet.of(low);
    this.at++;
    const high = this.classByte();
    if (typeof high !== "number") return this.refuse("a range that ends in a class", "Reorder it.");
    if (high < low) this.refuse("a range that counts down", "Write low-high.");
    return ByteSet.range(low, high);
  }

  private classByte(): number | ByteSet {
    const sign = this.text[this.at] ?? "";
    if (sign !== "\\") {
      this.at++;
      return sign.charCodeAt(0);
    }
    const escaped = this.text[this.at + 1] ?? "";
    const set = CLASS_ESCAPES[escaped];
    if (set === undefined) return this.escapedByte();
    this.at += 2;
    return set;
  }

  private byte(value: number): RegexNode {
    const set = ByteSet.of(value);
    return { kind: "set", set: this.flags.caseless ? set.caseless() : set };
  }

  private sees(sign: string): boolean {
    return this.text[this.at] === sign;
  }

  private take(sign: string): boolean {
    if (!this.sees(sign)) return false;
    this.at++;
    return true;
  }

  private takeWord(word: string): boolean {
    if (!this.text.startsWith(word, this.at)) return false;
    this.at += word.length;
    return true;
  }

  private refuse(what: string, remedy: string): never {
    throw new Refusal(`${what} at character ${this.at + 1} of the expression.`, remedy);
  }
}

function choice(items: readonly RegexNode[]): RegexNode {
  const only = items[0];
  return items.length === 1 && only !== undefined ? only : { kind: "choice", items };
}
