import { Database } from "bun:sqlite";
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { tamper, tamperedCopies } from "./scd-tampering.ts";

const dir = mkdtempSync(join(tmpdir(), "abs-tampering-"));
afterAll(() => rmSync(dir, { recursive: true }));

function contract(scId: string): string {
  return `{"lifetime":{"busytime":3600,"idletime":600},"sc-id":"${scId}"}`;
}

test("every copy of one contract is changed, and of no other", () => {
  const file = join(dir, "scd.sqlite");
  const database = new Database(file, { create: true });
  database.run("CREATE TABLE contract (id TEXT UNIQUE, bytes BLOB NOT NULL)");
  database.run("CREATE TABLE block (height INTEGER PRIMARY KEY, body BLOB NOT NULL)");
  const insert = database.query("INSERT INTO contract VALUES (?, ?)");
  for (const id of ["one", "two"]) insert.run(id, Buffer.from(contract(id)));
  const body = Buffer.from(`  ${contract("one")}  ${contract("two")} `);
  database.query("INSERT INTO block VALUES (1, ?)").run(body);
  expect(tamperedCopies(file, "two")).toBe(0);
  expect(tamper(file, "two")).toBe(2);
  expect(tamperedCopies(file, "two")).toBe(2);
  const read = database.query("SELECT bytes FROM contract WHERE id = ?");
  const textOf = (id: string) => Buffer.from((read.get(id) as { bytes: Uint8Array }).bytes);
  expect(textOf("one").toString()).toBe(contract("one"));
  expect(textOf("two").toString()).toBe(contract("two").replace("3600", "9999"));
  const [block] = database.query("SELECT body FROM block").all() as { body: Uint8Array }[];
  expect(Buffer.from(block?.body ?? []).toString()).toBe(
    `  ${contract("one")}  ${contract("two").replace("3600", "9999")} `,
  );
  database.close();
});
