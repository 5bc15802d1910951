/**
 * Templates of policies: those that come with `abs` (templates/*.yaml) and those that
 * administrators keep. docs/policy.md "Templates".
 */
import type { Database } from "bun:sqlite";
import { AbsError } from "../errors.ts";
import { embeddedTexts } from "../native/embedded-texts.ts" with { type: "macro" };
import { type PolicyTemplate, parseTemplate } from "../policy/template.ts";
import type { EpochSeconds } from "../units.ts";

const BUILT_IN: Readonly<Record<string, string>> = embeddedTexts("templates", ".yaml");
const TEMPLATES_MAX = 256;

export type StoredTemplate = {
  readonly name: string;
  readonly text: string;
  /** Empty: it comes with `abs`. */
  readonly author: string;
  readonly madeAt: EpochSeconds | undefined;
};

export class PolicyTemplates {
  constructor(private readonly database: Database) {}

  /** By name. */
  list(): StoredTemplate[] {
    const builtIn = Object.keys(BUILT_IN).map((name) => builtInOf(name) as StoredTemplate);
    const all = [...builtIn, ...this.#kept()];
    return all.sort((left, right) => (left.name < right.name ? -1 : 1));
  }

  /** @throws AbsError TEMPLATE_ABSENT */
  need(name: string): StoredTemplate {
    const found = builtInOf(name) ?? this.#kept("WHERE name = ?", name)[0];
    if (found !== undefined) return found;
    const what = `There is no template ${name}.`;
    throw new AbsError("TEMPLATE_ABSENT", what, "`abs manager policy template list` names them.");
  }

  /** @throws AbsError TEMPLATE_ABSENT */
  parsed(name: string): PolicyTemplate {
    return parseTemplate(this.need(name).text, name);
  }

  /** New, or another text of that name. @throws AbsError TEMPLATE_INVALID, TEMPLATE_BUILT_IN */
  put(name: string, text: string, by: { readonly author: string; readonly now: EpochSeconds }) {
    parseTemplate(text, "input");
    refuseBuiltIn(name);
    const all = this.list();
    if (all.length >= TEMPLATES_MAX && all.every((one) => one.name !== name)) {
      const what = `There are ${TEMPLATES_MAX} templates.`;
      throw new AbsError("TEMPLATES_TOO_MANY", what, "Remove some that nobody uses.");
    }
    this.database
      .query("INSERT OR REPLACE INTO policy_template VALUES (?, ?, ?, ?)")
      .run(name, text, by.author, by.now);
  }

  #kept(where = "", ...values: string[]): StoredTemplate[] {
    const columns = "name, body AS text, author, made_at AS madeAt";
    const query = this.database.query(`SELECT ${columns} FROM policy_template ${where}`);
    return query.all(...values) as StoredTemplate[];
  }

  /** Rules that were made from it stay. @throws AbsError TEMPLATE_ABSENT, TEMPLATE_BUILT_IN */
  remove(name: string): void {
    this.need(name);
    refuseBuiltIn(name);
    this.database.query("DELETE FROM policy_template WHERE name = ?").run(name);
  }
}

function builtInOf(name: string): StoredTemplate | undefined {
  const text = Object.hasOwn(BUILT_IN, name) ? BUILT_IN[name] : undefined;
  return text === undefined ? undefined : { name, text, author: "", madeAt: undefined };
}

function refuseBuiltIn(name: string): void {
  if (builtInOf(name) === undefined) return;
  const what = `The template ${name} comes with abs.`;
  throw new AbsError("TEMPLATE_BUILT_IN", what, "Keep yours under another name.");
}
