/**
 * YAML and JSON documents that people write (policy, signatures, provisioning): reading them so
 * that every complaint names file, line, column and path. Unknown keys, duplicate keys and wrong
 * types are errors; nothing is coerced silently. JSON is read as the YAML subset it is. Meaning is
 * left to the schema files of each part; DocumentNode only knows shapes.
 */

import { readFileSync, statSync } from "node:fs";
import {
  type Alias,
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseDocument as parseYaml,
  Scalar,
  type Document as YamlDocument,
} from "yaml";
import { AbsError, messageOf } from "../errors.ts";
import { jsonNodes } from "./json-nodes.ts";

/** Which document this is: the error code is `<kind>_INVALID`. */
export type DocumentKind = "POLICY" | "SIGNATURE" | "PROVISIONING" | "SINKS" | "TEMPLATE";

/** Larger files are a mistake, and parsing them would stall the agent. */
const FILE_BYTES_MAX = 32 * 1024 * 1024;
/** Deeper than any document needs; a list that holds an alias of itself has no end. */
const DEPTH_MAX = 64;
/**
 * Values that may be read, beside one or two a character of text. Aliases of aliases grow
 * exponentially; read without bound, a document of a few lines would stop the agent.
 */
const VALUES_MAX = 10_000;
const VALUES_PER_CHARACTER = 4;
/** Known keys are shorter: a longer one is no slip of one of them. */
const KEY_CHARACTERS_MAX = 64;

interface Source {
  readonly file: string;
  readonly kind: DocumentKind;
  readonly lines: LineCounter;
  readonly targets: ReadonlyMap<Alias, Node>;
  valuesLeft: number;
}

/** One value of the document together with its place. */
export class DocumentNode {
  constructor(
    private readonly source: Source,
    private readonly node: Node | null,
    /** Where it stands, as `rules[3].to.port`; empty for the document itself. */
    readonly path: string,
    /** Bytes into the text, for values that are absent or null. */
    private readonly fallbackOffset: number,
    private readonly depth = 0,
  ) {}

  get file(): string {
    return this.source.file;
  }

  /** `file:line:column` of the value. */
  get place(): string {
    return placeOf(this.source, this.node?.range?.[0] ?? this.fallbackOffset);
  }

  /** Refuses the document because of this value. */
  fail(reason: string, remedy: string): never {
    const where = this.path === "" ? this.place : `${this.place}: ${this.path}`;
    throw new AbsError(`${this.source.kind}_INVALID`, `${where}: ${reason}`, remedy);
  }

  isMap(): boolean {
    return isMap(this.node);
  }

  isList(): boolean {
    return isSeq(this.node);
  }

  /** The value as a map that may hold only `keys`. */
  map(keys: readonly string[]): DocumentMap {
    const node = this.node;
    if (!isMap(node)) {
      return this.fail(`expected a map, found ${this.kindWord()}.`, `Keys: ${keys.join(", ")}.`);
    }
    const fields = new Map<string, DocumentNode>();
    for (const pair of node.items) {
      const key = isScalar(pair.key) ? String(pair.key.value) : undefined;
      const keyOffset = (isScalar(pair.key) ? pair.key.range?.[0] : undefined) ?? 0;
      const word = shorten(String(key));
      const path = this.path === "" ? word : `${this.path}.${word}`;
      const value = this.child(pair.value, path, keyOffset);
      if (key === undefined || !keys.includes(key)) {
        const keyNode = new DocumentNode(this.source, null, path, keyOffset);
        return keyNode.fail(`unknown key "${word}".`, keyRemedy(String(key), keys));
      }
      fields.set(key, value);
    }
    return new DocumentMap(this, fields);
  }

  /** Keys of a map in file order, without judging them. */
  keys(): string[] {
    if (!isMap(this.node)) return [];
    return this.node.items.map((pair) => (isScalar(pair.key) ? String(pair.key.value) : ""));
  }

  list(): DocumentNode[] {
    const node = this.node;
    if (!isSeq(node)) return this.fail(`expected a list, found ${this.kindWord()}.`, "Use [ … ].");
    const offset = node.range?.[0] ?? this.fallbackOffset;
    return node.items.map((item, i) => this.child(item, `${this.path}[${i}]`, offset));
  }

  /** Text; a plain number is taken as it is written, so that 0123 or 12e4 stay what they were. */
  string(): string {
    const node = this.node;
    if (isScalar(node)) {
      if (typeof node.value === "string") return node.value;
      if (typeof node.value === "number" && node.source !== undefined) return node.source;
    }
    return this.fail(`expected text, found ${this.kindWord()}.`, "Write the value in quotes.");
  }

