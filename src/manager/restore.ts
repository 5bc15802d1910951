/**
 * `abs manager restore`: a manager from its backup, in a folder that holds none. docs/manager.md
 * "Restore". All is unpacked and looked at in a folder of its own first; the database takes its
 * place last, so that whatever was cut short is no manager and is simply done again.
 */
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { toHex } from "../bytes.ts";
import { AbsError, messageOf } from "../errors.ts";
import { lockFolder } from "../node/folder-lock.ts";
import { forgetVotes } from "../node/journal-copy.ts";
import { fileIn } from "../node/node-folder.ts";
import { drawSecrets } from "../node/node-keys.ts";
import { sshPublicKey } from "../ssh/ssh-keys.ts";
import { freeBytes } from "../store/free-bytes.ts";
import type { EpochSeconds } from "../units.ts";
import { AuditLog } from "./audit-log.ts";
import { LEDGER_FILES } from "./backup.ts";
import { type BackupHead, checkBackup, syncFolder, unpackPart } from "./backup-file.ts";
import {
  FOLDER,
  inFolder,
  LOCAL_ADMINISTRATOR,
  type OpenManager,
  openManager,
  writeAdminKey,
  writeHostKey,
} from "./manager-folder.ts";
import { MIGRATIONS } from "./manager-schema.ts";
import { loadSealer } from "./sealer.ts";
import { Tenants } from "./tenants.ts";

/** Where it is made ready. */
const RESTORING = "restoring";
/** May lie in an empty folder. */
const WELCOME: readonly string[] = [FOLDER.dataKey, FOLDER.lock];
/** More than a tenant's version grew since any backup: agents fetch what has another number. */
const VERSION_LEAP = 1_000_000;

export type RestoreWords = {
  readonly file: string;
  readonly dir: string;
  readonly dataKey: string | undefined;
  /** The manager did not run after the backup was made: its ledgers have no newer block. */
  readonly wasStopped: boolean;
  readonly now: EpochSeconds;
};

export type RestoreDone = {
  readonly madeAt: EpochSeconds;
  readonly tenants: readonly string[];
  readonly agents: number;
};

/**
 * @throws AbsError RESTORE_FOLDER_NOT_EMPTY, those of checkBackup(), RESTORE_UNWRITABLE, and what
 *   is wrong with the data key: the folder is as it was
 */
export async function restoreManager(words: RestoreWords): Promise<RestoreDone> {
  const { file, dir } = words;
  const dataKey = words.dataKey ?? inFolder(dir, "dataKey");
  requireEmpty(dir);
  const head = await checkBackup(file, loadSealer(dataKey));
  if (head.schema > MIGRATIONS.length) {
    const what = `${file} has schema ${head.schema}; this \`abs\` knows ${MIGRATIONS.length}.`;
    throw new AbsError("BACKUP_NEWER", what, "Use the newer `abs` that wrote it.");
  }
  const beside = join(dir, RESTORING);
  let unlock = (): void => {};
  try {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    unlock = lockFolder(inFolder(dir, "lock"));
    clear(dir);
    mkdirSync(beside, { mode: 0o700 });
    requireRoom(beside, head);
    const done = await makeReady(words, head, dataKey, beside);
    takePlaces(beside, dir);
    return done;
  } catch (cause) {
    if (existsSync(beside)) clear(dir);
    if (cause instanceof AbsError) throw cause;
    throw new AbsError(
      "RESTORE_UNWRITABLE",
      `${dir} cannot be written: ${messageOf(cause)}.`,
      "Make room or name another --dir; nothing of the backup is left there.",
      cause,
    );
  } finally {
    unlock();
  }
}

/** What an earlier restore left is not in the way: its folder tells. */
function requireEmpty(dir: string): void {
  if (!existsSync(dir)) return;
  const found = readdirSync(dir);
  const isOurs = found.includes(RESTORING) && !found.includes(FOLDER.database);
  const others = found.filter((name) => !WELCOME.includes(name));
  if (others.length === 0 || isOurs) return;
  throw new AbsError(
    "RESTORE_FOLDER_NOT_EMPTY",
    `${dir} is not empty: it holds ${others.slice(0, 5).join(", ")}.`,
    `Name an empty --dir, or move that away first. Only ${FOLDER.dataKey} may be there.`,
  );
}

