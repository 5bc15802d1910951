/**
 * Canonical JSON: RFC 8785 limited to strings, safe integers, booleans, arrays and objects.
 * docs/ledger.md "JSON that is hashed". Floats, null, duplicate keys and lone surrogates are
 * refused; UTF-8 is strict; depth and size are limited. Which fields an object may have is left to
 * json-fields.ts and the schemas.
 *
 * Two readers: parseCanonical() takes only bytes that are canonical already, which is what is
 * hashed; parseJsonText() takes what people write and refuses what canonicalJson() could not write.
 */

export type JsonValue = string | number | boolean | readonly JsonValue[] | JsonObject;
export type JsonObject = { readonly [name: string]: JsonValue };

export const JSON_FAULTS = [
  "json-size",
  "json-utf8",
  "json-syntax",
  "json-number",
  "json-null",
  "json-depth",
  "json-duplicate",
  "json-surrogate",
  "json-not-canonical",
] as const;
export type JsonFault = (typeof JSON_FAULTS)[number];
export type JsonRead<T> = { readonly value: T } | { readonly fault: JsonFault };

/** Deeper than any document of the ledger. */
export const JSON_DEPTH_MAX = 16;
/** A genesis file of a large tenant; records have limits of their own (block.ts). */
export const JSON_BYTES_MAX = 4 * 1024 * 1024;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Texts of objects that are written again and again; nobody alters these. */
const keptTexts = new WeakMap<object, string>();

/** The same object, whose text is made once: part of many larger ones. */
export function withKeptText(value: JsonObject): JsonObject {
  if (!keptTexts.has(value)) keptTexts.set(value, canonicalText(value));
  return value;
}

/** The one text of a value. The value must be of the subset: faultOfValue() tells. */
export function canonicalText(value: JsonValue): string {
  // JSON.stringify writes strings and integers as RFC 8785 §3.2.2 asks, being its source.
  if (typeof value !== "object") return JSON.stringify(value);
  const kept = keptTexts.get(value);
  if (kept !== undefined) return kept;
  if (isList(value)) return `[${value.map(canonicalText).join(",")}]`;
  // Default order of sort() is by UTF-16 code units, as §3.2.3 asks.
  const names = Object.keys(value).sort();
  const members = names.map((name) => {
    return `${JSON.stringify(name)}:${canonicalText(value[name] as JsonValue)}`;
  });
  return `{${members.join(",")}}`;
}

export function canonicalJson(value: JsonValue): Uint8Array {
  return encoder.encode(canonicalText(value));
}

/** Why a value is not of the subset, or undefined. */
export function faultOfValue(value: unknown, depth = 0): JsonFault | undefined {
  switch (typeof value) {
    case "string":
      return value.isWellFormed() ? undefined : "json-surrogate";
    case "number":
      return Number.isSafeInteger(value) && !Object.is(value, -0) ? undefined : "json-number";
    case "boolean":
      return undefined;
    case "object":
      return value === null ? "json-null" : faultOfMembers(value, depth + 1);
    default:
      return "json-syntax";
  }
}

function faultOfMembers(value: object, depth: number): JsonFault | undefined {
  if (depth > JSON_DEPTH_MAX) return "json-depth";
  for (const [name, member] of Object.entries(value)) {
    if (!name.isWellFormed()) return "json-surrogate";
    const fault = faultOfValue(member, depth);
    if (fault !== undefined) return fault;
  }
  return undefined;
}

/** The value of bytes that are exactly its canonical text. */
export function parseCanonical(
  bytes: Uint8Array,
  bytesMax: number = JSON_BYTES_MAX,
): JsonRead<JsonValue> {
  if (bytes.length > bytesMax) return { fault: "json-size" };
  const text = textOf(bytes);
  if (text === undefined) return { fault: "json-utf8" };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // Also brackets by the thousand, at which JSON.parse runs out of stack.
    return { fault: "json-syntax" };
  }
  const fault = faultOfValue(value);
  if (fault !== undefined) return { fault };
  // Duplicate keys, white space, 1.0 and \u0041 all write another text than they were read from.
  if (canonicalText(value as JsonValue) !== text) return { fault: "json-not-canonical" };
  return { value: value as JsonValue };
}

