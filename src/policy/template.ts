/**
 * Templates of policies: rules with `$parameters`, written once and used by name with values.
 * docs/policy.md "Templates". A value takes the place of a whole scalar, never of a part of one, so
 * that whatever is given stays a value; the rules that come out are read as any others
 * (schema.ts).
 */
import { parse as parseYaml } from "yaml";
import { AbsError, messageOf } from "../errors.ts";
import { type DocumentNode, parseDocument } from "../store/document.ts";

const KINDS = ["text", "port"] as const;
const PARAMETER = /^[a-z][a-z0-9_]{0,31}$/;
const REFERENCE = /^\$([a-z][a-z0-9_]{0,31})$/;
const PARAMETERS_MAX = 32;
const RULES_MAX = 256;
const VALUES_MAX = 256;
const WHOLE = /^(0|[1-9][0-9]{0,4})$/;

export type TemplateParameter = {
  readonly name: string;
  readonly description: string;
  readonly kind: (typeof KINDS)[number];
  /** As it would be given. */
  readonly fallback?: string;
};

export type PolicyTemplate = {
  readonly description: string;
  readonly parameters: readonly TemplateParameter[];
  readonly rules: readonly RuleText[];
};

/** A rule as it is written; its references stand where values will. */
export type RuleText = Readonly<Record<string, unknown>> & { readonly id: string };

/** @throws AbsError TEMPLATE_INVALID, with file:line:column */
export function parseTemplate(text: string, file: string): PolicyTemplate {
  const document = parseDocument(text, file, "TEMPLATE");
  const map = document.map(["description", "parameters", "rules"]);
  const parameters = readParameters(map.get("parameters"));
  const items = map.need("rules").list();
  if (items.length === 0 || items.length > RULES_MAX) {
    map.need("rules").fail(`${items.length} rules.`, `Write 1 to ${RULES_MAX}.`);
  }
  const used = new Set<string>();
  const rules = (plainOf(text, document) as { rules: unknown[] }).rules.map((rule, i) => {
    const item = items[i] ?? document;
    collectReferences(rule, used);
    return ruleOf(rule, item);
  });
  for (const name of used) {
    if (parameters.some((one) => one.name === name)) continue;
    document.fail(`$${name} is no parameter.`, "Describe it under `parameters`.");
  }
  const idle = parameters.find(({ name }) => !used.has(name));
  if (idle !== undefined) {
    document.fail(`the parameter ${idle.name} is used nowhere.`, `Write $${idle.name} in a rule.`);
  }
  return { description: map.need("description").string(), parameters, rules };
}

function readParameters(node: DocumentNode | undefined): TemplateParameter[] {
  if (node === undefined) return [];
  const names = node.keys();
  if (names.length > PARAMETERS_MAX)
    node.fail("too many parameters.", `At most ${PARAMETERS_MAX}.`);
  const map = node.map(names);
  return names.map((name) => {
    const words = map.need(name).map(["description", "kind", "default"]);
    if (!PARAMETER.test(name)) {
      words.node.fail(`"${name}" is no name.`, "Use up to 32 of a-z, 0-9 and _, a letter first.");
    }
    const fallback = words.get("default")?.string();
    return {
      name,
      description: words.need("description").string(),
      kind: words.get("kind")?.oneOf(KINDS) ?? "text",
      ...(fallback === undefined ? {} : { fallback }),
    };
  });
}

/** What the document holds, without places; its aliases were counted before. */
function plainOf(text: string, document: DocumentNode): unknown {
  try {
    return parseYaml(text);
  } catch (thrown) {
    return document.fail(`it cannot be read (${messageOf(thrown)}).`, "Write the values.");
  }
}

function ruleOf(rule: unknown, item: DocumentNode): RuleText {
  const isMap = typeof rule === "object" && rule !== null && !Array.isArray(rule);
  if (isMap && "id" in rule && typeof rule.id === "string") return rule as RuleText;
  return item.fail("a rule is a map with an `id`.", "Write it as in a policy.");
}

function collectReferences(value: unknown, into: Set<string>): void {
  if (typeof value === "string") {
    const [, name] = REFERENCE.exec(value) ?? [];
    if (name !== undefined) into.add(name);
  } else if (typeof value === "object" && value !== null) {
    for (const part of Object.values(value)) collectReferences(part, into);
  }
}

/** By parameter, each with one value or more. */
export type TemplateSettings = ReadonlyMap<string, readonly string[]>;

/**
 * The template's rules with these values. `as` comes before their ids: `as.id`.
 * @throws AbsError TEMPLATE_VALUES
 */
export function rulesOf(
  { parameters, rules }: PolicyTemplate,
  as: string,
  settings: TemplateSettings,
): RuleText[] {
  const strange = [...settings.keys()].find((given) => {
    return parameters.every(({ name }) => name !== given);
  });
  if (strange !== undefined) throw wrong(`There is no parameter ${strange}.`, parameters);
  const values = new Map(
    parameters.map((parameter) => {
      const given = givenFor(parameter, settings);
      if (typeof given === "string") throw wrong(given, parameters);
      return [parameter.name, given];
    }),
  );
  return rules.map((rule) => {
    return { ...(filled(rule, values) as RuleText), id: `${as}.${rule.id}` };
  });
}

type Value = readonly (string | number)[];

/** Or what is wrong with it. */
function givenFor(
  { name, kind, fallback }: TemplateParameter,
  settings: TemplateSettings,
): Value | string {
  const given = settings.get(name) ?? fallback?.split(",");
  if (given === undefined) return `${name} is missing.`;
  const parts = given.map((part) => part.trim());
  if (parts.includes("")) return `${name} has an empty value.`;
  if (parts.length > VALUES_MAX) return `${name} has more than ${VALUES_MAX} values.`;
  return parts.map((part) => (kind === "port" && WHOLE.test(part) ? Number(part) : part));
}

/** One value stands by itself, several as a list; in a list they are among its items. */
function filled(value: unknown, values: ReadonlyMap<string, Value>): unknown {
  if (typeof value === "string") {
    const found = values.get(REFERENCE.exec(value)?.[1] ?? "");
    if (found === undefined) return value;
    return found.length === 1 ? found[0] : found;
  }
  if (Array.isArray(value)) return value.flatMap((part) => filled(part, values));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, part]) => [key, filled(part, values)]),
  );
}

function wrong(what: string, parameters: readonly TemplateParameter[]): AbsError {
  const words = parameters.map(({ name, description, fallback }) => {
    return `${name} (${description}${fallback === undefined ? "" : `; ${fallback}`})`;
  });
  const remedy = `Give with --set name=value[,value…]: ${words.join(", ") || "nothing"}.`;
  return new AbsError("TEMPLATE_VALUES", what, remedy);
}