  /** One of `words`; a bare true or false counts as the word. */
  oneOf<T extends string>(words: readonly T[]): T {
    const value = isScalar(this.node) ? this.node.value : undefined;
    const text = typeof value === "boolean" ? String(value) : this.string();
    const found = words.find((word) => word === text);
    if (found !== undefined) return found;
    return this.fail(`"${text}" is not one of the words allowed here.`, `Use ${orList(words)}.`);
  }

  /** true or false; the paper's Fig. 6 writes them as text, which is read too. */
  boolean(): boolean {
    const value = isScalar(this.node) ? this.node.value : undefined;
    if (value === true || value === "true") return true;
    if (value === false || value === "false") return false;
    return this.fail(`expected true or false, found ${this.kindWord()}.`, "Use true or false.");
  }

  /** An integer within [min, max]; digits in quotes are read too. */
  integer(min: number, max: number): number {
    const value = isScalar(this.node) ? this.node.value : undefined;
    const number =
      typeof value === "string" && /^-?(0|[1-9][0-9]{0,15})$/.test(value) ? Number(value) : value;
    if (typeof number === "number" && Number.isSafeInteger(number)) {
      if (number >= min && number <= max) return number;
      return this.fail(`${number} is out of range.`, `Use a number from ${min} to ${max}.`);
    }
    const remedy = `Use a number from ${min} to ${max}.`;
    return this.fail(`expected a whole number, found ${this.kindWord()}.`, remedy);
  }

  private kindWord(): string {
    const node = this.node;
    if (isMap(node)) return "a map";
    if (isSeq(node)) return "a list";
    if (!(node instanceof Scalar) || node.value === null) return "nothing";
    if (typeof node.value === "string") return `the text "${shorten(node.value)}"`;
    return `${typeof node.value === "number" ? "the number" : "the word"} ${String(node.value)}`;
  }

  private child(node: unknown, path: string, fallbackOffset: number): DocumentNode {
    const { source } = this;
    const target = isAlias(node) ? source.targets.get(node) : node;
    const plain = isMap(target) || isSeq(target) || isScalar(target) ? target : null;
    const child = new DocumentNode(source, plain, path, fallbackOffset, this.depth + 1);
    if (isAlias(node) && plain === null) {
      const alias = new DocumentNode(source, node, path, fallbackOffset);
      alias.fail(`there is no anchor "${node.source}".`, "Write the value.");
    }
    if (child.depth > DEPTH_MAX) this.fail("it is nested too deep.", "Remove a level.");
    if (--source.valuesLeft < 0) this.fail("aliases repeat too much.", "Write the values.");
    return child;
  }
}

/** A map whose keys have been checked. */
export class DocumentMap {
  constructor(
    readonly node: DocumentNode,
    private readonly fields: ReadonlyMap<string, DocumentNode>,
  ) {}

  get(key: string): DocumentNode | undefined {
    return this.fields.get(key);
  }

  has(key: string): boolean {
    return this.fields.has(key);
  }

  /** The value of a key that must be there. */
  need(key: string): DocumentNode {
    const value = this.fields.get(key);
    if (value !== undefined) return value;
    return this.node.fail(`the key "${key}" is missing.`, `Add "${key}".`);
  }
}

/** Parses `text`; `file` is only used in messages. Throws AbsError `<kind>_INVALID`. */
export function parseDocument(text: string, file: string, kind: DocumentKind): DocumentNode {
  const lines = new LineCounter();
  const valuesLeft = VALUES_MAX + VALUES_PER_CHARACTER * text.length;
  const json = jsonNodes(text, lines);
  if (json !== undefined) {
    return new DocumentNode({ file, kind, lines, targets: new Map(), valuesLeft }, json, "", 0);
  }
  const { yaml, targets } = parseWhole(text, lines, file, kind);
  const source: Source = { file, kind, lines, targets, valuesLeft };
  const problem = yaml.errors[0];
  if (problem !== undefined) {
    const place = placeOf(source, problem.pos[0]);
    const reason = problem.message.replace(/\s+/g, " ").trim();
    throw new AbsError(`${kind}_INVALID`, `${place}: ${reason}`, "Mend the YAML or JSON there.");
  }
  const contents = yaml.contents;
  const node = isMap(contents) || isSeq(contents) || isScalar(contents) ? contents : null;
  return new DocumentNode(source, node, "", 0);
}

