/** The manager's folder: set-up, data key, databases that are not ours to touch. */

import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AbsError } from "../../src/errors.ts";
import { inFolder, initManager, openManager } from "../../src/manager/manager-folder.ts";
import { MIGRATIONS } from "../../src/manager/manager-schema.ts";
import { Sealer } from "../../src/manager/sealer.ts";
import { epochNow } from "../../src/node/ledger-runner.ts";

const PLACE = { host: "127.0.0.1", port: 1 };

function withFolder(check: (dir: string) => void): void {
  const base = mkdtempSync(join(tmpdir(), "abs-folder-"));
  try {
    check(join(base, "manager"));
  } finally {
    rmSync(base, { recursive: true });
  }
}

function make(dir: string) {
  const made = initManager({ dir, dataKey: undefined, place: PLACE, now: epochNow() });
  made.database.close();
  return made;
}

function thrownBy(run: () => unknown): string {
  try {
    run();
    return "nothing";
  } catch (thrown) {
    return thrown instanceof AbsError ? thrown.code : String(thrown);
  }
}

test("init makes it once; what it made opens with the same keys, and is closed to others", () => {
  withFolder((dir) => {
    const made = make(dir);
    const opened = openManager(dir, undefined);
    expect(opened.keys.nodeId).toBe(made.keys.nodeId);
    expect(opened.hostKey.seed).toEqual(made.hostKey.seed);
    expect(opened.place).toEqual(PLACE);
    opened.database.close();
    expect(thrownBy(() => make(dir))).toBe("MANAGER_EXISTS");
    for (const name of ["database", "dataKey", "adminKey"] as const) {
      expect(statSync(inFolder(dir, name)).mode & 0o777).toBe(0o600);
    }
    expect(statSync(dir).mode & 0o777).toBe(0o700);
  });
});

test("a set-up that was cut short before the database was written is done again", () => {
  withFolder((dir) => {
    make(dir);
    const key = readFileSync(inFolder(dir, "dataKey"), "utf8");
    for (const end of ["", "-wal", "-shm"])
      rmSync(inFolder(dir, "database") + end, { force: true });
    make(dir);
    expect(readFileSync(inFolder(dir, "dataKey"), "utf8")).toBe(key);
    openManager(dir, undefined).database.close();
  });
});

const damages: readonly (readonly [string, (dir: string) => void, string])[] = [
  ["nothing there", (dir) => rmSync(dir, { recursive: true }), "MANAGER_ABSENT"],
  ["another data key", (dir) => writeKey(dir, "ab".repeat(32)), "DATA_KEY_WRONG"],
  ["half a data key", (dir) => writeKey(dir, "ab"), "DATA_KEY_INVALID"],
  ["no data key", (dir) => rmSync(inFolder(dir, "dataKey")), "SECRET_FILE_UNREADABLE"],
  [
    "a data key that all may read",
    (dir) => chmodSync(inFolder(dir, "dataKey"), 0o644),
    "SECRET_FILE_OPEN",
  ],
  [
    "a newer database",
    (dir) => pragma(dir, `user_version = ${MIGRATIONS.length + 1}`),
    "DATABASE_NEWER",
  ],
  ["another program's database", (dir) => pragma(dir, "application_id = 7"), "DATABASE_FOREIGN"],
  ["no database at all", noise, "DATABASE_UNUSABLE"],
];

function writeKey(dir: string, text: string): void {
  writeFileSync(inFolder(dir, "dataKey"), text);
}

function pragma(dir: string, statement: string): void {
  const database = new Database(inFolder(dir, "database"));
  database.run(`PRAGMA ${statement}`);
  database.close();
}

function noise(dir: string): void {
  for (const end of ["-wal", "-shm"]) rmSync(inFolder(dir, "database") + end, { force: true });
  writeFileSync(inFolder(dir, "database"), "hello".repeat(1000));
}

test.each(damages)("%s: refused, with a remedy", (_, damage, code) => {
  withFolder((dir) => {
    make(dir);
    damage(dir);
    expect(thrownBy(() => openManager(dir, undefined))).toBe(code);
  });
});

test("a sealed secret opens at its place, with its key, unchanged, and nowhere else", () => {
  const sealer = new Sealer(new Uint8Array(32).fill(1));
  const secret = new Uint8Array([1, 2, 3]);
  const sealed = sealer.seal("contract_secret/a/1", secret);
  expect(sealer.open("contract_secret/a/1", sealed)).toEqual(secret);
  expect(sealer.seal("contract_secret/a/1", secret)).not.toEqual(sealed);
  const other = new Sealer(new Uint8Array(32).fill(2));
  expect(thrownBy(() => sealer.open("contract_secret/a/2", sealed))).toBe("DATA_KEY_WRONG");
  expect(thrownBy(() => other.open("contract_secret/a/1", sealed))).toBe("DATA_KEY_WRONG");
  for (let i = 0; i < sealed.length; i++) {
    const changed = sealed.with(i, (sealed[i] ?? 0) ^ 1);
    expect(thrownBy(() => sealer.open("contract_secret/a/1", changed))).toBe("DATA_KEY_WRONG");
  }
  expect(thrownBy(() => sealer.open("contract_secret/a/1", sealed.subarray(0, 10)))).toBe(
    "DATA_KEY_WRONG",
  );
});
