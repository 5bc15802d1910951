/**
 * Invitations: each lets one new agent in, once, until it expires. docs/manager.md "Invitations".
 * The token is the seed of an Ed25519 key, and is not kept: what is here cannot enrol anything.
 */
import type { Database } from "bun:sqlite";
import { AbsError } from "../errors.ts";
import type { EpochSeconds } from "../units.ts";

export type Invitation = {
  readonly number: number;
  readonly tenant: string;
  readonly name: string;
  readonly groups: readonly string[];
  /** Applications that the agent may claim. */
  readonly tags: readonly string[];
  readonly expiresAt: EpochSeconds;
  readonly usedAt: EpochSeconds | undefined;
  /** Of the agent that used it. */
  readonly nodeId: string | undefined;
};

export type NewInvitation = Pick<
  Invitation,
  "tenant" | "name" | "groups" | "tags" | "expiresAt"
> & {
  readonly tokenPub: string;
  readonly author: string;
  readonly now: EpochSeconds;
};

type Row = {
  number: number;
  tenant: string;
  name: string;
  groups: string;
  tags: string;
  expires_at: EpochSeconds;
  used_at: EpochSeconds | null;
  node_id: string | null;
};

export class Invitations {
  constructor(private readonly database: Database) {}

  add(invitation: NewInvitation): void {
    const { tenant, name, groups, tags, tokenPub, author, now, expiresAt } = invitation;
    this.database
      .query(
        `INSERT INTO invitation (tenant, name, groups, tags, token_pub, author, made_at, expires_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
      )
      .run(
        ...[tenant, name, JSON.stringify(groups), JSON.stringify(tags)],
        ...[tokenPub, author, now, expiresAt],
      );
  }

  ofToken(tokenPub: string): Invitation | undefined {
    const row = this.database.query("SELECT * FROM invitation WHERE token_pub = ?").get(tokenPub);
    return row === null ? undefined : invitationOf(row as Row);
  }

  /** Newest first; all, or those of one tenant. */
  list(tenant?: string): Invitation[] {
    const where = tenant === undefined ? "" : "WHERE tenant = ?";
    const query = this.database.query(`SELECT * FROM invitation ${where} ORDER BY number DESC`);
    const rows = tenant === undefined ? query.all() : query.all(tenant);
    return (rows as Row[]).map(invitationOf);
  }

  /** It is used up, by this agent. */
  use(number: number, nodeId: string, now: EpochSeconds): void {
    const done = this.database
      .query("UPDATE invitation SET used_at = ?, node_id = ? WHERE number = ? AND used_at IS NULL")
      .run(now, nodeId, number);
    if (done.changes !== 1) throw tokenUsed();
  }

  /** Unused ones of a name; a token that got into wrong hands. @returns how many */
  withdraw(tenant: string, name: string): number {
    const query = this.database.query(
      "DELETE FROM invitation WHERE tenant = ? AND name = ? AND used_at IS NULL",
    );
    return query.run(tenant, name).changes;
  }
}

/** Why an invitation lets nobody in any more. */
export function refusalOf(
  { usedAt, expiresAt }: Invitation,
  now: EpochSeconds,
): AbsError | undefined {
  if (usedAt !== undefined) return tokenUsed();
  if (now < expiresAt) return undefined;
  const at = new Date(expiresAt * 1000).toISOString();
  const what = `The token expired at ${at}.`;
  return new AbsError("TOKEN_EXPIRED", what, "Ask for a new one: `abs manager invite`.");
}

function tokenUsed(): AbsError {
  return new AbsError(
    "TOKEN_USED",
    "The token was used already, by an agent with other keys.",
    "A token is good for one agent: ask for another. If you did not use it, somebody else did: " +
      "revoke that agent (`abs manager agents list`).",
  );
}

function invitationOf(row: Row): Invitation {
  return {
    ...{ number: row.number, tenant: row.tenant, name: row.name },
    groups: JSON.parse(row.groups) as string[],
    tags: JSON.parse(row.tags) as string[],
    expiresAt: row.expires_at,
    usedAt: row.used_at ?? undefined,
    nodeId: row.node_id ?? undefined,
  };
}
