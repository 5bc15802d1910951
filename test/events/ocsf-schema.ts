/**
 * OCSF as published, read as its documents say: classes and objects extend others and include
 * profiles, attributes get type and enumeration from the dictionary. For tests: whether an event
 * keeps to its class. `OcsfSchema.reduce` takes what our events use out of a copy of the schema,
 * without descriptions; test/data/ocsf.json is that.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

type Json = { readonly [key: string]: unknown };
type Attribute = Json & {
  readonly type?: string;
  readonly requirement?: string;
  readonly is_array?: boolean;
  readonly enum?: Json;
  readonly profile?: string | null;
  readonly sibling?: string;
};
type Definition = Json & {
  readonly name: string;
  readonly uid?: number;
  readonly extends?: string;
  readonly category?: string;
  readonly attributes: Readonly<Record<string, Attribute>> & { readonly $include?: string[] };
  readonly constraints?: { readonly at_least_one?: string[]; readonly just_one?: string[] };
};
type DataType = { readonly type?: string; readonly regex?: string; readonly max_len?: number } & {
  readonly range?: readonly [number, number];
};

export type OcsfDocuments = {
  readonly version: string;
  readonly classes: Readonly<Record<string, Definition>>;
  readonly objects: Readonly<Record<string, Definition>>;
  readonly profiles: Readonly<Record<string, Definition>>;
  readonly attributes: Readonly<Record<string, Attribute>>;
  readonly types: Readonly<Record<string, DataType>>;
};

const CLASSES = ["base_event", "network", "network_activity", "tunnel_activity"];
const FINDINGS = ["finding", "detection_finding"];
const OBJECTS = [
  ...["object", "_entity", "metadata", "product", "feature", "endpoint", "network_endpoint"],
  ...["network_connection_info", "rule", "firewall_rule", "finding_info", "evidences"],
];
const WORDS = ["description", "references"];
/** The framework fills in their values; problems() looks the class up by them. */
const COMPUTED = ["class_uid", "category_uid"];

type Merged = { readonly attributes: Map<string, Attribute>; readonly atLeastOne: string[] };

export class OcsfSchema {
  constructor(readonly documents: OcsfDocuments) {}

  /** Problems of `event` as one of its class; empty when it keeps to it. */
  problems(event: Json): string[] {
    const classes = Object.values(this.documents.classes);
    const found = classes.find((one) => this.#uidOf(one) === event["class_uid"]);
    if (found === undefined) return [`no class ${String(event["class_uid"])}`];
    const { metadata } = event as { metadata?: { profiles?: string[] } };
    const merged = this.#merge(this.documents.classes, found.name, metadata?.profiles ?? []);
    return this.#object(merged, event, "");
  }

  /** class_uid as the framework computes it: of the category, 1000 each. */
  #uidOf(definition: Definition): number {
    const { uid, name } = definition;
    if (name === "base_event") return 0;
    if (uid === undefined) return -1;
    return 1000 * (this.#inherited(definition, "category") === "findings" ? 2 : 4) + uid;
  }

  #inherited(definition: Definition, key: string): unknown {
    if (definition[key] !== undefined) return definition[key];
    const parent = this.documents.classes[definition.extends ?? ""];
    return parent === undefined ? undefined : this.#inherited(parent, key);
  }

