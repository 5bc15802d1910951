/**
 * The mapping service (paper §3.6): all that the manager knows of its agents: addresses, identity
 * certificate, mode, carrier, capabilities, trust level, last seen. docs/manager.md "Agents". A
 * name and an address belong to one agent of a tenant at a time; who is an agent is told by its
 * key.
 */
import type { Database } from "bun:sqlite";
import { AbsError } from "../errors.ts";
import type { EpochSeconds } from "../units.ts";

export const MODES = ["quick", "full"] as const;
export const STAGES = ["observe", "warn", "enforce"] as const;
export type NodeState = "enrolled" | "revoked";

export type MappedNode = {
  readonly nodeId: string;
  readonly tenant: string;
  readonly name: string;
  readonly groups: readonly string[];
  readonly tags: readonly string[];
  readonly addresses: readonly string[];
  /** Nobody else's either: its neighbours believe ARP and neighbour discovery by them. */
  readonly macs: readonly string[];
  readonly carrier: "ip" | "udp";
  readonly peerPort: number;
  readonly mode: (typeof MODES)[number];
  readonly stage: (typeof STAGES)[number];
  /** Security score, 0 to 100. */
  readonly trustLevel: number;
  readonly vcpu: number;
  readonly ramMib: number;
  readonly capabilities: readonly string[];
  /** Hexadecimal, as all keys here. */
  readonly ledgerPub: string;
  readonly sessionPub: string;
  readonly sshPub: string;
  readonly vrfPub: string;
  /** Signed, canonical JSON. */
  readonly certificate: Uint8Array;
  /** Of NODE_ADD: signature of the ledger key over keys and certificate. */
  readonly possession: string;
  readonly seq: number;
  readonly state: NodeState;
  readonly enrolledAt: EpochSeconds;
  readonly lastSeen: EpochSeconds;
  readonly revokedAt: EpochSeconds | undefined;
  readonly revokedWhy: string | undefined;
  readonly enforcedVersion: number;
  /** Since when the present key is in use; undefined: since it enrolled. */
  readonly sshSince?: EpochSeconds | undefined;
  readonly ledgerSince?: EpochSeconds | undefined;
  readonly sessionSince?: EpochSeconds | undefined;
  /** Its session key before the present one, while that is good too. */
  readonly sessionOld?: string | undefined;
  /** session-overlaps.ts. */
  readonly sessionFrom?: number | undefined;
  readonly sessionAlone?: number | undefined;
};

/** In SQL, of a node's tenant: the caller counts up to it in its transaction. */
export const NEXT_VERSION = "(SELECT version + 1 FROM tenant WHERE tenant.name = node.tenant)";

/** What an administrator may change of an agent. */
export type NodeChange = Partial<
  Pick<MappedNode, "mode" | "stage" | "groups" | "tags" | "trustLevel">
>;

type Row = Record<string, string | number | Uint8Array | null>;

/** Columns by field; `list`: kept as JSON. */
const COLUMNS: readonly { readonly field: keyof MappedNode; column: string; list?: true }[] = [
  { field: "nodeId", column: "node_id" },
  { field: "tenant", column: "tenant" },
  { field: "name", column: "name" },
  { field: "groups", column: "groups", list: true },
  { field: "tags", column: "tags", list: true },
  { field: "addresses", column: "addresses", list: true },
  { field: "macs", column: "macs", list: true },
  { field: "carrier", column: "carrier" },
  { field: "peerPort", column: "peer_port" },
  { field: "mode", column: "mode" },
  { field: "stage", column: "stage" },
  { field: "trustLevel", column: "trust_level" },
  { field: "vcpu", column: "vcpu" },
  { field: "ramMib", column: "ram_mib" },
  { field: "capabilities", column: "capabilities", list: true },
  { field: "ledgerPub", column: "ledger_pub" },
  { field: "sessionPub", column: "session_pub" },
  { field: "sshPub", column: "ssh_pub" },
  { field: "vrfPub", column: "vrf_pub" },
  { field: "certificate", column: "certificate" },
  { field: "possession", column: "possession" },
  { field: "seq", column: "seq" },
  { field: "state", column: "state" },
  { field: "enrolledAt", column: "enrolled_at" },
  { field: "lastSeen", column: "last_seen" },
  { field: "revokedAt", column: "revoked_at" },
  { field: "revokedWhy", column: "revoked_why" },
  { field: "enforcedVersion", column: "enforced_version" },
  { field: "sshSince", column: "ssh_since" },
  { field: "ledgerSince", column: "ledger_since" },
  { field: "sessionSince", column: "session_since" },
  { field: "sessionOld", column: "session_old" },
  { field: "sessionFrom", column: "session_from" },
  { field: "sessionAlone", column: "session_alone" },
];

