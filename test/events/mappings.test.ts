/** Every kind of event in the formats of others, judged by their schemas. */
import { expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { isIP } from "node:net";
import { join } from "node:path";
import { EcsFlat, EcsVersion } from "@elastic/ecs";
import { cefOf } from "../../src/observe/cef.ts";
import { ECS_VERSION, ecsOf } from "../../src/observe/ecs.ts";
import { OCSF_VERSION, ocsfOf } from "../../src/observe/ocsf.ts";
import { parseCef } from "./cef-grammar.ts";
import { eventSamples, hostileSamples } from "./event-samples.ts";
import { OcsfSchema } from "./ocsf-schema.ts";

const SAMPLES = [...eventSamples(), ...hostileSamples()];

type EcsField = {
  readonly type: string;
  readonly normalize: readonly string[];
  readonly allowed_values?: readonly { name: string; expected_event_types?: readonly string[] }[];
};
const FIELDS = EcsFlat as unknown as Readonly<Record<string, EcsField>>;

const ECS_CHECKS: Readonly<Record<string, (value: unknown) => boolean>> = {
  keyword: (value) => typeof value === "string",
  constant_keyword: (value) => typeof value === "string",
  match_only_text: (value) => typeof value === "string",
  long: (value) => Number.isSafeInteger(value),
  ip: (value) => isIP(String(value)) !== 0,
  date: (value) => new Date(String(value)).toISOString() === value,
};

/** Problems of a document; what is under `abs` is ours. */
function ecsProblems(value: unknown, path = ""): string[] {
  const field = FIELDS[path];
  if (field === undefined) {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      return [`${path}: no field of ECS`];
    }
    const entries = Object.entries(value).filter(([key]) => path !== "" || key !== "abs");
    return entries.flatMap(([key, of]) => ecsProblems(of, path === "" ? key : `${path}.${key}`));
  }
  const isList = field.normalize.includes("array");
  if (isList !== Array.isArray(value)) return [`${path}: ${isList ? "no" : "a"} list`];
  return [value].flat().flatMap((one) => {
    const isRight = ECS_CHECKS[field.type]?.(one) ?? false;
    const isListed = field.allowed_values?.some(({ name }) => name === one) ?? true;
    return isRight && isListed
      ? []
      : [`${path}: ${String(one)} is no ${field.type}, or not allowed`];
  });
}

/** Types that ECS does not expect of any of the categories. */
function unexpectedTypes(document: object): string[] {
  const { event } = document as { event: { category: string[]; type: string[] } };
  const categories = FIELDS["event.category"]?.allowed_values ?? [];
  const expected = categories
    .filter(({ name }) => event.category.includes(name))
    .flatMap(({ expected_event_types: types = [] }) => types);
  return event.type.filter((type) => !expected.includes(type));
}

test("ECS: every document keeps to the fields, types and values of @elastic/ecs", () => {
  expect(ECS_VERSION).toBe(EcsVersion);
  for (const record of SAMPLES) {
    const document = ecsOf(record);
    expect([record.event, ecsProblems(document), unexpectedTypes(document)]).toEqual([
      record.event,
      [],
      [],
    ]);
  }
});

test("ECS: the judge tells what is wrong", () => {
  const [record] = SAMPLES;
  const document = record === undefined ? {} : ecsOf(record);
  const wrong = [{ nonsense: 1 }, { event: { kind: "feast" } }, { source: { port: "80" } }];
  for (const part of [...wrong, { event: { category: "network" } }, { source: { ip: "x" } }]) {
    expect(ecsProblems({ ...document, ...part })).toHaveLength(1);
  }
});

const schema = new OcsfSchema(
  JSON.parse(readFileSync(join(import.meta.dir, "../data/ocsf.json"), "utf8")),
);

test("OCSF: every event keeps to its class of the published schema", () => {
  expect(OCSF_VERSION).toBe(schema.documents.version);
  const classes = new Set<unknown>();
  for (const record of SAMPLES) {
    const event = ocsfOf(record);
    classes.add(event["class_uid"]);
    expect([record.event, schema.problems(event)]).toEqual([record.event, []]);
    expect(event["type_uid"]).toBe(100 * Number(event["class_uid"]) + Number(event["activity_id"]));
  }
  expect([...classes].sort()).toEqual([0, 2004, 4001, 4014]);
});

test("OCSF: the judge tells what is wrong", () => {
  const record = SAMPLES.find(({ event }) => event === "refused");
  const event = record === undefined ? {} : ocsfOf(record);
  const wrong = [
    { nonsense: 1 },
    { severity_id: 7 },
    { severity: "Low" },
    { time: "now" },
    { metadata: { ...(event["metadata"] as object), version: undefined, more: 1 } },
    { src_endpoint: { ip: "10.77.0.11", port: 70_000 } },
    { src_endpoint: { port: 70 } },
    { connection_info: {} },
    { action_id: 9 },
  ];
  for (const part of wrong) expect(schema.problems({ ...event, ...part })).not.toEqual([]);
  const { metadata, ...rest } = event;
  const profileless = { ...(metadata as object), profiles: [] };
  expect(schema.problems({ ...rest, metadata: profileless })).toContain(
    ".action_id: unknown attribute",
  );
});

test("OCSF: test/data/ocsf.json is the published schema, where that is at hand", () => {
  const folder = process.env["OCSF"] ?? join(import.meta.dir, "../../../shared/schemas/ocsf");
  if (!existsSync(folder)) return console.warn(`${folder} is not there: not compared.`);
  expect(OcsfSchema.reduce(folder)).toEqual(schema.documents);
});

test("CEF: every line keeps to the grammar, and what was escaped comes back", () => {
  for (const record of SAMPLES) {
    const { header, keys } = parseCef(cefOf(record));
    expect([header[0], header[3]]).toEqual(["abs", record.event]);
    expect(keys.get("externalId")).toBe(record.id);
    const { rule, signature, app } = record;
    expect(keys.get("cs1")).toBe(rule as string);
    expect(keys.get("cs2")).toBe(signature as string);
    if (record["protocol"] !== undefined) expect(keys.get("app")).toBe(app as string);
  }
});

test("CEF: the grammar refuses what is none", () => {
  const good = "CEF:0|abs|abs|1|refused|Traffic refused|5|";
  expect(parseCef(`${good}act=deny cs1=a\\=b \\\\ c cs1Label=rule`).keys.get("cs1")).toBe(
    "a=b \\ c",
  );
  const bad = [
    ...["CEF:0|abs|abs", `${good}src=::1`, `${good}spt=70000`, `${good}cs1=x`, `${good}foo=1`],
    ...[`${good}app=${"x".repeat(32)}`, `${good}act=a=b`, `${good}act=a act=b`, `${good}act=a\nb`],
    ...["CEF:0|a|b|c|d|e|11|", "CEF:0|a||c|d|e|1|", `${good}act=a\\|b`],
  ];
  for (const line of bad) expect(() => parseCef(line)).toThrow();
});
