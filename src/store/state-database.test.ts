/** Files of an agent's state: made with mode 600, changed, read back, and refused when damaged. */
import { Database } from "bun:sqlite";
import { afterAll, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { changeDatabase, readDatabase } from "./state-database.ts";

const KIND = {
  name: "list",
  applicationId: 77,
  schema: "CREATE TABLE word (text TEXT)",
  remedy: "",
};
const dir = mkdtempSync(join(tmpdir(), "abs-state-"));
afterAll(() => rmSync(dir, { recursive: true }));

function made(name: string): string {
  const file = join(dir, name);
  changeDatabase(file, KIND, (database) => database.run("INSERT INTO word VALUES ('one')"));
  return file;
}

const words = (file: string) =>
  readDatabase(file, KIND, (database) => database.query("SELECT text FROM word").all());

test("what was written is read, nobody else may read it, and no journal is left beside it", () => {
  const file = made("whole");
  expect(words(file)).toEqual([{ text: "one" }]);
  made("whole");
  expect(words(file)).toEqual([{ text: "one" }, { text: "one" }]);
  expect(statSync(file).mode & 0o777).toBe(0o600);
  expect(readdirSync(dir)).toEqual(["whole"]);
  const half = () =>
    changeDatabase(file, KIND, (database) => {
      database.run("DELETE FROM word");
      throw new Error("half-way");
    });
  expect(half).toThrow("half-way");
  expect(words(file)).toHaveLength(2);
});

const MODULE = join(import.meta.dir, "state-database.ts");
/** Writes more than SQLite's cache holds, so that the journal is needed, and dies half-way. */
const WRITER = `
  import { changeDatabase } from "${MODULE}";
  changeDatabase(process.argv[2], ${JSON.stringify(KIND)}, (database) => {
    database.run("PRAGMA cache_size = 1");
    const insert = database.query("INSERT INTO word VALUES (?)");
    for (let i = 0; i < 5000; i++) insert.run("x".repeat(200));
    process.kill(process.pid, "SIGKILL");
  });`;

test("what a killed writer left half-way is undone by who reads next", async () => {
  const file = made("killed");
  const script = join(dir, "writer.ts");
  writeFileSync(script, WRITER);
  await Bun.spawn([process.execPath, script, file]).exited;
  expect(existsSync(`${file}-journal`)).toBe(true);
  expect(words(file)).toEqual([{ text: "one" }]);
  expect(existsSync(`${file}-journal`)).toBe(false);
});

const damages: readonly (readonly [string, (file: string) => void, string])[] = [
  ["text", (file) => writeFileSync(file, "no database"), "STATE_DATABASE_UNUSABLE"],
  ["absent", (file) => rmSync(file), "STATE_DATABASE_UNUSABLE"],
  ["empty", (file) => writeFileSync(file, ""), "STATE_DATABASE_UNUSABLE"],
  ["another's", (file) => change(file, "PRAGMA application_id = 1"), "STATE_DATABASE_UNUSABLE"],
  ["without its table", (file) => change(file, "DROP TABLE word"), "STATE_DATABASE_UNUSABLE"],
  ["newer", (file) => change(file, "PRAGMA user_version = 2"), "STATE_DATABASE_NEWER"],
];
test.each(damages)("refused: %s", (name, damage, code) => {
  const file = made(`damaged-${name}`);
  damage(file);
  let found: unknown;
  try {
    words(file);
  } catch (thrown) {
    found = (thrown as { code?: unknown }).code;
  }
  expect(found).toBe(code);
  // Nor is it changed.
  if (name !== "absent" && name !== "empty") expect(() => made(`damaged-${name}`)).toThrow();
});

function change(file: string, statement: string): void {
  const database = new Database(file);
  database.run(statement);
  database.close();
}
