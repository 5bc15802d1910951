/**
 * `abs manager backup`: the database and the ledgers of a manager, running or not, in one file.
 * docs/manager.md "Backup". SQLite copies each database as it is at one moment; ledgers come first,
 * so that the database knows of everything that is on them.
 */
import { Database } from "bun:sqlite";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { AbsError, messageOf } from "../errors.ts";
import { FOLDER as NODE_FOLDER } from "../node/node-folder.ts";
import { versionOf } from "../store/migrations.ts";
import type { EpochSeconds } from "../units.ts";
import { type PartSource, writeBackup } from "./backup-file.ts";
import { FOLDER, inFolder, managerAbsent } from "./manager-folder.ts";
import { loadSealer, type Sealer } from "./sealer.ts";

/** Of a ledger's folder, what is not made from the database. */
export const LEDGER_FILES = [
  NODE_FOLDER.store,
  NODE_FOLDER.certificate,
  NODE_FOLDER.peers,
  NODE_FOLDER.term,
  NODE_FOLDER.revocations,
  NODE_FOLDER.checkpoint,
] as const;

export type BackupDone = {
  readonly file: string;
  readonly sizeBytes: number;
  readonly ledgers: number;
  /** The file that has to be kept elsewhere. */
  readonly dataKey: string;
};

/** @throws AbsError MANAGER_ABSENT, BACKUP_UNWRITABLE and what is wrong with folder and data key */
export function makeBackup(words: {
  readonly dir: string;
  readonly dataKey: string | undefined;
  readonly file: string;
  readonly now: EpochSeconds;
}): BackupDone {
  const { dir, file, now } = words;
  if (!existsSync(inFolder(dir, "database"))) throw managerAbsent(dir);
  const dataKey = words.dataKey ?? inFolder(dir, "dataKey");
  const sealer = loadSealer(dataKey);
  let parts: string | undefined;
  try {
    // Of mode 700, on the disk that the backup goes to.
    parts = mkdtempSync(`${file}.parts-`);
    const ledgers = ledgersIn(dir);
    const sources = ledgers.flatMap((tenant, i) => copyLedger(dir, tenant, `${parts}/${i}`));
    const database = { name: FOLDER.database, path: join(parts, FOLDER.database) };
    copyDatabase(inFolder(dir, "database"), database.path);
    const schema = examine(database.path, sealer);
    const sizeBytes = writeBackup(file, { madeAt: now, schema, sealer }, [...sources, database]);
    return { file, sizeBytes, ledgers: ledgers.length, dataKey };
  } catch (cause) {
    if (cause instanceof AbsError) throw cause;
    throw new AbsError(
      "BACKUP_UNWRITABLE",
      `${file} cannot be written: ${messageOf(cause)}.`,
      "It takes twice its size while it is made. Make room, or name a file on another disk.",
      cause,
    );
  } finally {
    if (parts !== undefined) rmSync(parts, { recursive: true, force: true });
  }
}

/** Version of the schema. @throws AbsError DATA_KEY_WRONG: the backup would be worth nothing */
function examine(file: string, sealer: Sealer): number {
  const database = new Database(file, { readonly: true, strict: true });
  try {
    const key = database.query("SELECT secrets_sealed AS sealed FROM manager_key").get();
    sealer.open("manager_key/1", (key as { sealed: Uint8Array }).sealed);
    return versionOf(database);
  } finally {
    database.close();
  }
}

function ledgersIn(dir: string): string[] {
  const base = inFolder(dir, "ledgers");
  return existsSync(base) ? readdirSync(base).sort() : [];
}

function copyLedger(dir: string, tenant: string, into: string): PartSource[] {
  const from = join(inFolder(dir, "ledgers"), tenant);
  mkdirSync(into);
  return LEDGER_FILES.filter((name) => existsSync(join(from, name))).map((name) => {
    const path = join(into, name);
    if (name === NODE_FOLDER.store) copyDatabase(join(from, name), path);
    else copyFileSync(join(from, name), path);
    return { name: `${FOLDER.ledgers}/${tenant}/${name}`, path };
  });
}

/** As it is at one moment, whoever writes meanwhile (https://sqlite.org/lang_vacuum.html). */
function copyDatabase(from: string, to: string): void {
  const database = new Database(from, { readonly: true, strict: true });
  try {
    database.run("PRAGMA busy_timeout = 10000");
    database.query("VACUUM INTO ?").run(to);
  } finally {
    database.close();
  }
}
