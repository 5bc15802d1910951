/**
 * Rules of a template in the text of a policy: put in, replaced and taken out, with everything else
 * as it was written, comments too. docs/policy.md "Templates".
 */
import { Document, isMap, isSeq, parseDocument, type YAMLSeq } from "yaml";
import type { RuleText } from "./template.ts";

/** Lines are not folded. */
const WIDE = { lineWidth: 0 } as const;

/** @param text a policy that schema.ts takes; rules of `as` that are there make place for these */
export function withRules(text: string, as: string, rules: readonly RuleText[]): string {
  const document = parseDocument(text);
  const list = rulesIn(document);
  const first = list.items.findIndex((item) => isOf(item, as));
  list.items = list.items.filter((item) => !isOf(item, as));
  const nodes = rules.map((rule) => document.createNode(rule));
  list.items.splice(first < 0 ? list.items.length : first, 0, ...nodes);
  return document.toString(WIDE);
}

/** After those that are there. */
export function withRulesAdded(text: string, rules: readonly object[]): string {
  const document = parseDocument(text);
  const list = rulesIn(document);
  for (const rule of rules) list.items.push(document.createNode(rule));
  return document.toString(WIDE);
}

/** Without the rules of `as`; undefined: there are none. */
export function withoutRules(text: string, as: string): string | undefined {
  const document = parseDocument(text);
  const list = rulesIn(document);
  const kept = list.items.filter((item) => !isOf(item, as));
  if (kept.length === list.items.length) return undefined;
  list.items = kept;
  return document.toString(WIDE);
}

function rulesIn(document: Document): YAMLSeq {
  const found = document.get("rules");
  if (isSeq(found) && found.items.length > 0) return found;
  // `rules: []`: what is put there shall stand in lines of its own.
  const fresh = new Document([]).contents as YAMLSeq;
  fresh.flow = false;
  document.set("rules", fresh);
  return fresh;
}

function isOf(item: unknown, as: string): boolean {
  const id = isMap(item) ? item.get("id") : undefined;
  return typeof id === "string" && id.startsWith(`${as}.`);
}
