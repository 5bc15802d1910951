/**
 * AppDB (paper §3.4): every version of every application signature of a tenant, and which of them
 * is published. docs/manager.md "Signatures". Contents are canonical JSON; each version has a
 * blinding of its own, which the commitment on the ledger is made with (docs/ledger.md
 * "Signatures"). What agents may be given is what the chain holds: a version counts as sealed when
 * tenant-ledger.ts has seen it there.
 */
import type { Database } from "bun:sqlite";
import type { Hash } from "../chain/ledger-units.ts";
import type { SignatureStatus } from "../chain/record-types.ts";
import { BLINDING_BYTES, signatureCommitment } from "../chain/signature-entry.ts";
import { AbsError } from "../errors.ts";
import { kernelRandom } from "../native/kernel-random.ts";
import type { EpochSeconds } from "../units.ts";
import type { Sealer } from "./sealer.ts";

/** One version, as it was added. */
export type StoredSignature = {
  readonly sigId: string;
  readonly version: number;
  readonly app: string;
  /** Canonical JSON of Fig. 10's fields. */
  readonly contents: string;
  readonly author: string;
  readonly madeAt: EpochSeconds;
};

export type NewSignature = Pick<StoredSignature, "sigId" | "version" | "app" | "contents">;

/** What the ledger shall say of an id. */
export type PublishedSignature = {
  readonly sigId: string;
  /** That was published last. */
  readonly version: number;
  readonly status: SignatureStatus;
  readonly commitment: Hash;
};

/** What an agent is given. */
export type DeliveredSignature = Pick<StoredSignature, "sigId" | "app" | "contents"> & {
  readonly blinding: Uint8Array;
};

/** For people: every id, with its newest version and how the ledger has it. */
export type SignatureRow = Pick<StoredSignature, "sigId" | "app"> & {
  readonly newest: number;
  readonly published: number | null;
  /** `added` while it was never published. */
  readonly status: SignatureStatus | "added";
  /** Published, and on the chain: agents have it. */
  readonly sealed: boolean;
};

const COLUMNS = "sig_id AS sigId, version, app, contents, author, made_at AS madeAt";

export class AppDb {
  /** Tenant and id of what was published or withdrawn since this process began. */
  readonly #changed = new Set<string>();

  constructor(
    private readonly database: Database,
    private readonly sealer: Sealer,
  ) {}

  list(tenant: string): SignatureRow[] {
    const query = this.database.query(
      `SELECT s.sig_id AS sigId, s.app, s.version AS newest, p.version AS published,
         coalesce(p.status, 'added') AS status,
         (p.status = 'published' AND p.sealed_version = p.version) IS TRUE AS sealed
       FROM signature s LEFT JOIN published_signature p USING (tenant, sig_id)
       WHERE tenant = ? AND s.version =
         (SELECT max(version) FROM signature WHERE tenant = s.tenant AND sig_id = s.sig_id)
       ORDER BY sig_id`,
    );
    const rows = query.all(tenant) as (Omit<SignatureRow, "sealed"> & { sealed: number })[];
    return rows.map((row) => ({ ...row, sealed: row.sealed === 1 }));
  }

  /** Newest first. @throws AbsError SIGNATURE_ABSENT */
  versions(tenant: string, sigId: string): StoredSignature[] {
    const query = this.database.query(
      `SELECT ${COLUMNS} FROM signature WHERE tenant = ? AND sig_id = ? ORDER BY version DESC`,
    );
    const rows = query.all(tenant, sigId) as StoredSignature[];
    if (rows.length > 0) return rows;
    const what = `${tenant} has no signature ${sigId}.`;
    throw new AbsError("SIGNATURE_ABSENT", what, "`abs manager sig list` names them.");
  }

  /** @throws AbsError SIGNATURE_ABSENT, VERSION_ABSENT */
  version(tenant: string, sigId: string, version: number): StoredSignature {
    const all = this.versions(tenant, sigId);
    const found = all.find((one) => one.version === version);
    if (found !== undefined) return found;
    const known = all.map((one) => one.version).join(", ");
    const what = `The signature ${sigId} has no version ${version}.`;
    throw new AbsError("VERSION_ABSENT", what, `It has ${known}.`);
  }

  /**
   * Keeps a version. Within the caller's transaction.
   * @returns false: it was there already, the same
   * @throws AbsError SIGNATURE_VERSION, SIGNATURE_DECOMMISSIONED
   */
  add(tenant: string, { sigId, version, app, contents }: NewSignature, by: By): boolean {
    this.#requireInService(tenant, sigId);
    const query = this.database.query(
      `SELECT ${COLUMNS} FROM signature WHERE tenant = ? AND sig_id = ? ORDER BY version DESC`,
    );
    const known = query.all(tenant, sigId) as StoredSignature[];
    if (known.find((one) => one.version === version)?.contents === contents) return false;
    const newest = known[0]?.version ?? -1;
    if (version <= newest) {
      const what = `The signature ${sigId} has version ${newest} already.`;
      const remedy = `Give what you changed a version from ${newest + 1} on.`;
      throw new AbsError("SIGNATURE_VERSION", what, remedy);
    }
    const blinding = kernelRandom(BLINDING_BYTES);
    const sealed = this.sealer.seal(placeOf(tenant, sigId, version), blinding);
    const commitment = signatureCommitment(blinding, Buffer.from(contents));
    const words = [tenant, sigId, version, app, contents, commitment] as const;
    this.database
      .query("INSERT INTO signature VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")
      .run(...words, sealed, by.author, by.now);
    return true;
  }

