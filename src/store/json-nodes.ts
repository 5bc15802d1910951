/**
 * Plain JSON (RFC 8259) as the nodes that the YAML parser makes of it, ten times as fast: files of
 * thousands of signatures, and the built-in library at every start. Whatever is not plain JSON, or
 * is wrong in any way, is left to the YAML parser, which tells why.
 */

import { type LineCounter, type Node, Pair, Scalar, YAMLMap, YAMLSeq } from "yaml";

/** Deeper is left to the YAML parser's own bound. */
const DEPTH_MAX = 32;
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
/** Which escapes and control characters are right is JSON.parse's to say. */
const STRING = /"(?:[^"\\]|\\.)*"/y;
const SPACE = /[ \t\r\n]*/y;
/** No white space is above it. */
const SPACE_LAST = 0x20;

const WORDS: readonly (readonly [string, boolean | null])[] = [
  ["true", true],
  ["false", false],
  ["null", null],
];

/** Undefined: not plain JSON. `lines` learns where lines begin. */
export function jsonNodes(text: string, lines: LineCounter): Node | undefined {
  const reader = new JsonReader(text);
  const node = reader.document();
  if (node === undefined) return undefined;
  lines.addNewLine(0);
  for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) {
    lines.addNewLine(at + 1);
  }
  return node;
}

class JsonReader {
  #at = 0;

  constructor(private readonly text: string) {}

  document(): Node | undefined {
    this.#skipSpace();
    const first = this.text[this.#at];
    if (first !== "{" && first !== "[") return undefined;
    const node = this.#value(0);
    this.#skipSpace();
    return this.#at === this.text.length ? node : undefined;
  }

  #value(depth: number): Node | undefined {
    if (depth > DEPTH_MAX) return undefined;
    const first = this.text[this.#at];
    if (first === "{") return this.#map(depth);
    if (first === "[") return this.#list(depth);
    if (first === '"') return this.#string();
    return this.#word() ?? this.#number();
  }

  #map(depth: number): Node | undefined {
    const start = this.#at++;
    const map = new YAMLMap();
    const keys = new Set<string>();
    for (let more = !this.#take("}"); more; more = !this.#take("}")) {
      if (keys.size > 0 && !this.#take(",")) return undefined;
      this.#skipSpace();
      const key = this.text[this.#at] === '"' ? this.#string() : undefined;
      if (key === undefined || keys.has(key.value) || !this.#take(":")) return undefined;
      keys.add(key.value);
      this.#skipSpace();
      const value = this.#value(depth + 1);
      if (value === undefined) return undefined;
      map.items.push(new Pair(key, value));
    }
    return this.#placed(map, start);
  }

  #list(depth: number): Node | undefined {
    const start = this.#at++;
    const list = new YAMLSeq();
    for (let more = !this.#take("]"); more; more = !this.#take("]")) {
      if (list.items.length > 0 && !this.#take(",")) return undefined;
      this.#skipSpace();
      const value = this.#value(depth + 1);
      if (value === undefined) return undefined;
      list.items.push(value);
    }
    return this.#placed(list, start);
  }

  #string(): Scalar<string> | undefined {
    const start = this.#at;
    if (!this.#skip(STRING)) return undefined;
    try {
      const value = JSON.parse(this.text.slice(start, this.#at)) as string;
      return this.#placed(new Scalar(value), start);
    } catch {
      return undefined; // an escape that JSON does not have
    }
  }

  #word(): Node | undefined {
    for (const [word, value] of WORDS) {
      if (!this.text.startsWith(word, this.#at)) continue;
      const start = this.#at;
      this.#at += word.length;
      return this.#placed(new Scalar(value), start);
    }
    return undefined;
  }

  #number(): Node | undefined {
    const start = this.#at;
    if (!this.#skip(NUMBER)) return undefined;
    const source = this.text.slice(start, this.#at);
    const scalar = new Scalar(Number(source));
    scalar.source = source;
    return this.#placed(scalar, start);
  }

  #placed<T extends Node>(node: T, start: number): T {
    node.range = [start, this.#at, this.#at];
    return node;
  }

  /** Goes behind `mark`, when it comes next. */
  #take(mark: string): boolean {
    this.#skipSpace();
    if (this.text[this.#at] !== mark) return false;
    this.#at++;
    return true;
  }

  /** Mostly there is none: what programs write has no white space. */
  #skipSpace(): void {
    if (this.text.charCodeAt(this.#at) <= SPACE_LAST) this.#skip(SPACE);
  }

  /** Goes behind what `pattern` matches here; false when it matches nothing. */
  #skip(pattern: RegExp): boolean {
    pattern.lastIndex = this.#at;
    if (!pattern.test(this.text)) return false;
    this.#at = pattern.lastIndex;
    return true;
  }
}
