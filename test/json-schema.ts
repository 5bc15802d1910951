/**
 * As much of JSON Schema 2020-12 as the published schemas (docs/schemas) use, for tests: type,
 * const, enum, properties, required, additionalProperties, items, anyOf, $ref, pattern and bounds.
 * A keyword it does not know fails, so that a schema cannot say more than is checked.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

type Json = Readonly<Record<string, unknown>>;

const FOLDER = join(import.meta.dir, "../docs/schemas");
const SILENT = ["$schema", "$id", "$defs", "title", "description", "format"];

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The published schemas by file name. */
export function publishedSchemas(): ReadonlyMap<string, Json> {
  const names = readdirSync(FOLDER).filter((name) => name.endsWith(".schema.json"));
  return new Map(names.map((name) => [name, JSON.parse(readFileSync(join(FOLDER, name), "utf8"))]));
}

/** What `value` does against the schema file `name`; empty when it keeps to it. */
export function schemaProblems(name: string, value: unknown): string[] {
  return new Checker(publishedSchemas()).check(name, { $ref: name }, value, "");
}

class Checker {
  constructor(private readonly schemas: ReadonlyMap<string, Json>) {}

  check(file: string, schema: Json, value: unknown, path: string): string[] {
    const problems: string[] = [];
    for (const [keyword, wanted] of Object.entries(schema)) {
      if (SILENT.includes(keyword)) continue;
      problems.push(...this.keyword(file, keyword, wanted, schema, value, path));
    }
    return problems;
  }

  private keyword(
    file: string,
    keyword: string,
    wanted: unknown,
    schema: Json,
    value: unknown,
    path: string,
  ): string[] {
    const unless = (kept: boolean) =>
      kept ? [] : [`${path}: ${keyword} ${JSON.stringify(wanted)}`];
    switch (keyword) {
      case "$ref":
        return this.follow(file, String(wanted), value, path);
      case "anyOf": {
        const all = (wanted as Json[]).map((one) => this.check(file, one, value, path));
        return all.some((problems) => problems.length === 0) ? [] : (all[0] ?? []);
      }
      case "type":
        return unless(
          typeOf(value) === wanted || (wanted === "number" && typeOf(value) === "integer"),
        );
      case "const":
        return unless(value === wanted);
      case "enum":
        return unless((wanted as unknown[]).includes(value));
      case "required":
        return unless(isObject(value) && (wanted as string[]).every((key) => key in value));
      case "properties":
        return this.properties(file, wanted as Readonly<Record<string, Json>>, value, path);
      case "additionalProperties": {
        const known = Object.keys(isObject(schema["properties"]) ? schema["properties"] : {});
        const extra = isObject(value)
          ? Object.keys(value).filter((key) => !known.includes(key))
          : [];
        return extra.map((key) => `${path}.${key}: unknown key`);
      }
      case "items":
        if (!Array.isArray(value)) return [];
        return value.flatMap((item, i) => this.check(file, wanted as Json, item, `${path}[${i}]`));
      case "pattern":
        return unless(typeof value !== "string" || new RegExp(String(wanted)).test(value));
      case "minimum":
        return unless(typeof value !== "number" || value >= Number(wanted));
      case "maximum":
        return unless(typeof value !== "number" || value <= Number(wanted));
      case "minItems":
        return unless(!Array.isArray(value) || value.length >= Number(wanted));
      case "maxItems":
        return unless(!Array.isArray(value) || value.length <= Number(wanted));
      case "minLength":
        return unless(typeof value !== "string" || value.length >= Number(wanted));
      case "maxLength":
        return unless(typeof value !== "string" || value.length <= Number(wanted));
      default:
        throw new Error(`the keyword ${keyword} is not known to test/json-schema.ts`);
    }
  }

  private properties(
    file: string,
    known: Readonly<Record<string, Json>>,
    value: unknown,
    path: string,
  ): string[] {
    if (!isObject(value)) return [];
    return Object.entries(value).flatMap(([key, item]) => {
      const schema = known[key];
      return schema === undefined ? [] : this.check(file, schema, item, `${path}.${key}`);
    });
  }

  private follow(file: string, ref: string, value: unknown, path: string): string[] {
    const [name = "", pointer = ""] = ref.split("#");
    const target = name === "" ? file : name;
    let schema: unknown = this.schemas.get(target);
    for (const key of pointer.split("/").filter((part) => part !== "")) {
      schema = isObject(schema) ? schema[key] : undefined;
    }
    if (!isObject(schema)) throw new Error(`${file} refers to ${ref}, which is not there`);
    return this.check(target, schema, value, path);
  }
}

function typeOf(value: unknown): string {
  if (Array.isArray(value)) return "array";
  if (value === null) return "null";
  if (typeof value === "number") return Number.isInteger(value) ? "integer" : "number";
  return typeof value;
}