  /** What the ledger shall have. */
  published(tenant: string): PublishedSignature[] {
    const query = this.database.query(
      `SELECT sig_id AS sigId, version, status, commitment
       FROM published_signature JOIN signature USING (tenant, sig_id, version)
       WHERE tenant = ? ORDER BY sig_id`,
    );
    return query.all(tenant) as PublishedSignature[];
  }

  /** A version is what the ledger shall hold from now on. Within the caller's transaction. */
  publish(tenant: string, sigId: string, version: number): void {
    this.version(tenant, sigId, version);
    this.#requireInService(tenant, sigId);
    this.#changed.add(`${tenant}/${sigId}`);
    const before = this.#statusOf(tenant, sigId);
    if (before !== undefined && version < before.version) {
      const what = `Version ${before.version} of ${sigId} was published; ${version} is older.`;
      const remedy = "Add the older contents again, under a version above.";
      throw new AbsError("SIGNATURE_VERSION", what, remedy);
    }
    this.database
      .query(
        `INSERT INTO published_signature VALUES (?, ?, ?, 'published', NULL)
         ON CONFLICT (tenant, sig_id)
         DO UPDATE SET version = excluded.version, status = 'published'`,
      )
      .run(tenant, sigId, version);
  }

  /** Out of use; decommissioned: for good. @throws AbsError SIGNATURE_ABSENT and others */
  withdraw(tenant: string, sigId: string, status: Exclude<SignatureStatus, "published">): void {
    this.versions(tenant, sigId);
    this.#requireInService(tenant, sigId);
    const { changes } = this.database
      .query(
        `UPDATE published_signature SET status = ?, sealed_version = NULL
         WHERE tenant = ? AND sig_id = ?`,
      )
      .run(status, tenant, sigId);
    if (changes > 0) return;
    const what = `The signature ${sigId} was never published.`;
    throw new AbsError("SIGNATURE_UNPUBLISHED", what, "There is nothing to take out of use.");
  }

  /** Its state is what an administrator said just now, and not what a backup brought. */
  isChangedHere(tenant: string, sigId: string): boolean {
    return this.#changed.has(`${tenant}/${sigId}`);
  }

  /** The chain holds this version as published. @returns whether that is new */
  sealed(tenant: string, sigId: string, version: number): boolean {
    const query = this.database.query(
      `UPDATE published_signature SET sealed_version = ?1
       WHERE tenant = ?2 AND sig_id = ?3 AND status = 'published' AND version = ?1
         AND sealed_version IS NOT ?1`,
    );
    return query.run(version, tenant, sigId).changes > 0;
  }

  /** For a VM that hosts these applications: what the chain holds of them, as it holds it. */
  hosted(tenant: string, apps: readonly string[]): DeliveredSignature[] {
    const query = this.database.query(
      `SELECT s.sig_id AS sigId, s.version, s.app, s.contents, s.blinding_sealed AS sealed
       FROM published_signature p JOIN signature s
         ON s.tenant = p.tenant AND s.sig_id = p.sig_id AND s.version = p.sealed_version
       WHERE p.tenant = ? AND p.status = 'published' ORDER BY s.sig_id`,
    );
    const rows = query.all(tenant) as (StoredSignature & Sealed)[];
    return rows
      .filter(({ app }) => apps.includes(app))
      .map(({ sigId, version, app, contents, sealed }) => {
        const blinding = this.sealer.open(placeOf(tenant, sigId, version), sealed);
        return { sigId, app, contents, blinding };
      });
  }

  #statusOf(tenant: string, sigId: string): { version: number; status: string } | undefined {
    const query = this.database.query(
      "SELECT version, status FROM published_signature WHERE tenant = ? AND sig_id = ?",
    );
    return (query.get(tenant, sigId) as { version: number; status: string } | null) ?? undefined;
  }

  #requireInService(tenant: string, sigId: string): void {
    if (this.#statusOf(tenant, sigId)?.status !== "decommissioned") return;
    const what = `The signature ${sigId} is decommissioned, for good.`;
    throw new AbsError("SIGNATURE_DECOMMISSIONED", what, "Add it under another sig_id.");
  }
}

type By = { readonly author: string; readonly now: EpochSeconds };
type Sealed = { readonly sealed: Uint8Array };

function placeOf(tenant: string, sigId: string, version: number): string {
  return `signature/${tenant}/${sigId}/${version}`;
}
