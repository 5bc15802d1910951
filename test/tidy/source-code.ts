/**
 * A TypeScript file as the tidy test sees it: its text, and its text without what is inside
 * comments, strings, template texts and regular expressions, in the same places. Functions are
 * found by their layout, which the formatter fixes: a head, and the first `}` at the head's
 * indentation. Not a parser: it knows this project's formatting, and no more of the language than
 * it needs.
 */
import { readFileSync } from "node:fs";

export interface SourceFunction {
  readonly name: string;
  /** Index of the head's first line. */
  readonly from: number;
  /** Index of the first line of the body. */
  readonly bodyFrom: number;
  /** Index of the line with the closing brace. */
  readonly to: number;
  /** The comment right above it, or nothing. */
  readonly comment: string;
}

/** Marks that stand in `code` for what was blanked. */
export const REGEXP_MARK = "\u0001";
export const TEMPLATE_MARK = "`";

const MODIFIERS =
  "export default async static private protected public override readonly get set declare";
const HEAD = new RegExp(
  `^( *)(?:(?:${MODIFIERS.replaceAll(" ", "|")}) )*(?:function\\*? )?(?:const )?` +
    "(#?[A-Za-z_$][\\w$]*)(?:<.*>)?(?: = (?:async )?)?\\(",
);
const NOT_A_NAME = new Set(
  "if for while switch catch return else do try with new throw await typeof super assert".split(
    " ",
  ),
);
/** After these a slash begins a regular expression, elsewhere it divides. */
const BEFORE_REGEXP = /(?:^|[=(,;:!&|?{}[+*~<>-]|\b(?:return|typeof|case|in|of))\s*$/;

export class SourceCode {
  readonly lines: readonly string[];
  /** As `lines`, with the blanked text. */
  readonly code: readonly string[];

  constructor(
    readonly path: string,
    text = readFileSync(path, "utf8"),
  ) {
    this.lines = text.replace(/\n$/, "").split("\n");
    this.code = blank(text).replace(/\n$/, "").split("\n");
  }

  /** The comment that begins the file, without its stars; empty when there is none. */
  moduleComment(): string {
    const text = this.lines.join("\n");
    const found = /^(?:#!.*\n)?\/\*\*([\s\S]*?)\*\//.exec(text);
    return (found?.[1] ?? "").replace(/^\s*\* ?/gm, "").trim();
  }

  functions(): SourceFunction[] {
    const found: SourceFunction[] = [];
    for (let from = 0; from < this.code.length; from++) {
      const head = HEAD.exec(this.code[from] ?? "");
      const name = head?.[2] ?? "";
      if (head === null || NOT_A_NAME.has(name)) continue;
      const indent = head[1] ?? "";
      const open = this.#openingLine(from, indent);
      if (open < 0) continue;
      const to = this.code.findIndex((line, i) => i > open && line.startsWith(`${indent}}`));
      if (to < 0) continue;
      found.push({ name, from, bodyFrom: open + 1, to, comment: this.#commentAbove(from) });
    }
    return found;
  }

  /** Line that ends with the body's `{`; -1: a call, a declaration, or a body of one line. */
  #openingLine(from: number, indent: string): number {
    const first = this.code[from] ?? "";
    if (first.trimEnd().endsWith("{")) return isHead(first, indent) ? from : -1;
    if (!first.trimEnd().endsWith("(")) return -1;
    for (let i = from + 1; i < this.code.length; i++) {
      const line = this.code[i] ?? "";
      if (!line.startsWith(`${indent})`)) {
        if (line.trim() !== "" && !line.startsWith(`${indent} `)) return -1;
        continue;
      }
      return line.trimEnd().endsWith("{") && !line.includes(";") ? i : -1;
    }
    return -1;
  }

  #commentAbove(from: number): string {
    let i = from - 1;
    const words: string[] = [];
    while (i >= 0 && /^\s*(\/\*\*|\*|\/\/)/.test(this.lines[i] ?? "")) {
      words.unshift((this.lines[i] ?? "").trim());
      i--;
    }
    return words.join("\n");
  }
}

/**
 * A method or function, not a call with a closure: `name(…) {`, `function name(…): T {`, `= (…) =>
 * {`.
 */
function isHead(line: string, indent: string): boolean {
  const rest = line.slice(indent.length).trimEnd();
  if (/\bfunction\b/.test(rest) || rest.startsWith("const ") || rest.startsWith("export const ")) {
    return !rest.includes("= new ") && (/\bfunction\b/.test(rest) || rest.endsWith("=> {"));
  }
  return !rest.endsWith("=> {");
}

/** The text with comments, strings, template texts and regular expressions blanked, same lines. */
export function blank(text: string): string {
  let out = "";
  let at = 0;
  const templates: number[] = []; // depth of braces at each open `${`
  let depth = 0;
  const skip = (end: number, mark: string) => {
    const gone = text.slice(at, end).replace(/[^\n]/g, " ");
    out += mark + gone.slice(mark.length);
    at = end;
  };
  while (at < text.length) {
    const char = text[at] ?? "";
    const pair = text.slice(at, at + 2);
    if (pair === "//") skip(endOf(text, "\n", at), "");
    else if (pair === "/*") skip(endOf(text, "*/", at + 2) + 2, "");
    else if (char === '"' || char === "'") skip(quoteEnd(text, at, char), '""');
    else if (char === "`") {
      const end = templateEnd(text, at + 1);
      if (text[end - 1] === "{") templates.push(depth);
      skip(end, TEMPLATE_MARK);
    } else if (char === "}" && templates.at(-1) === depth) {
      const end = templateEnd(text, at + 1);
      if (text[end - 1] !== "{") templates.pop();
      skip(end, " ");
    } else if (char === "/" && BEFORE_REGEXP.test(out.slice(-40))) {
      skip(regexpEnd(text, at + 1), REGEXP_MARK);
    } else {
      if (char === "{") depth++;
      if (char === "}") depth--;
      out += char;
      at++;
    }
  }
  return out;
}

function endOf(text: string, end: string, from: number): number {
  const found = text.indexOf(end, from);
  return found < 0 ? text.length : found;
}

function quoteEnd(text: string, from: number, quote: string): number {
  let at = from + 1;
  while (at < text.length && text[at] !== quote && text[at] !== "\n") {
    at += text[at] === "\\" ? 2 : 1;
  }
  return at + 1;
}

/** After the closing backtick, or after the `{` of the next `${`. */
function templateEnd(text: string, from: number): number {
  let at = from;
  while (at < text.length) {
    if (text[at] === "`") return at + 1;
    if (text[at] === "$" && text[at + 1] === "{") return at + 2;
    at += text[at] === "\\" ? 2 : 1;
  }
  return at;
}

function regexpEnd(text: string, from: number): number {
  let inClass = false;
  let at = from;
  while (at < text.length && text[at] !== "\n") {
    const char = text[at];
    if (char === "[") inClass = true;
    if (char === "]") inClass = false;
    if (char === "/" && !inClass) break;
    at += char === "\\" ? 2 : 1;
  }
  return at + 1;
}