/** The parser recurses: text of thousands of brackets takes all of the stack. */
function parseWhole(
  text: string,
  lineCounter: LineCounter,
  file: string,
  kind: DocumentKind,
): { yaml: YamlDocument; targets: ReadonlyMap<Alias, Node> } {
  try {
    const yaml = parseYaml(text, { lineCounter, prettyErrors: false, strict: true });
    const aliases = new AliasTargets();
    aliases.note(yaml.contents, 0);
    return { yaml, targets: aliases.targets };
  } catch (thrown) {
    const message = `${file}:1:1: it cannot be read (${messageOf(thrown)}).`;
    throw new AbsError(`${kind}_INVALID`, message, "Mend the YAML or JSON there.", thrown);
  }
}

/** What each alias stands for: the last node before it that has its anchor. */
class AliasTargets {
  readonly targets = new Map<Alias, Node>();
  private readonly anchors = new Map<string, Node>();

  /** Notes `node` and what it holds, in the order of the text. */
  note(node: unknown, depth: number): void {
    if (depth > DEPTH_MAX) throw new Error(`it is nested more than ${DEPTH_MAX} levels deep`);
    if (isAlias(node)) {
      const target = this.anchors.get(node.source);
      if (target !== undefined) this.targets.set(node, target);
    } else if (isNode(node)) {
      if (node.anchor !== undefined) this.anchors.set(node.anchor, node);
      if (isSeq(node)) for (const item of node.items) this.note(item, depth + 1);
      if (isMap(node)) for (const pair of node.items) this.notePair(pair, depth + 1);
    }
  }

  private notePair(pair: { key: unknown; value: unknown }, depth: number): void {
    this.note(pair.key, depth);
    this.note(pair.value, depth);
  }
}

/** Reads and parses a file. Throws AbsError `<kind>_UNREADABLE` or `<kind>_INVALID`. */
export function loadDocument(file: string, kind: DocumentKind): DocumentNode {
  let text: string;
  try {
    const sizeBytes = statSync(file).size;
    if (sizeBytes > FILE_BYTES_MAX) {
      const message = `${file} holds ${sizeBytes} bytes; at most ${FILE_BYTES_MAX} are read.`;
      throw new AbsError(`${kind}_UNREADABLE`, message, "Name the right file, or split it.");
    }
    text = new TextDecoder("utf-8", { fatal: true }).decode(readFileSync(file));
  } catch (thrown) {
    if (thrown instanceof AbsError) throw thrown;
    const message = `${file} cannot be read: ${messageOf(thrown)}.`;
    const remedy = "Check the path, its permissions and that it is UTF-8 text.";
    throw new AbsError(`${kind}_UNREADABLE`, message, remedy, thrown);
  }
  return parseDocument(text, file, kind);
}

/** "a, b or c". */
export function orList(words: readonly string[]): string {
  if (words.length < 2) return words.join("");
  return `${words.slice(0, -1).join(", ")} or ${words[words.length - 1] ?? ""}`;
}

function placeOf(source: Source, offset: number): string {
  const { line, col } = source.lines.linePos(offset);
  return `${source.file}:${Math.max(1, line)}:${Math.max(1, col)}`;
}

function shorten(text: string): string {
  return text.length <= 40 ? text : `${text.slice(0, 37)}...`;
}

/** Names the likeliest key when the unknown one is a slip of one or two letters. */
function keyRemedy(key: string, keys: readonly string[]): string {
  const isWord = key.length <= KEY_CHARACTERS_MAX;
  const near = keys.find(
    (known) => isWord && distance(known.toLowerCase(), key.toLowerCase()) <= 2,
  );
  const all = `Known here: ${keys.join(", ")}.`;
  return near === undefined ? all : `Did you mean "${near}"? ${all}`;
}

/** Levenshtein distance, for words of a few letters. */
function distance(left: string, right: string): number {
  let previous = Array.from({ length: right.length + 1 }, (_, i) => i);
  for (let i = 1; i <= left.length; i++) {
    const current = [i];
    for (let j = 1; j <= right.length; j++) {
      const change = (previous[j - 1] ?? 0) + (left[i - 1] === right[j - 1] ? 0 : 1);
      current.push(Math.min(change, (previous[j] ?? 0) + 1, (current[j - 1] ?? 0) + 1));
    }
    previous = current;
  }
  return previous[right.length] ?? 0;
}