/** What an agent's own messages change of it. */
type Report = { readonly lastSeen: EpochSeconds; readonly enforcedVersion: number | undefined };

/**
 * Reports are written some at a time: a thousand agents that report at once would be as many
 * syncs of the disk. What is read here has them at once. A manager that is killed hears them again,
 * as its agents connect.
 */
const REPORTS_MS = 200;

export class MappingService {
  /** By node: not written yet. */
  readonly #reports = new Map<string, Report>();
  #writing: Timer | undefined;

  constructor(private readonly database: Database) {}

  /** In the order of their names. */
  list(tenant?: string): MappedNode[] {
    const where = tenant === undefined ? "" : "WHERE tenant = ?";
    const query = this.database.query(`SELECT * FROM node ${where} ORDER BY tenant, name, seq`);
    const rows = tenant === undefined ? query.all() : query.all(tenant);
    return (rows as Row[]).map((row) => this.#reported(nodeOf(row)));
  }

  /** Those that are not revoked, invited or expired. */
  enrolled(tenant?: string): MappedNode[] {
    return this.list(tenant).filter(({ state }) => state === "enrolled");
  }

  find(nodeId: string): MappedNode | undefined {
    return this.#one("node_id = ?", nodeId);
  }

  /** By its key, or the one before it that it may still come with. */
  ofSshKey(sshPub: string): MappedNode | undefined {
    return this.#one("ssh_pub = ?1 OR ssh_old = ?1", sshPub);
  }

  /** It has come with its present key: the one before is good for nothing any more. */
  forgetOldKey(nodeId: string, sshPub: string): void {
    this.database
      .query(
        `UPDATE node SET ssh_old = NULL
         WHERE node_id = ? AND ssh_pub = ? AND ssh_old IS NOT NULL`,
      )
      .run(nodeId, sshPub);
  }

  /** Whether an agent of the tenant has two session keys. */
  hasOverlaps(tenant: string): boolean {
    const query = this.database.query(
      "SELECT 1 FROM node WHERE tenant = ? AND session_old IS NOT NULL AND state = 'enrolled'",
    );
    return query.get(tenant) !== null;
  }

  /** With the next version of its tenant. */
  useNewSessionKey(nodeId: string): void {
    this.database
      .query(`UPDATE node SET session_alone = ${NEXT_VERSION} WHERE node_id = ?`)
      .run(nodeId);
  }

  forgetOldSessionKey(nodeId: string): void {
    this.database
      .query(
        `UPDATE node SET session_old = NULL, session_from = NULL, session_alone = NULL
         WHERE node_id = ?`,
      )
      .run(nodeId);
  }

  ofSessionKey(sessionPub: string): MappedNode | undefined {
    return this.#one("session_pub = ?1 OR session_old = ?1", sessionPub);
  }

  named(tenant: string, name: string): MappedNode | undefined {
    return this.#one("tenant = ? AND name = ? AND state != 'revoked'", tenant, name);
  }

  /** Whether an agent, revoked or not, has one of these keys. */
  hasKeyOf(keys: Pick<MappedNode, "ledgerPub" | "sessionPub" | "sshPub" | "vrfPub">): boolean {
    const query = this.database.query(
      `SELECT 1 FROM node WHERE ledger_pub = ?1 OR session_pub = ?2 OR session_old = ?2
       OR ssh_pub = ?3 OR vrf_pub = ?4`,
    );
    return query.get(keys.ledgerPub, keys.sessionPub, keys.sshPub, keys.vrfPub) !== null;
  }

  /** Whose one of the addresses, IP or MAC, is already. */
  ownerOf(tenant: string, addresses: readonly string[]): { node: string; address: string } | null {
    const query = this.database.query(
      `SELECT node.name AS node, address FROM node_address JOIN node USING (node_id)
       WHERE node_address.tenant = ? AND address = ?`,
    );
    for (const address of addresses) {
      const found = query.get(tenant, address);
      if (found !== null) return found as { node: string; address: string };
    }
    return null;
  }

  /** Within a transaction of the caller's. */
  add(node: MappedNode): void {
    const names = COLUMNS.map(({ column }) => column).join(", ");
    const marks = COLUMNS.map(() => "?").join(", ");
    const values = COLUMNS.map(({ field, list }) => {
      const value = node[field];
      return list === true ? JSON.stringify(value) : ((value ?? null) as string | number | null);
    });
    this.database.query(`INSERT INTO node (${names}) VALUES (${marks})`).run(...values);
    const address = this.database.query("INSERT INTO node_address VALUES (?, ?, ?)");
    for (const text of [...node.addresses, ...node.macs]) {
      address.run(node.tenant, text, node.nodeId);
    }
  }

  change(nodeId: string, change: NodeChange): void {
    for (const { field, column, list } of COLUMNS) {
      const value = change[field as keyof NodeChange];
      if (value === undefined) continue;
      const kept = list === true ? JSON.stringify(value) : (value as string | number);
      this.database.query(`UPDATE node SET ${column} = ? WHERE node_id = ?`).run(kept, nodeId);
    }
  }

  /** For good; its name and addresses are free again. */
  revoke(nodeId: string, why: string, now: EpochSeconds): void {
    this.database
      .query("UPDATE node SET state = 'revoked', revoked_at = ?, revoked_why = ? WHERE node_id = ?")
      .run(now, why, nodeId);
    this.database.query("DELETE FROM node_address WHERE node_id = ?").run(nodeId);
  }

  /** It has said something. @param version which it says that it enforces, if it says that */
  seen(nodeId: string, now: EpochSeconds, version?: number): void {
    const before = this.#reports.get(nodeId)?.enforcedVersion;
    this.#reports.set(nodeId, { lastSeen: now, enforcedVersion: version ?? before });
    this.#writing ??= setTimeout(() => this.writeReports(), REPORTS_MS);
  }

  /** Before the database is closed. */
  writeReports(): void {
    clearTimeout(this.#writing);
    this.#writing = undefined;
    if (this.#reports.size === 0) return;
    const query = this.database.query(
      `UPDATE node SET last_seen = ?, enforced_version = coalesce(?, enforced_version)
       WHERE node_id = ?`,
    );
    try {
      this.database.transaction(() => {
        for (const [nodeId, { lastSeen, enforcedVersion }] of this.#reports) {
          query.run(lastSeen, enforcedVersion ?? null, nodeId);
        }
      })();
      this.#reports.clear();
    } catch {
      // A disk without room, of which whoever changes something hears: the next reports try again.
    }
  }

  #reported(node: MappedNode): MappedNode {
    const report = this.#reports.get(node.nodeId);
    if (report === undefined) return node;
    const { lastSeen, enforcedVersion = node.enforcedVersion } = report;
    return { ...node, lastSeen, enforcedVersion };
  }

  #one(where: string, ...values: string[]): MappedNode | undefined {
    const row = this.database.query(`SELECT * FROM node WHERE ${where}`).get(...values);
    return row === null ? undefined : this.#reported(nodeOf(row as Row));
  }
}

function nodeOf(row: Row): MappedNode {
  const entries = COLUMNS.map(({ field, column, list }) => {
    const value = row[column];
    return [field, list === true ? JSON.parse(String(value)) : (value ?? undefined)];
  });
  return Object.fromEntries(entries) as MappedNode;
}

export function addressTaken({ node, address }: { node: string; address: string }): AbsError {
  return new AbsError(
    "ADDRESS_TAKEN",
    `The address ${address} is ${node}'s.`,
    "An address belongs to one agent of a tenant. Name the right one with --address, or revoke " +
      `${node} first if its machine is gone.`,
  );
}
