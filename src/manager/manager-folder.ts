/**
 * The manager's folder: what `abs manager init` makes and `abs manager serve` opens.
 * docs/manager.md "Folder". The database comes last in a set-up and in one transaction, so that a
 * set-up which was cut short is simply done again.
 */
import type { Database } from "bun:sqlite";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fromHex, toHex } from "../bytes.ts";
import { AbsError } from "../errors.ts";
import { drawSecrets, keysOfSecrets, type NodeSecrets, type OwnKeys } from "../node/node-keys.ts";
import { privateKeyText, publicLineOf, sshPublicKey } from "../ssh/ssh-keys.ts";
import { openDatabase } from "../store/database.ts";
import type { EpochSeconds } from "../units.ts";
import { Administrators } from "./administrators.ts";
import { HostKey } from "./host-key.ts";
import { APPLICATION_ID, MIGRATIONS } from "./manager-schema.ts";
import { loadSealer, makeDataKey, type Sealer } from "./sealer.ts";

export const FOLDER = {
  database: "manager.sqlite",
  dataKey: "data.key",
  /** Of the administrator `local`: `abs manager …` beside the manager logs in with it. */
  adminKey: "admin_key",
  hostKey: "host_key.pub",
  /** Where a running manager is reached from this machine. */
  listening: "listening.json",
  /** Of the HTTP API, for whoever may open the folder. */
  socket: "api.sock",
  /** The ledgers' blocks, a folder a tenant. */
  ledgers: "ledgers",
  lock: "lock",
} as const;

export const LOCAL_ADMINISTRATOR = "local";

/** Where agents and administrators reach the manager. */
export type ManagerPlace = { readonly host: string; readonly port: number };

export type OpenManager = {
  readonly database: Database;
  readonly sealer: Sealer;
  readonly keys: OwnKeys;
  readonly hostKey: HostKey;
  readonly place: ManagerPlace;
};

export type SetUp = {
  readonly dir: string;
  readonly dataKey: string | undefined;
  readonly place: ManagerPlace;
  readonly now: EpochSeconds;
};

export function inFolder(dir: string, name: keyof typeof FOLDER): string {
  return join(dir, FOLDER[name]);
}

/** @throws AbsError MANAGER_EXISTS when the folder holds a manager already: nothing is changed */
export function initManager(setUp: SetUp): OpenManager {
  const { dir, place, now } = setUp;
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const dataKey = setUp.dataKey ?? inFolder(dir, "dataKey");
  if (existsSync(inFolder(dir, "database")) && isMade(dir)) {
    const what = `${dir} holds a manager already.`;
    throw new AbsError("MANAGER_EXISTS", what, "Choose another --dir; keys are never overwritten.");
  }
  makeDataKey(dataKey);
  const sealer = loadSealer(dataKey);
  const secrets = drawSecrets();
  const adminSeed = bytesOf(drawSecrets().ssh_secret);
  // Those of a set-up that was cut short are of no use to anybody: they are replaced.
  writeAdminKey(dir, adminSeed);
  writeHostKey(dir, sshPublicKey(bytesOf(secrets.ssh_secret)));
  const database = openTables(dir);
  database.transaction(() => {
    const sealed = sealer.seal("manager_key/1", Buffer.from(JSON.stringify(secrets)));
    database.query("INSERT INTO manager_key VALUES (1, ?, ?, NULL)").run(sealed, now);
    const adminPub = toHex(sshPublicKey(adminSeed));
    new Administrators(database).add({
      ...{ name: LOCAL_ADMINISTRATOR, role: "administrator", sshPub: adminPub },
      now,
    });
    const add = database.query("INSERT INTO meta VALUES (?, ?)");
    add.run("place", JSON.stringify(place));
  })();
  return whole(database, sealer, secrets);
}

/** @throws AbsError MANAGER_ABSENT, DATA_KEY_WRONG, and what openDatabase() throws */
export function openManager(dir: string, dataKey: string | undefined): OpenManager {
  if (!existsSync(inFolder(dir, "database"))) throw managerAbsent(dir);
  const database = openTables(dir);
  const sealer = loadSealer(dataKey ?? inFolder(dir, "dataKey"));
  const row = database.query("SELECT secrets_sealed AS sealed FROM manager_key").get();
  if (row === null) throw managerAbsent(dir);
  const { sealed } = row as { sealed: Uint8Array };
  const secrets = JSON.parse(Buffer.from(sealer.open("manager_key/1", sealed)).toString());
  return whole(database, sealer, secrets as NodeSecrets);
}

function openTables(dir: string): Database {
  const file = inFolder(dir, "database");
  return openDatabase({ file, applicationId: APPLICATION_ID, migrations: MIGRATIONS });
}

function isMade(dir: string): boolean {
  const database = openTables(dir);
  const row = database.query("SELECT 1 FROM manager_key").get();
  database.close();
  return row !== null;
}

function whole(database: Database, sealer: Sealer, secrets: NodeSecrets): OpenManager {
  const row = database.query("SELECT value FROM meta WHERE name = 'place'").get();
  const place = JSON.parse((row as { value: string }).value) as ManagerPlace;
  const keys = keysOfSecrets(secrets);
  const hostKey = new HostKey(database, sealer, keys, bytesOf(secrets.ssh_secret));
  return { database, sealer, keys, hostKey, place };
}

/** What `abs manager …` on this machine logs in with. */
export function writeAdminKey(dir: string, seed: Uint8Array): void {
  const key = privateKeyText(seed, LOCAL_ADMINISTRATOR);
  writeFileSync(inFolder(dir, "adminKey"), key, { mode: 0o600 });
}

export function writeHostKey(dir: string, publicKey: Uint8Array): void {
  const host = publicLineOf(publicKey, "abs-manager");
  writeFileSync(inFolder(dir, "hostKey"), `${host}\n`);
}

function bytesOf(hex: string): Uint8Array {
  return fromHex(hex) ?? new Uint8Array(0);
}

/** For commands that need one. */
export function managerAbsent(dir: string): AbsError {
  return new AbsError(
    "MANAGER_ABSENT",
    `${dir} holds no manager.`,
    "`abs manager init --dir DIR --address HOST:PORT` makes one.",
  );
}