  #merge(from: Record<string, Definition>, name: string, profiles: readonly string[]): Merged {
    const definition = from[name];
    if (definition === undefined) return { attributes: new Map(), atLeastOne: [] };
    const parent = this.#merge(from, definition.extends ?? "", profiles);
    const attributes = new Map(parent.attributes);
    const add = (key: string, attribute: Attribute) => {
      const before = attributes.get(key) ?? this.documents.attributes[key] ?? {};
      const values = { ...before.enum, ...attribute.enum };
      const merged = { ...before, ...attribute };
      attributes.set(key, Object.keys(values).length > 0 ? { ...merged, enum: values } : merged);
    };
    const { $include = [], ...own } = definition.attributes;
    for (const path of $include) {
      const profile = path.replace(/^profiles\/|\.json$/g, "");
      if (!profiles.includes(profile)) continue;
      const included = this.documents.profiles[profile]?.attributes ?? {};
      for (const [key, attribute] of Object.entries(included)) add(key, attribute as Attribute);
    }
    for (const [key, attribute] of Object.entries(own)) add(key, attribute as Attribute);
    const constraint = definition.constraints?.at_least_one;
    return { attributes, atLeastOne: constraint ?? parent.atLeastOne };
  }

  #object({ attributes, atLeastOne }: Merged, value: Json, path: string): string[] {
    const faults = Object.entries(value).flatMap(([key, one]) => {
      const attribute = attributes.get(key);
      if (attribute === undefined) return [`${path}.${key}: unknown attribute`];
      return this.#attribute(attribute, one, `${path}.${key}`, value);
    });
    const lacking = [...attributes].filter(
      ([key, { requirement }]) => requirement === "required" && value[key] === undefined,
    );
    const isNone = atLeastOne.length > 0 && atLeastOne.every((key) => value[key] === undefined);
    return [
      ...faults,
      ...lacking.map(([key]) => `${path}.${key}: required`),
      ...(isNone ? [`${path}: none of ${atLeastOne.join(", ")}`] : []),
    ];
  }

  #attribute(attribute: Attribute, value: unknown, path: string, beside: Json): string[] {
    if (attribute.is_array === true) {
      if (!Array.isArray(value)) return [`${path}: not a list`];
      const { is_array: _, ...one } = attribute;
      return value.flatMap((item, i) => this.#attribute(one, item, `${path}[${i}]`, beside));
    }
    const { type = "" } = attribute;
    if (type === "object") return typeof value === "object" ? [] : [`${path}: not an object`];
    if (!type.endsWith("_t")) {
      if (this.documents.objects[type] === undefined) return [`${path}: no object ${type}`];
      return this.#object(this.#merge(this.documents.objects, type, []), value as Json, path);
    }
    const isComputed = COMPUTED.some((key) => path === `.${key}`);
    const listed = isComputed ? [] : enumFaults(attribute, value, path, beside);
    return [...this.#value(type, value, path), ...listed];
  }

  #value(type: string, value: unknown, path: string): string[] {
    const known = this.documents.types[type];
    if (known === undefined) return [`${path}: no type ${type}`];
    const base = known.type ?? type;
    const isWhole = base === "integer_t" || base === "long_t";
    if (isWhole && !Number.isSafeInteger(value)) return [`${path}: no whole number`];
    if (base === "string_t" && typeof value !== "string") return [`${path}: no string`];
    if (base === "boolean_t" && typeof value !== "boolean") return [`${path}: no boolean`];
    const [low, high] = known.range ?? [-Infinity, Infinity];
    if (isWhole && (Number(value) < low || Number(value) > high)) return [`${path}: out of range`];
    const text = String(value);
    if (known.max_len !== undefined && text.length > known.max_len) return [`${path}: too long`];
    if (known.regex !== undefined && !new RegExp(known.regex).test(text)) {
      return [`${path}: does not match ${type}`];
    }
    return [];
  }

  /** What our events use of the schema in `folder`. */
  static reduce(folder: string): OcsfDocuments {
    const read = (...path: string[]) => JSON.parse(readFileSync(join(folder, ...path), "utf8"));
    const all = (names: readonly string[], ...path: string[]) =>
      Object.fromEntries(names.map((name) => [name, bare(read(...path, `${name}.json`))]));
    const classes = {
      ...all(["base_event"], "events"),
      ...all(CLASSES.slice(1), "events", "network"),
      ...all(FINDINGS, "events", "findings"),
    } as Record<string, Definition>;
    const objects = all(OBJECTS, "objects") as Record<string, Definition>;
    const names = readdirSync(join(folder, "profiles")).map((name) => name.replace(".json", ""));
    const profiles = all(names.sort(), "profiles") as Record<string, Definition>;
    const dictionary = read("dictionary.json");
    const used = [classes, objects, profiles].flatMap((group) =>
      Object.values(group).flatMap(({ attributes }) => Object.keys(attributes)),
    );
    const attributes = Object.entries(dictionary.attributes).filter(([key]) => used.includes(key));
    return {
      ...{ version: read("version.json").version, classes, objects, profiles },
      attributes: bare(Object.fromEntries(attributes)) as Record<string, Attribute>,
      types: bare(dictionary.types.attributes) as Record<string, DataType>,
    };
  }
}

/** A number with a sibling: one of the enumeration, and the sibling its caption. */
function enumFaults(attribute: Attribute, value: unknown, path: string, beside: Json): string[] {
  const { enum: values, sibling } = attribute;
  if (values === undefined) return [];
  const chosen = values[String(value)] as { caption?: string } | undefined;
  if (chosen === undefined) return [`${path}: ${String(value)} is not listed`];
  const label = sibling === undefined ? undefined : beside[sibling];
  const isFree = value === 99 || value === 0 || label === undefined || sibling === "type_name";
  return isFree || label === chosen.caption ? [] : [`${path}: "${label}" is not ${chosen.caption}`];
}

/** Without words for people; captions stay. */
function bare(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(bare);
  if (typeof value !== "object" || value === null) return value;
  const kept = Object.entries(value).filter(([key]) => !WORDS.includes(key));
  return Object.fromEntries(kept.map(([key, of]) => [key, bare(of)]));
}
