/**
 * Administrators: a name, a role and an Ed25519 key each. docs/manager.md "Administrators". A
 * viewer may look; an operator may also invite, change modes and revoke; an administrator may
 * everything.
 */
import type { Database } from "bun:sqlite";
import { AbsError } from "../errors.ts";
import type { EpochSeconds } from "../units.ts";

/** Each may what those before it may. */
export const ADMIN_ROLES = ["viewer", "operator", "administrator"] as const;
export type AdminRole = (typeof ADMIN_ROLES)[number];

export type Administrator = {
  readonly name: string;
  readonly role: AdminRole;
  /** Hexadecimal. */
  readonly sshPub: string;
};

const COLUMNS = "name, role, ssh_pub AS sshPub";

export class Administrators {
  constructor(private readonly database: Database) {}

  list(): Administrator[] {
    const query = this.database.query(`SELECT ${COLUMNS} FROM administrator ORDER BY name`);
    return query.all() as Administrator[];
  }

  find(name: string): Administrator | undefined {
    const query = this.database.query(`SELECT ${COLUMNS} FROM administrator WHERE name = ?`);
    return (query.get(name) as Administrator | null) ?? undefined;
  }

  ofKey(sshPub: string): Administrator | undefined {
    const query = this.database.query(`SELECT ${COLUMNS} FROM administrator WHERE ssh_pub = ?`);
    return (query.get(sshPub) as Administrator | null) ?? undefined;
  }

  /** @throws AbsError ADMINISTRATOR_EXISTS */
  add({ name, role, sshPub, now }: Administrator & { readonly now: EpochSeconds }): void {
    const taken = this.list().find((one) => one.name === name || one.sshPub === sshPub);
    if (taken !== undefined) {
      const what = `The ${taken.name === name ? "name" : "key"} is ${taken.name}'s already.`;
      throw new AbsError("ADMINISTRATOR_EXISTS", what, "Remove the old one first, or choose anew.");
    }
    const query = this.database.query("INSERT INTO administrator VALUES (?, ?, ?, ?)");
    query.run(name, role, sshPub, now);
  }

  /** @throws AbsError ADMINISTRATOR_ABSENT, ADMINISTRATOR_LAST */
  remove(name: string): Administrator {
    const all = this.list();
    const found = all.find((one) => one.name === name);
    if (found === undefined) {
      const remedy = "`abs manager admin list` names them.";
      throw new AbsError("ADMINISTRATOR_ABSENT", `There is no administrator ${name}.`, remedy);
    }
    const left = all.filter((one) => one !== found && one.role === "administrator");
    if (left.length === 0) {
      const what = `${name} is the last with the role administrator.`;
      throw new AbsError("ADMINISTRATOR_LAST", what, "Add another one first.");
    }
    this.database.query("DELETE FROM administrator WHERE name = ?").run(name);
    return found;
  }
}
