/**
 * Structure-aware changes to documents (YAML, JSON): a tree of values is altered place by place and
 * written as JSON, which YAML reads too, with the anchors, aliases, doubled keys and deep nesting
 * that only text can have; then, now and then, the text itself is altered.
 */
import type { Prng } from "./prng.ts";

export type Tree = Record<string, unknown> | unknown[];
type Place = { readonly holder: Record<string, unknown>; readonly key: string };

/** Text that stands for itself in the written document. */
class Raw {
  constructor(readonly text: string) {}
}

const NOTABLE: readonly unknown[] = [
  ...[null, true, false, 0, -1, 1, 2, 255, 256, 65_535, 65_536, 4_294_967_296, 1e21, 1.5, -0.1],
  ...["", "any", "true", "null", "~", "0", "00", "-1", "65536", "1-2", "9-1", "0x10", "1e400"],
  ...["constructor", "__proto__", "toString", "*", "&a", "<<", "!!binary x", "%", "@", "\u0000"],
  ...[
    "\u0007\u001b[2J",
    "\ud800",
    "\ufeff",
    "\r\n",
    "a".repeat(70),
    "9".repeat(400),
    "🂡".repeat(9),
  ],
  ...["10.0.0.0/33", "10.1.2.3/8", "::ffff:1.2.3.4", "fe80::1%eth0", "2035-99-99T00:00:00Z", ".."],
  ...[[], {}, [[]], [null], { any: true }, { file: "." }, { file: "missing" }, { builtin: "none" }],
].flat(0);

const PREFIXES = ["%YAML 1.1\n---\n", "!!set ", "!!omap ", "? ", "\t", "- ", "&a "];

export function copyOf<T extends Tree>(tree: T): T {
  return structuredClone(tree);
}

export function anyOf<T>(prng: Prng, items: readonly T[]): T {
  return items[prng.below(items.length)] as T;
}

/** A changed copy of `tree` as text. */
export function mutatedDocument(prng: Prng, tree: Tree): string {
  const copy = copyOf(tree);
  for (let changes = 1 + prng.below(2); changes > 0; changes--) changePlace(prng, copy);
  const text = written(copy);
  return prng.below(5) === 0 ? mutatedText(prng, text) : text;
}

export function written(value: unknown): string {
  if (value instanceof Raw) return value.text;
  if (Array.isArray(value)) return `[${value.map(written).join(", ")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "null";
  const fields = Object.entries(value);
  const entries = fields.map(([key, field]) => `${JSON.stringify(key)}: ${written(field)}`);
  return `{${entries.join(", ")}}`;
}

function placesOf(tree: Tree): Place[] {
  const places: Place[] = [];
  const walk = (value: unknown) => {
    if (typeof value !== "object" || value === null || value instanceof Raw) return;
    const holder = value as Record<string, unknown>;
    for (const key of Object.keys(holder)) {
      places.push({ holder, key });
      walk(holder[key]);
    }
  };
  walk(tree);
  return places;
}

function changePlace(prng: Prng, tree: Tree): void {
  const places = placesOf(tree);
  if (places.length === 0) return;
  const { holder, key } = anyOf(prng, places);
  const other = anyOf(prng, places);
  const value = holder[key];
  switch (prng.below(14)) {
    case 0:
      remove(holder, key);
      break;
    case 1:
      remove(holder, key);
      add(holder, prng.below(2) === 0 ? other.key : slip(prng, key), value);
      break;
    case 2:
      // Copies: a place may be within the other, and no text can be written of a loop.
      holder[key] = structuredClone(other.holder[other.key]);
      other.holder[other.key] = structuredClone(value);
      break;
    case 3:
      holder[key] = structuredClone(anyOf(prng, NOTABLE));
      break;
    case 4:
      holder[key] = prng.below(2) === 0 ? [value] : { [slip(prng, key)]: value };
      break;
    case 5:
      add(holder, `${key}2`, structuredClone(value));
      break;
    case 6:
      holder[key] = new Raw(`${written(value)}, ${JSON.stringify(key)}: ${written(value)}`);
      break;
    case 7:
      holder[key] = new Raw(nested(prng));
      break;
    case 8:
      holder[key] = new Raw(aliased(prng, written(value)));
      break;
    case 9:
      if (Array.isArray(value)) value.push(...value.slice(0, 5));
      else holder[key] = String(value).repeat(1 + prng.below(prng.below(20) === 0 ? 2000 : 3));
      break;
    default:
      // Scalars are most of a document's meaning.
      if (typeof value === "object") changePlace(prng, [value]);
      else holder[key] = slip(prng, String(value));
  }
}

function remove(holder: Record<string, unknown>, key: string): void {
  if (Array.isArray(holder)) holder.splice(Number(key), 1);
  else delete holder[key];
}

function add(holder: Record<string, unknown>, key: string, value: unknown): void {
  if (Array.isArray(holder)) holder.push(value);
  else
    Object.defineProperty(holder, key, {
      value,
      enumerable: true,
      configurable: true,
      writable: true,
    });
}

function nested(prng: Prng): string {
  const depth = 1 + prng.below(prng.below(8) === 0 ? 400 : 80);
  if (prng.below(4) === 0) return "[".repeat(depth);
  return prng.below(2) === 0
    ? `${"[".repeat(depth)}${"]".repeat(depth)}`
    : `${'{"a": '.repeat(depth)}1${"}".repeat(depth)}`;
}

/** Anchors and aliases: harmless, of nothing, of themselves, and of each other to the eighth. */
function aliased(prng: Prng, text: string): string {
  switch (prng.below(5)) {
    case 0:
      return `&a ${text}`;
    case 1:
      return `[&a ${text}, *a, *a]`;
    case 2:
      return "*b";
    case 3:
      return "&a [*a, *a]";
    default: {
      const levels = [`&a0 ${text}`];
      for (let i = 1; i < 8; i++)
        levels.push(
          `&a${i} [${Array(9)
            .fill(`*a${i - 1}`)
            .join(", ")}]`,
        );
      return `[${levels.join(", ")}]`;
    }
  }
}

/** A word with one sign dropped, doubled, changed or put in. */
export function slip(prng: Prng, word: string): string {
  const at = prng.below(Math.min(word.length, 65_535) + 1);
  const sign = prng.below(10) > 0 ? String.fromCharCode(0x21 + prng.below(94)) : anySign(prng);
  const after = word.slice(at + prng.below(2));
  return word.slice(0, at) + (prng.below(3) === 0 ? "" : sign) + after;
}

function anySign(prng: Prng): string {
  return String.fromCharCode(prng.below(2) === 0 ? prng.below(32) : prng.below(65_535));
}

export function mutatedText(prng: Prng, text: string): string {
  switch (prng.below(7)) {
    case 0:
      return text.slice(0, prng.below(Math.min(65_535, text.length + 1)));
    case 1:
      return `${text}\n---\n${text}`;
    case 2:
      return anyOf(prng, PREFIXES) + text;
    case 3: {
      const at = prng.below(Math.min(65_535, text.length + 1));
      return text.slice(0, at) + text.slice(prng.below(at + 1), at) + text.slice(at);
    }
    case 4:
      return text + anyOf(prng, ["}", "]", '"', "#", ": ", "\u0000"]).repeat(1 + prng.below(200));
    default:
      return slip(prng, slip(prng, text));
  }
}
