/**
 * `appdb.sqlite`: the application signatures that this VM hosts, as the manager delivered them
 * (paper §3.4: AppDB is shared "between the master(s) and the appropriate VM"). docs/manager.md
 * "The agent's folder". Each has its blinding, so that it can be checked against the ledger
 * (docs/ledger.md "Signatures"). The set in use is the one whose digest the provisioning file has;
 * the next one stands beside it until that file names it: so both change at once.
 */
import { canonicalText, type JsonObject } from "../chain/canonical-json.ts";
import type { Hash } from "../chain/ledger-units.ts";
import { hashOf } from "../chain/sha256.ts";
import { signatureCommitment } from "../chain/signature-entry.ts";
import {
  changeDatabase,
  type Kept,
  readDatabase,
  type StateDatabase,
} from "../store/state-database.ts";

export type DeliveredSignature = {
  /** Fig. 10's fields. */
  readonly contents: JsonObject;
  readonly blinding: Uint8Array;
};

/** What the ledger must hold for a signature to be used. */
export type CommittedSignature = {
  readonly id: string;
  readonly version: number;
  readonly commitment: Hash;
};

export type StoredSignature = CommittedSignature & { readonly contents: string };

const APP_DB: StateDatabase = {
  name: "AppDB",
  /** "ABSA". */
  applicationId: 0x41425341,
  schema: `CREATE TABLE signature (
    set_digest TEXT NOT NULL, sig_id TEXT NOT NULL,
    contents TEXT NOT NULL, blinding BLOB NOT NULL, PRIMARY KEY (set_digest, sig_id)
  )`,
  remedy: "Move it away; `abs agent sync` fetches what is in it anew.",
};

export function committedOf({ contents, blinding }: DeliveredSignature): CommittedSignature {
  const commitment = signatureCommitment(blinding, Buffer.from(canonicalText(contents)));
  return { ...namesOf(contents), commitment };
}

/**
 * Keeps a set beside the one that is in use; one that is there already is not written again.
 * @throws AbsError STATE_DATABASE_UNUSABLE, STATE_DATABASE_NEWER
 */
export function keepSignatures(file: string, signatures: readonly DeliveredSignature[]): Kept {
  const rows = signatures.map((signature) => ({
    ...committedOf(signature),
    ...{ contents: canonicalText(signature.contents), blinding: signature.blinding },
  }));
  const words = rows.map(({ id, commitment }) => `${id} ${commitment}`).sort();
  const digest = hashOf(Buffer.from(words.join("\n")));
  const isAlone = changeDatabase(file, APP_DB, (database) => {
    const find = database.query(
      `SELECT 1 FROM signature
       WHERE set_digest = ? AND sig_id = ? AND contents = ? AND blinding = ?`,
    );
    const insert = database.query("INSERT OR REPLACE INTO signature VALUES (?, ?, ?, ?)");
    for (const { id, contents, blinding } of rows) {
      const words = [digest, id, contents, blinding] as const;
      if (find.get(...words) === null) insert.run(...words);
    }
    const others = database.query("SELECT 1 FROM signature WHERE set_digest != ? LIMIT 1");
    return others.get(digest) === null;
  });
  return { digest, isAlone };
}

/** What is not in use any more. */
export function forgetOtherSets(file: string, digest: string): void {
  changeDatabase(file, APP_DB, (database) =>
    database.query("DELETE FROM signature WHERE set_digest != ?").run(digest),
  );
}

/** A set by id. @throws AbsError STATE_DATABASE_UNUSABLE, STATE_DATABASE_NEWER */
export function readAppDb(file: string, digest: string): StoredSignature[] {
  return readDatabase(file, APP_DB, (database) => {
    const query = database.query(
      "SELECT contents, blinding FROM signature WHERE set_digest = ? ORDER BY sig_id",
    );
    return (query.all(digest) as Row[]).map(({ contents, blinding }) => {
      const commitment = signatureCommitment(blinding, Buffer.from(contents));
      return { ...namesOf(JSON.parse(contents) as JsonObject), contents, commitment };
    });
  });
}

type Row = { readonly contents: string; readonly blinding: Uint8Array };

function namesOf(contents: JsonObject): Pick<CommittedSignature, "id" | "version"> {
  return { id: String(contents["sig_id"]), version: Number(contents["version"]) };
}