/** The value of JSON as people write it: any order and white space, but no key twice. */
export function parseJsonText(
  bytes: Uint8Array,
  bytesMax: number = JSON_BYTES_MAX,
): JsonRead<JsonValue> {
  if (bytes.length > bytesMax) return { fault: "json-size" };
  const text = textOf(bytes);
  if (text === undefined) return { fault: "json-utf8" };
  const reader = new JsonReader(text);
  const value = reader.document();
  if (value === undefined) return { fault: reader.fault ?? "json-syntax" };
  const fault = faultOfValue(value);
  return fault === undefined ? { value } : { fault };
}

export function isList(value: JsonValue): value is readonly JsonValue[] {
  return Array.isArray(value);
}

export function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === "object" && !Array.isArray(value);
}

function textOf(bytes: Uint8Array): string | undefined {
  try {
    return decoder.decode(bytes);
  } catch {
    return undefined;
  }
}

const WHITE_SPACE = /[ \t\n\r]*/y;
/** As far as the closing quote; JSON.parse judges what lies between. */
const STRING = /"[^"\\]*(?:\\.[^"\\]*)*"/y;
const NUMBER = /-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?/y;
const WORD = /true|false|null/y;

/** A reader that notices duplicate keys, which JSON.parse swallows. */
class JsonReader {
  fault: JsonFault | undefined;
  private at = 0;

  constructor(private readonly text: string) {}

  document(): JsonValue | undefined {
    const value = this.value(0);
    this.take(WHITE_SPACE);
    return this.at === this.text.length ? value : this.fail("json-syntax");
  }

  private value(depth: number): JsonValue | undefined {
    if (depth > JSON_DEPTH_MAX) return this.fail("json-depth");
    this.take(WHITE_SPACE);
    const first = this.text[this.at];
    if (first === "{") return this.object(depth);
    if (first === "[") return this.list(depth);
    if (first === '"') return this.string();
    const word = this.take(WORD);
    if (word !== undefined) return word === "null" ? this.fail("json-null") : word === "true";
    const number = this.take(NUMBER);
    if (number === undefined) return this.fail("json-syntax");
    const isInteger = /^-?[0-9]+$/.test(number) && Number.isSafeInteger(Number(number));
    return isInteger && number !== "-0" ? Number(number) : this.fail("json-number");
  }

  private object(depth: number): JsonObject | undefined {
    const members = new Map<string, JsonValue>();
    this.at++;
    if (this.next("}")) return {};
    do {
      this.take(WHITE_SPACE);
      const name = this.string();
      if (name === undefined || !this.next(":")) return this.fail("json-syntax");
      if (members.has(name)) return this.fail("json-duplicate");
      const value = this.value(depth + 1);
      if (value === undefined) return undefined;
      members.set(name, value);
    } while (this.next(","));
    // fromEntries defines members, so that a key "__proto__" is one like others.
    return this.next("}") ? Object.fromEntries(members) : this.fail("json-syntax");
  }

  private list(depth: number): JsonValue[] | undefined {
    const items: JsonValue[] = [];
    this.at++;
    if (this.next("]")) return items;
    do {
      const value = this.value(depth + 1);
      if (value === undefined) return undefined;
      items.push(value);
    } while (this.next(","));
    return this.next("]") ? items : this.fail("json-syntax");
  }

  private string(): string | undefined {
    const literal = this.take(STRING);
    if (literal === undefined) return this.fail("json-syntax");
    try {
      return JSON.parse(literal) as string;
    } catch {
      return this.fail("json-syntax");
    }
  }

  private next(mark: string): boolean {
    this.take(WHITE_SPACE);
    if (this.text[this.at] !== mark) return false;
    this.at++;
    return true;
  }

  private take(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text)?.[0];
    if (found !== undefined) this.at += found.length;
    return found;
  }

  /** The first fault counts. */
  private fail(fault: JsonFault): undefined {
    this.fault ??= fault;
    return undefined;
  }
}
