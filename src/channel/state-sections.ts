/**
 * Sections of a state that an agent has already: it names the mark of each in its fetch, and those
 * that are still the same are left out of what it is sent. docs/manager-channel.md "State". What
 * comes of it is a whole state in any case; who names no marks is sent one.
 */
import { canonicalText, type JsonValue } from "../chain/canonical-json.ts";
import type { JsonFields } from "../chain/json-fields.ts";
import { hashOf } from "../chain/sha256.ts";

export const SECTIONS = [
  "contracts",
  "known",
  "ledger",
  "neighbours",
  "policy",
  "signatures",
  "tags",
] as const;
export type Section = (typeof SECTIONS)[number];

/** The manager's name for what a section holds: its digest, which agents do not look into. */
export type Marks = Readonly<Partial<Record<Section, string>>>;

/** Of what is in many states. Nobody alters it. */
const keptMarks = new WeakMap<object, string>();

export function markOf(value: JsonValue): string {
  return hashOf(Buffer.from(canonicalText(value)));
}

/** The same for the same object; `json` is only asked for the first time. */
export function keptMarkOf(said: object, json: () => JsonValue): string {
  const kept = keptMarks.get(said);
  if (kept !== undefined) return kept;
  const mark = markOf(json());
  keptMarks.set(said, mark);
  return mark;
}

/** A field of marks, of any sections. */
export function readMarks(fields: JsonFields, name: string): Marks {
  const part = fields.object(name);
  const named = SECTIONS.filter((section) => part.has(section));
  const marks = Object.fromEntries(named.map((section) => [section, part.hash(section)]));
  fields.close(part);
  return marks;
}

/** What an agent says that it has; undefined: it takes whole states only. */
export function readHave(fields: JsonFields): Marks | undefined {
  return fields.has("have") ? readMarks(fields, "have") : undefined;
}
