/** The API's description: it is OpenAPI 3.1, names every command, and docs/api.md says the same. */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Validator } from "@seriousme/openapi-schema-validator";
import { ADMIN_COMMANDS } from "../../src/manager/admin-commands.ts";
import { apiDescription } from "../../src/manager/api/description.ts";
import { statusOf } from "../../src/manager/api/problems.ts";

const DOCUMENT = readFileSync(join(import.meta.dir, "../../docs/api.md"), "utf8");
const description = JSON.parse(JSON.stringify(apiDescription()));

test("it is an OpenAPI 3.1 document by the official schema, and a broken one is not", async () => {
  const validator = new Validator();
  expect(await validator.validate(structuredClone(description))).toEqual({ valid: true });
  expect(validator.version).toBe("3.1");
  const { paths: _, ...broken } = { ...description, info: {} };
  expect((await new Validator().validate(broken)).valid).toBe(false);
});

test("every reference leads somewhere", () => {
  const text = JSON.stringify(description);
  for (const [, path = ""] of text.matchAll(/"\$ref":"#\/([^"]+)"/g)) {
    const found = path.split("/").reduce((node, key) => node?.[key], description);
    expect(found).toBeDefined();
  }
});

test.each(ADMIN_COMMANDS.map((command) => [command.name, command] as const))(
  "%s: its whole input is in its operation, once",
  (name, { http, input, role, standardInput }) => {
    const operation = description.paths[http.path][http.method.toLowerCase()];
    expect(operation.operationId).toBe(name.replaceAll(" ", "-"));
    expect(operation["x-abs-role"]).toBe(role);
    const parameters = operation.parameters.filter((one: { in: string }) => one.in !== "header");
    const content = operation.requestBody?.content ?? {};
    const inJson = Object.keys(content["application/json"]?.schema.properties ?? {});
    // The body as it is.
    const raw = standardInput?.mediaType === undefined ? undefined : standardInput;
    expect(raw === undefined || content[raw.mediaType ?? ""] !== undefined).toBe(true);
    const named = [...parameters.map((one: { name: string }) => one.name), ...inJson];
    const wanted = Object.keys(input.properties).filter((one) => one !== raw?.property);
    expect(named.sort()).toEqual(wanted.sort());
  },
);

test("docs/api.md lists every operation with its role and its command", () => {
  const rows = [...DOCUMENT.matchAll(/^\| `([A-Z]+) (\S+)` \| (\w+) \| `(.+)` \|$/gm)];
  const written = rows.map(([, method, path, role, name]) => `${method} ${path} ${role} ${name}`);
  const wanted = ADMIN_COMMANDS.map(({ http, role, name }) => {
    return `${http.method} ${http.path} ${role} ${name}`;
  });
  expect(written).toEqual(wanted);
});

test("docs/api.md lists the codes with the status that they have", () => {
  const table = DOCUMENT.slice(
    DOCUMENT.indexOf("| status | codes |"),
    DOCUMENT.indexOf("## Accounts"),
  );
  const rows = [...table.matchAll(/^\| ([\d, ]+) \| (.*) \|$/gm)];
  const listed = rows.flatMap(([, statuses = "", text = ""]) =>
    [...text.matchAll(/`([A-Z][A-Z_]+)`/g)].map(([, code = ""]) => [code, statuses] as const),
  );
  expect(listed.length).toBeGreaterThan(15);
  for (const [code, statuses] of listed)
    expect(statuses.split(", ")).toContain(`${statusOf(code)}`);
});
