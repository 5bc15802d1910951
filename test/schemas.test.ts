/**
 * The published JSON Schemas against what the readers accept: every example of docs/, examples/
 * and signatures/ keeps to its schema and is read; what the readers refuse as unknown the schemas
 * refuse.
 */
import { expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse } from "yaml";
import { generateContractSecret, generateKeyPair } from "../src/agent/keys.ts";
import { parseProvisioning } from "../src/agent/provisioning.ts";
import { libraryNames } from "../src/dpi/library.ts";
import { parseSignatures } from "../src/dpi/schema.ts";
import { parsePolicy } from "../src/policy/schema.ts";
import { publishedSchemas, schemaProblems } from "./json-schema.ts";

const ROOT = join(import.meta.dir, "..");

function text(path: string): string {
  return readFileSync(join(ROOT, path), "utf8");
}

/** The first YAML block of a document, or the one at `index`. */
function yamlOf(path: string, index = 0): string {
  const block = [...text(path).matchAll(/```yaml\n([\s\S]*?)```/g)][index]?.[1];
  if (block === undefined) throw new Error(`${path} has no YAML ${index}`);
  return block;
}

test("docs/policy.md: its example is read and keeps to the schema", () => {
  const yaml = yamlOf("docs/policy.md");
  expect(parsePolicy(yaml, "docs/policy.md").rules).toHaveLength(3);
  expect(schemaProblems("policy.schema.json", parse(yaml))).toEqual([]);
});

test("docs/provisioning.md: its example is read, uses every key, and keeps to the schema", () => {
  const yaml = yamlOf("docs/provisioning.md");
  expect(schemaProblems("provisioning.schema.json", parse(yaml))).toEqual([]);
  const folder = mkdtempSync(join(tmpdir(), "abs-schemas-"));
  const secret = (name: string, hex: string) =>
    writeFileSync(join(folder, name), hex, { mode: 0o600 });
  secret("web.key", generateKeyPair().secretKey);
  secret("web-next.key", generateKeyPair().secretKey);
  secret("contract.key", generateContractSecret().secret);
  writeFileSync(join(folder, "app1.json"), text("examples/app1.json"));
  const read = parseProvisioning(yaml, join(folder, "web.yaml"));
  expect(read.signatures).toHaveLength(4);
  rmSync(folder, { recursive: true });
  const file = parse(yaml);
  const schema = publishedSchemas().get("provisioning.schema.json") as {
    properties: Record<string, { properties?: object; items?: { properties?: object } }>;
  };
  // The example with a ledger is one of its own.
  const without = Object.keys(schema.properties).filter((key) => key !== "ledger");
  expect(Object.keys(file).sort()).toEqual(without.sort());
  expect(Object.keys(file.node).sort()).toEqual(
    Object.keys(schema.properties["node"]?.properties ?? {}).sort(),
  );
  expect(Object.keys(file.peers[0]).sort()).toEqual(
    Object.keys(schema.properties["peers"]?.items?.properties ?? {}).sort(),
  );
});

test("docs/provisioning.md: what it says of a ledger is read and keeps to the schema", () => {
  const yaml = parse(yamlOf("docs/provisioning.md", 1));
  const folder = mkdtempSync(join(tmpdir(), "abs-schemas-"));
  const { secret } = generateContractSecret();
  writeFileSync(join(folder, "contract.key"), secret, { mode: 0o600 });
  const whole = parse(text("examples/web.yaml"));
  const file = { ...whole, signatures: [], policy: { version: 1, rules: [] }, ...yaml };
  expect(schemaProblems("provisioning.schema.json", file)).toEqual([]);
  const read = parseProvisioning(JSON.stringify(file), join(folder, "web.yaml"));
  expect(read.ledger?.contracts).toHaveLength(1);
  rmSync(folder, { recursive: true });
  const schema = publishedSchemas().get("provisioning.schema.json") as {
    properties: Record<string, { properties?: object }>;
  };
  expect(Object.keys(yaml.ledger).sort()).toEqual(
    Object.keys(schema.properties["ledger"]?.properties ?? {}).sort(),
  );
  // Terms beside a ledger, and contracts without terms beside none.
  for (const mixed of [
    { ...file, contracts: whole.contracts },
    { ...whole, contracts: yaml.contracts },
  ]) {
    expect(schemaProblems("provisioning.schema.json", mixed)).not.toEqual([]);
  }
});

