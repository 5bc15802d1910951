/**
 * Accounts of the HTTP API: a name, a role and a password, of which argon2id's hash is kept.
 * docs/api.md "Accounts". What they log in from elsewhere with are tokens (api-tokens.ts).
 */
import type { Database } from "bun:sqlite";
import { AbsError } from "../errors.ts";
import type { EpochSeconds } from "../units.ts";
import type { AdminRole } from "./administrators.ts";

/** OWASP's second choice is 19 MiB and 2 passes; this is above it. */
const ARGON2 = { algorithm: "argon2id", memoryCost: 65_536, timeCost: 2 } as const;
/** Of a password that nobody has: the time it takes tells nobody which accounts there are. */
let nobodysHash: Promise<string> | undefined;

export type Account = {
  readonly name: string;
  readonly role: AdminRole;
  readonly madeAt: EpochSeconds;
  /** Of the password. */
  readonly changedAt: EpochSeconds;
};

const COLUMNS = "name, role, made_at AS madeAt, changed_at AS changedAt";

export function hashPassword(password: string): Promise<string> {
  return Bun.password.hash(normal(password), ARGON2);
}

/** Keyboards differ in how they write é. */
function normal(password: string): string {
  return password.normalize("NFKC");
}

export class Accounts {
  constructor(private readonly database: Database) {}

  list(): Account[] {
    return this.database.query(`SELECT ${COLUMNS} FROM account ORDER BY name`).all() as Account[];
  }

  find(name: string): Account | undefined {
    const query = this.database.query(`SELECT ${COLUMNS} FROM account WHERE name = ?`);
    return (query.get(name) as Account | null) ?? undefined;
  }

  /** @throws AbsError ACCOUNT_ABSENT */
  need(name: string): Account {
    const found = this.find(name);
    if (found !== undefined) return found;
    const remedy = "`abs manager account list` names them.";
    throw new AbsError("ACCOUNT_ABSENT", `There is no account ${name}.`, remedy);
  }

  /** @throws AbsError ACCOUNT_EXISTS */
  add(account: Pick<Account, "name" | "role">, passwordHash: string, now: EpochSeconds): void {
    const { name, role } = account;
    if (this.find(name) !== undefined) {
      const remedy = "Choose another name, or give it a new password: `account password`.";
      throw new AbsError("ACCOUNT_EXISTS", `There is an account ${name} already.`, remedy);
    }
    const query = this.database.query("INSERT INTO account VALUES (?, ?, ?, ?, ?)");
    query.run(name, role, passwordHash, now, now);
  }

  /** Its tokens with it. @throws AbsError ACCOUNT_ABSENT */
  remove(name: string): void {
    this.need(name);
    this.database.query("DELETE FROM account WHERE name = ?").run(name);
  }

  /** @throws AbsError ACCOUNT_ABSENT */
  setPassword(name: string, passwordHash: string, now: EpochSeconds): void {
    this.need(name);
    const query = this.database.query(
      "UPDATE account SET password_hash = ?, changed_at = ? WHERE name = ?",
    );
    query.run(passwordHash, now, name);
  }

  /** Takes as long for a name that is nobody's. */
  async verify(name: string, password: string): Promise<boolean> {
    const query = this.database.query("SELECT password_hash AS hash FROM account WHERE name = ?");
    const row = query.get(name) as { hash: string } | null;
    nobodysHash ??= hashPassword(crypto.randomUUID());
    const hash = row?.hash ?? (await nobodysHash);
    return (await Bun.password.verify(normal(password), hash)) && row !== null;
  }
}
