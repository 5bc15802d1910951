/** Backups that are damaged, cut, newer, of another data key; folders that are not empty. */
import { Database } from "bun:sqlite";
import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeBackup } from "../../src/manager/backup.ts";
import { writeBackup } from "../../src/manager/backup-file.ts";
import { inFolder, initManager, openManager } from "../../src/manager/manager-folder.ts";
import { MIGRATIONS } from "../../src/manager/manager-schema.ts";
import { restoreManager } from "../../src/manager/restore.ts";
import { loadSealer } from "../../src/manager/sealer.ts";
import { epochNow } from "../../src/node/ledger-runner.ts";
import { Prng, seed } from "../prng.ts";
import { codeOf } from "./manager-site.ts";

const base = mkdtempSync(join(tmpdir(), "abs-backup-files-"));
const dir = join(base, "manager");
const key = join(dir, "data.key");
const file = join(base, "backup");
const into = join(base, "into");
let whole: Uint8Array;

beforeAll(() => {
  const place = { host: "127.0.0.1", port: 1 };
  initManager({ dir, dataKey: undefined, place, now: epochNow() }).database.close();
  const done = makeBackup({ dir, dataKey: undefined, file, now: epochNow() });
  expect(done).toEqual({ file, ledgers: 0, dataKey: key, sizeBytes: statSync(file).size });
  whole = readFileSync(file);
});

beforeEach(() => rmSync(into, { recursive: true, force: true }));
afterAll(() => rmSync(base, { recursive: true }));

function restore(from = file, dataKey: string | undefined = key): Promise<unknown> {
  const words = { file: from, dir: into, dataKey, wasStopped: false, now: epochNow() };
  return restoreManager(words);
}

/** All files of a folder, with their bytes. */
function contentsOf(folder: string): [string, string][] {
  if (!existsSync(folder)) return [];
  const names = readdirSync(folder, { recursive: true }) as string[];
  return names.sort().map((name) => {
    const path = join(folder, name);
    return [name, statSync(path).isDirectory() ? "" : readFileSync(path).toHex()];
  });
}

/** What a restore of these bytes is refused with; nothing is left of it. */
async function refusalOf(bytes: Uint8Array): Promise<string> {
  const bad = join(base, "bad");
  writeFileSync(bad, bytes);
  const code = await codeOf(restore(bad));
  expect(contentsOf(into).filter(([name]) => name !== "lock")).toEqual([]);
  return code;
}

test("it is closed to others, has no secret of the folder in it, and gives the same manager", async () => {
  expect(statSync(file).mode & 0o777).toBe(0o600);
  expect(readdirSync(base).sort()).toEqual(["backup", "manager"]);
  for (const name of ["dataKey", "adminKey"] as const) {
    const secret = readFileSync(inFolder(dir, name));
    expect(Buffer.from(whole).includes(secret.subarray(0, 64))).toBe(false);
  }
  await restore();
  const [one, other] = [openManager(dir, key), openManager(into, key)];
  expect(other.keys.nodeId).toBe(one.keys.nodeId);
  expect(other.place).toEqual(one.place);
  for (const manager of [one, other]) manager.database.close();
  expect(readFileSync(inFolder(into, "hostKey"))).toEqual(readFileSync(inFolder(dir, "hostKey")));
  expect(readFileSync(inFolder(into, "adminKey"))).not.toEqual(
    readFileSync(inFolder(dir, "adminKey")),
  );
  expect(statSync(into).mode & 0o777).toBe(0o700);
  for (const name of ["database", "adminKey"] as const) {
    expect(statSync(inFolder(into, name)).mode & 0o777).toBe(0o600);
  }
});

test(`any changed byte and any length but the whole is refused (SEED=${seed})`, async () => {
  const prng = new Prng(seed);
  const damages = ["BACKUP_DAMAGED", "BACKUP_NEWER", "BACKUP_KEY_WRONG"];
  const places = Array.from({ length: 60 }, () => prng.below(whole.length));
  // Each of the head, of the digest and of its seal.
  for (let i = 0; i < 120; i++) places.push(i);
  for (let i = 1; i <= 104; i++) places.push(whole.length - i);
  for (const place of places) {
    const bytes = new Uint8Array(whole);
    bytes[place] = (bytes[place] as number) ^ (1 << prng.below(8));
    expect([place, damages.includes(await refusalOf(bytes))]).toEqual([place, true]);
  }
  for (const length of [0, 1, 14, 15, 200, 72, 104, whole.length - 1, prng.below(whole.length)]) {
    expect([length, await refusalOf(whole.subarray(0, length))]).toEqual([
      length,
      "BACKUP_DAMAGED",
    ]);
  }
  expect(await refusalOf(Buffer.concat([whole, Buffer.from("x")]))).toBe("BACKUP_DAMAGED");
});

