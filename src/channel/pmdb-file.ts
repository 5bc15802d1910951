/**
 * `pmdb.sqlite`: the policy of this VM (paper §3.5: PMdb is "local and private to each agent/VM"),
 * which the manager's part comes to and no part of leaves. docs/policy.md "Local rules". The
 * manager's policy in use is the one whose digest the provisioning file has; the next one stands
 * beside it until that file names it. Rules of the VM's owner are one document, or none.
 */
import { hashOf } from "../chain/sha256.ts";
import { AbsError } from "../errors.ts";
import {
  changeDatabase,
  type Kept,
  readDatabase,
  type StateDatabase,
} from "../store/state-database.ts";
import type { EpochSeconds } from "../units.ts";

const PMDB: StateDatabase = {
  name: "PMdb",
  /** "ABSP". */
  applicationId: 0x41425350,
  schema: `
    CREATE TABLE policy (digest TEXT PRIMARY KEY, body TEXT NOT NULL);
    CREATE TABLE local (
      number INTEGER PRIMARY KEY CHECK (number = 1), body TEXT NOT NULL, applied_at INTEGER NOT NULL
    )`,
  remedy:
    "Move it away: `abs agent sync` fetches the manager's policy anew, and `abs policy apply` " +
    "brings back the rules of this VM's owner.",
};

/** What a provisioning file says of its policy. */
export type PmdbPlace = {
  readonly file: string;
  /** Digest of the manager's policy. */
  readonly policy: string;
};

export type StoredPolicy = {
  /** The manager's, YAML or JSON. */
  readonly body: string;
  readonly local: LocalRules | undefined;
};
export type LocalRules = { readonly body: string; readonly appliedAt: EpochSeconds };

/**
 * Keeps the manager's policy beside the one that is in use; one that is there already is not
 * written again.
 * @throws AbsError STATE_DATABASE_UNUSABLE, STATE_DATABASE_NEWER
 */
export function keepPolicy(file: string, body: string): Kept {
  const digest = hashOf(Buffer.from(body));
  const isAlone = changeDatabase(file, PMDB, (database) => {
    const find = database.query("SELECT 1 FROM policy WHERE digest = ? AND body = ?");
    if (find.get(digest, body) === null) {
      database.query("INSERT OR REPLACE INTO policy VALUES (?, ?)").run(digest, body);
    }
    return database.query("SELECT 1 FROM policy WHERE digest != ?").get(digest) === null;
  });
  return { digest, isAlone };
}

/** What is not in use any more. */
export function forgetOtherPolicies(file: string, digest: string): void {
  changeDatabase(file, PMDB, (database) =>
    database.query("DELETE FROM policy WHERE digest != ?").run(digest),
  );
}

/** @throws AbsError PMDB_POLICY_ABSENT and as above */
export function readPmdb(file: string, digest: string): StoredPolicy {
  return readDatabase(file, PMDB, (database) => {
    const row = database.query("SELECT body FROM policy WHERE digest = ?").get(digest);
    const local = database.query("SELECT body, applied_at AS appliedAt FROM local").get();
    if (row === null) {
      const what = `${file}, this VM's PMdb, lacks the policy ${digest}.`;
      throw new AbsError("PMDB_POLICY_ABSENT", what, "`abs agent sync` fetches it anew.");
    }
    const { body } = row as { body: string };
    return { body, local: (local as LocalRules | null) ?? undefined };
  });
}

/** @param local undefined: none from now on */
export function setLocalRules(file: string, local: LocalRules | undefined): void {
  changeDatabase(file, PMDB, (database) => {
    database.run("DELETE FROM local");
    if (local === undefined) return;
    database.query("INSERT INTO local VALUES (1, ?, ?)").run(local.body, local.appliedAt);
  });
}