test.each(["web.yaml", "db.yaml"])("examples/%s is read and keeps to the schema", (name) => {
  const yaml = text(`examples/${name}`);
  expect(schemaProblems("provisioning.schema.json", parse(yaml))).toEqual([]);
  const read = parseProvisioning(yaml, join(ROOT, "examples", name));
  expect(read.policy.rules.length).toBeGreaterThan(0);
});

test("the two examples are each other's peers", () => {
  const [web, db] = ["web.yaml", "db.yaml"].map((name) =>
    parseProvisioning(text(`examples/${name}`), join(ROOT, "examples", name)),
  );
  expect(web?.peers[0]?.staticPublic).toEqual(db?.node.staticKey.publicKey as Uint8Array);
  expect(db?.peers[0]?.staticPublic).toEqual(web?.node.staticKey.publicKey as Uint8Array);
  expect(web?.tenant).toEqual(db?.tenant as { name: string; tag: Uint8Array });
  expect(web?.tags).toEqual(db?.tags as []);
  expect(web?.contracts).toEqual(db?.contracts as []);
});

const SIGNATURE_FILES = readdirSync(join(ROOT, "signatures"));

test("every signature file is in the library", () => {
  const names = libraryNames().map((name) => `${name}.json`);
  expect(names.sort()).toEqual(SIGNATURE_FILES.sort());
});

test.each([...SIGNATURE_FILES.map((name) => `signatures/${name}`), "examples/app1.json"])(
  "%s is read and keeps to the schema",
  (path) => {
    expect(parseSignatures(text(path), path).length).toBeGreaterThan(0);
    expect(schemaProblems("signature.schema.json", JSON.parse(text(path)))).toEqual([]);
  },
);

const RULE = { id: "r", direction: "in", action: "allow" };
const REFUSED: readonly { name: string; schema: string; value: object; problem: string }[] = [
  {
    name: "an unknown key",
    schema: "policy",
    value: { version: 1, rule: [] },
    problem: ".rule: unknown key",
  },
  {
    name: "an unknown key in a rule",
    schema: "policy",
    value: { version: 1, rules: [{ ...RULE, port: 80 }] },
    problem: ".rules[0].port: unknown key",
  },
  {
    name: "an unknown word",
    schema: "policy",
    value: { version: 1, defaults: { stage: "on" } },
    problem: ".defaults.stage: enum",
  },
  { name: "a missing key", schema: "provisioning", value: { version: 1 }, problem: ": required" },
  {
    name: "an unknown field",
    schema: "signature",
    value: { sig_id: "s", app_name: "a", version: 1, status: "enabled", port: 1 },
    problem: ".port: unknown key",
  },
];

test.each([...REFUSED])("the $schema schema refuses $name", ({ schema, value, problem }) => {
  expect(schemaProblems(`${schema}.schema.json`, value).join("\n")).toContain(problem);
});

test("a policy that uses every key keeps to the schema", () => {
  const policy = {
    version: 1,
    defaults: {
      inbound: "deny",
      outbound: "deny",
      refuse: "reject",
      stage: "warn",
      nonInterVm: "deny",
      midstream: { until: "2026-01-31T12:00:00Z" },
      exceptions: ["dhcp", "arp"],
    },
    rules: [
      {
        ...RULE,
        from: { agent: ["a", "b"] },
        to: { protocol: ["tcp", 17], port: [80, "90-99"] },
        app: "app1",
        serverFirst: true,
        refuse: "drop",
        stage: "observe",
        return: "identify",
        midstream: "allow",
        contract: { scId: "a156fe4c-27af-4692-b205-58ad201c5cf9", maxBusySeconds: 1 },
      },
      { ...RULE, id: "s", from: "any", to: { any: true, port: "any" }, contract: "random" },
    ],
  };
  const keys = (path: readonly string[]) => {
    let schema = publishedSchemas().get("policy.schema.json") as Record<string, unknown>;
    for (const key of path) schema = schema[key] as Record<string, unknown>;
    return Object.keys(schema).sort();
  };
  expect(parsePolicy(JSON.stringify(policy), "p.json").rules).toHaveLength(2);
  expect(schemaProblems("policy.schema.json", policy)).toEqual([]);
  expect(Object.keys(policy.defaults).sort()).toEqual(
    keys(["properties", "defaults", "properties"]),
  );
  expect(Object.keys(policy.rules[0] ?? {}).sort()).toEqual(keys(["$defs", "rule", "properties"]));
});
