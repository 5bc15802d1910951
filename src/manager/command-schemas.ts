/**
 * The values that commands take, each a JSON Schema: what an administrator says is read and checked
 * by these. `title` says what a value is and `x-remedy` how it is right; both go into complaints
 * (command-input.ts). docs/manager.md "Commands".
 */
import { Type } from "typebox";

const NAME = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$";
const NAME_REMEDY = "Use up to 64 letters, digits, dots, dashes and underscores.";
const NAMES_MAX = 256;
/** Of what is said in words: reasons, keys, identifiers. */
const TEXT_CHARACTERS_MAX = 1000;
/** As manager and agents take them: 1 MiB in UTF-8. */
export const DOCUMENT_BYTES_MAX = 1024 * 1024;
const DURATION = "^0*[1-9][0-9]{0,6}[smhd]$";
const VERSION_MAX = 2 ** 31;

/** A name as provisioning files have it. */
export function named(description: string) {
  return Type.String({
    ...{ title: "name", description, pattern: NAME, "x-remedy": NAME_REMEDY },
  });
}

export function names(description: string, countMax = NAMES_MAX) {
  return Type.Array(named(description), { description, maxItems: countMax });
}

/** One of these words. */
export function choice<const T extends readonly string[]>(
  values: T,
  more: Fallback<T[number]> = {},
) {
  const listed = values.join(", ");
  return Type.Unsafe<T[number]>({
    ...{ type: "string", enum: values, description: listed, "x-remedy": `Use ${listed}.` },
    ...defaultOf(more),
  });
}

export function whole(low: number, high: number, description: string, fallback?: number) {
  return Type.Integer({ minimum: low, maximum: high, description, ...defaultOf({ fallback }) });
}

/** Of a policy, of signatures. */
export function version(description: string) {
  return whole(1, VERSION_MAX, description);
}

/** `90s`, `15m`, `24h`, `7d`; durationSeconds() reads it. */
export function duration(description: string, fallback: string) {
  return Type.String({
    ...{ title: "duration", description, pattern: DURATION, default: fallback },
    "x-remedy": "Write 90s, 15m, 24h or 7d.",
  });
}

export function text(description: string, fallback?: string) {
  const maxLength = TEXT_CHARACTERS_MAX;
  return Type.String({ description, minLength: 1, maxLength, ...defaultOf({ fallback }) });
}

/** A name or an identifier that is looked up. */
export function reference(description: string) {
  return Type.String({ description, minLength: 1, maxLength: 128 });
}

export function references(description: string) {
  return Type.Array(reference(description), { description, maxItems: NAMES_MAX });
}

export function flag(description: string) {
  return Type.Boolean({ description });
}

/** Never shown, not even a wrong one. NIST SP 800-63B §5.1.1.2: long, and no rules of its make. */
export function password(description: string) {
  return Type.String({
    ...{ title: "password", description, format: "password", writeOnly: true },
    ...{ minLength: 12, maxLength: 1024, "x-remedy": "Use 12 to 1024 characters." },
  });
}

/** A whole document. */
export function documentText(description: string) {
  return Type.String({ description, maxLength: DOCUMENT_BYTES_MAX });
}

export const tenantName = named("name of the tenant");

/** What a value is where none is given. */
type Fallback<T> = { readonly fallback?: T | undefined };

function defaultOf<T>({ fallback }: Fallback<T>): { readonly default?: T } {
  return fallback === undefined ? {} : { default: fallback };
}

/** @param text that duration() has let through */
export function durationSeconds(text: string): number {
  const unit = { s: 1, m: 60, h: 3600, d: 86_400 }[text.at(-1) as "s" | "m" | "h" | "d"];
  return Number(text.slice(0, -1)) * unit;
}

/** Each once, in ascending order. */
export function sortedNames(given: readonly string[] = []): string[] {
  return [...new Set(given)].sort();
}