function clear(dir: string): void {
  for (const name of [FOLDER.ledgers, FOLDER.adminKey, FOLDER.hostKey, RESTORING]) {
    rmSync(join(dir, name), { recursive: true, force: true });
  }
}

/** Before hours of unpacking; a disk that others fill meanwhile is found by the write itself. */
function requireRoom(dir: string, { files }: BackupHead): void {
  const needed = files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  if (freeBytes(dir) >= needed) return;
  const mib = Math.ceil(needed / 2 ** 20);
  const what = `The disk of ${dir} has no room for ${mib} MiB.`;
  throw new AbsError("RESTORE_UNWRITABLE", what, "Make room or name another --dir.");
}

async function makeReady(
  words: RestoreWords,
  head: BackupHead,
  dataKey: string,
  beside: string,
): Promise<RestoreDone> {
  const { file, wasStopped } = words;
  await unpackPart(file, head, FOLDER.database, inFolder(beside, "database"));
  const manager = openManager(beside, dataKey);
  try {
    const tenants = new Tenants(manager.database, manager.sealer);
    const names = tenants.list().map(({ name }) => name);
    for (const name of names) {
      const dir = join(inFolder(beside, "ledgers"), name);
      mkdirSync(dir, { recursive: true, mode: 0o700 });
      writeFileSync(fileIn(dir, "genesis"), tenants.genesisOf(name));
      for (const part of LEDGER_FILES) {
        await unpackPart(file, head, `${FOLDER.ledgers}/${name}/${part}`, join(dir, part));
      }
      bringLedger(dir, wasStopped);
    }
    writeHostKey(beside, manager.hostKey.publicKey);
    changeDatabase(manager, beside, words);
    const agents = manager.database
      .query("SELECT count(*) AS count FROM node WHERE state = 'enrolled'")
      .get() as { count: number };
    return { madeAt: head.madeAt as EpochSeconds, tenants: names, agents: agents.count };
  } finally {
    manager.database.close();
  }
}

/** docs/ledger.md "A master's copy". */
function bringLedger(dir: string, wasStopped: boolean): void {
  const hasChain = existsSync(fileIn(dir, "store"));
  if (!wasStopped && hasChain) forgetVotes(dir);
  // Without its chain as well: a master that ran is told from one that never did by this file.
  if (!wasStopped || hasChain) writeFileSync(fileIn(dir, "started"), "");
}

/** What must not be as it was: keys of this machine, tokens that may be used up, versions. */
function changeDatabase(
  { database }: OpenManager,
  dir: string,
  { now, file, wasStopped }: RestoreWords,
): void {
  const seed = Uint8Array.fromHex(drawSecrets().ssh_secret);
  database.transaction(() => {
    const local = database.query("UPDATE administrator SET ssh_pub = ? WHERE name = ?");
    const { changes } = local.run(toHex(sshPublicKey(seed)), LOCAL_ADMINISTRATOR);
    if (changes > 0) writeAdminKey(dir, seed);
    if (!wasStopped) database.run("DELETE FROM invitation WHERE used_at IS NULL");
    database.query("UPDATE tenant SET version = version + ?").run(VERSION_LEAP);
    new AuditLog(database).add({
      ...{ at: now, who: LOCAL_ADMINISTRATOR, address: "", outcome: "done" },
      command: `restore ${file}${wasStopped ? " --stopped" : ""}`,
    });
  })();
  // Into the file itself: it is moved alone.
  database.run("PRAGMA wal_checkpoint(TRUNCATE)");
}

function takePlaces(beside: string, dir: string): void {
  for (const name of ["ledgers", "adminKey", "hostKey", "database"] as const) {
    const from = inFolder(beside, name);
    if (existsSync(from)) renameSync(from, inFolder(dir, name));
    syncFolder(dir);
  }
  rmSync(beside, { recursive: true });
}