test("another data key, a newer format, a newer schema, a file that is not there", async () => {
  const other = join(base, "other.key");
  writeFileSync(other, `${"ab".repeat(32)}\n`, { mode: 0o600 });
  expect(await codeOf(restore(file, other))).toBe("BACKUP_KEY_WRONG");
  chmodSync(other, 0o644);
  expect(await codeOf(restore(file, other))).toBe("SECRET_FILE_OPEN");
  expect(await codeOf(restore(join(base, "none")))).toBe("BACKUP_UNREADABLE");
  expect(await codeOf(restore(file, join(base, "none")))).toBe("SECRET_FILE_UNREADABLE");
  const newer = Buffer.from(
    Buffer.from(whole).toString("latin1").replace('"format":1', '"format":2'),
    "latin1",
  );
  expect(await refusalOf(newer)).toBe("BACKUP_NEWER");
  const schema = MIGRATIONS.length + 1;
  const later = join(base, "later");
  writeBackup(later, { madeAt: 1, schema, sealer: loadSealer(key) }, []);
  expect(await codeOf(restore(later))).toBe("BACKUP_NEWER");
  expect(contentsOf(into)).toEqual([]);
});

test("a folder with anything in it is left as it is, but for a data key, and what a restore left", async () => {
  mkdirSync(into);
  writeFileSync(join(into, "notes"), "mine");
  expect(await codeOf(restore())).toBe("RESTORE_FOLDER_NOT_EMPTY");
  expect(contentsOf(into).map(([name]) => name)).toEqual(["notes"]);
  rmSync(join(into, "notes"));
  writeFileSync(join(into, "data.key"), readFileSync(key), { mode: 0o600 });
  // Killed half-way: its own folder is there and no database.
  mkdirSync(join(into, "restoring"));
  mkdirSync(join(into, "ledgers", "t9"), { recursive: true });
  writeFileSync(join(into, "restoring", "manager.sqlite"), "half");
  expect(
    await codeOf(
      restoreManager({
        ...{ file, dir: into, dataKey: undefined, wasStopped: false, now: epochNow() },
      }),
    ),
  ).toBe("done");
  expect(existsSync(join(into, "ledgers", "t9"))).toBe(false);
  expect(existsSync(join(into, "restoring"))).toBe(false);
  const before = contentsOf(into);
  expect(await codeOf(restore())).toBe("RESTORE_FOLDER_NOT_EMPTY");
  expect(contentsOf(into)).toEqual(before);
});

test("a place that cannot be written to", () => {
  const blocked = join(file, "backup");
  const thrown = (): unknown => {
    try {
      return makeBackup({ dir, dataKey: undefined, file: blocked, now: epochNow() });
    } catch (cause) {
      return (cause as { code?: string }).code;
    }
  };
  expect(thrown()).toBe("BACKUP_UNWRITABLE");
  expect(readFileSync(file)).toEqual(Buffer.from(whole));
});

test("a backup under a data key that is not the database's is not made", () => {
  const other = join(base, "wrong.key");
  writeFileSync(other, `${"cd".repeat(32)}\n`, { mode: 0o600 });
  const target = join(base, "second");
  expect(() => makeBackup({ dir, dataKey: other, file: target, now: epochNow() })).toThrow(
    "does not open with this data key",
  );
  expect(existsSync(target)).toBe(false);
  expect(readdirSync(base).filter((name) => name.includes("parts"))).toEqual([]);
});

test("while others write a backup is of one moment", () => {
  const database = new Database(inFolder(dir, "database"), { readwrite: true });
  database.run("BEGIN IMMEDIATE");
  database.run("INSERT INTO meta VALUES ('half', 'written')");
  const during = join(base, "during");
  makeBackup({ dir, dataKey: undefined, file: during, now: epochNow() });
  database.run("COMMIT");
  const after = join(base, "after");
  makeBackup({ dir, dataKey: undefined, file: after, now: epochNow() });
  database.run("DELETE FROM meta WHERE name = 'half'");
  database.close();
  expect(readFileSync(during).includes("halfwritten")).toBe(false);
  expect(readFileSync(after).includes("halfwritten")).toBe(true);
});
