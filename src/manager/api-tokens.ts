/**
 * Tokens of the HTTP API: 32 random bytes that stand for an account, until they expire, with no
 * more than a role of their own. Only SHA-256 of a token is kept: who reads the table can use none.
 * docs/api.md "Tokens".
 */
import type { Database } from "bun:sqlite";
import { createHash } from "node:crypto";
import { toHex } from "../bytes.ts";
import { AbsError } from "../errors.ts";
import { kernelRandom } from "../native/kernel-random.ts";
import type { EpochSeconds } from "../units.ts";
import { ADMIN_ROLES, type AdminRole } from "./administrators.ts";

/** So that a token is known for one where it should not be: in a file, in a log. */
const PREFIX = "abst_";
const SECRET_BYTES = 32;
const ID_BYTES = 8;
const TOKENS_PER_ACCOUNT_MAX = 100;
/** When a token was last used is worth no write for each request. */
const USED_STEP_SECONDS = 60;

export type ApiToken = {
  /** What it is called; it opens nothing. */
  readonly id: string;
  readonly account: string;
  readonly role: AdminRole;
  readonly label: string;
  readonly expiresAt: EpochSeconds;
  readonly usedAt: EpochSeconds | undefined;
};

type Row = Omit<ApiToken, "usedAt"> & { readonly usedAt: EpochSeconds | null };

const COLUMNS = "id, account, role, label, expires_at AS expiresAt, used_at AS usedAt";

export class ApiTokens {
  constructor(private readonly database: Database) {}

  list(account: string): ApiToken[] {
    const query = this.database.query(
      `SELECT ${COLUMNS} FROM api_token WHERE account = ? ORDER BY expires_at, id`,
    );
    return (query.all(account) as Row[]).map(tokenOf);
  }

  /**
   * The token itself comes back once, and is kept nowhere.
   * @throws AbsError TOKENS_EXHAUSTED
   */
  add(
    { account, role, label, expiresAt }: Omit<ApiToken, "id" | "usedAt">,
    now: EpochSeconds,
  ): { readonly id: string; readonly token: string } {
    this.database.query("DELETE FROM api_token WHERE expires_at <= ?").run(now);
    if (this.list(account).length >= TOKENS_PER_ACCOUNT_MAX) {
      const what = `${account} has ${TOKENS_PER_ACCOUNT_MAX} tokens.`;
      throw new AbsError("TOKENS_EXHAUSTED", what, "Revoke those that nobody uses.");
    }
    const id = toHex(kernelRandom(ID_BYTES));
    const token = `${PREFIX}${Buffer.from(kernelRandom(SECRET_BYTES)).toString("base64url")}`;
    this.database
      .query("INSERT INTO api_token VALUES (?, ?, ?, ?, ?, ?, ?, NULL)")
      .run(id, account, role, label, digestOf(token), now, expiresAt);
    return { id, token };
  }

  /** @throws AbsError TOKEN_ABSENT */
  revoke(account: string, id: string): void {
    const query = this.database.query("DELETE FROM api_token WHERE account = ? AND id = ?");
    if (query.run(account, id).changes > 0) return;
    const remedy = `\`abs manager account token list ${account}\` names them.`;
    throw new AbsError("TOKEN_ABSENT", `${account} has no token ${id}.`, remedy);
  }

  /** Whose it is; looked up by its digest, so that no comparison tells how near a guess was. */
  find(token: string, now: EpochSeconds): ApiToken | undefined {
    const query = this.database.query(
      `SELECT ${COLUMNS} FROM api_token WHERE digest = ? AND expires_at > ?`,
    );
    const row = query.get(digestOf(token), now) as Row | null;
    if (row === null) return undefined;
    if (now - (row.usedAt ?? 0) >= USED_STEP_SECONDS) {
      this.database.query("UPDATE api_token SET used_at = ? WHERE id = ?").run(now, row.id);
    }
    return tokenOf(row);
  }
}

/** The lesser of two. */
export function lesserRole(a: AdminRole, b: AdminRole): AdminRole {
  return ADMIN_ROLES.indexOf(a) < ADMIN_ROLES.indexOf(b) ? a : b;
}

function digestOf(token: string): string {
  return createHash("sha256").update(token).digest("hex");
}

function tokenOf(row: Row): ApiToken {
  return { ...row, usedAt: row.usedAt ?? undefined };
}
