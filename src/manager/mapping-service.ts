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
};

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
];

export class MappingService {
  constructor(private readonly database: Database) {}

  /** In the order of their names. */
  list(tenant?: string): MappedNode[] {
    const where = tenant === undefined ? "" : "WHERE tenant = ?";
    const query = this.database.query(`SELECT * FROM node ${where} ORDER BY tenant, name, seq`);
    const rows = tenant === undefined ? query.all() : query.all(tenant);
    return (rows as Row[]).map(nodeOf);
  }

  find(nodeId: string): MappedNode | undefined {
    return this.#one("node_id = ?", nodeId);
  }

  ofSshKey(sshPub: string): MappedNode | undefined {
    return this.#one("ssh_pub = ?", sshPub);
  }

  named(tenant: string, name: string): MappedNode | undefined {
    return this.#one("tenant = ? AND name = ? AND state != 'revoked'", tenant, name);
  }

  /** Whether an agent, revoked or not, has one of these keys. */
  hasKeyOf(keys: Pick<MappedNode, "ledgerPub" | "sessionPub" | "sshPub" | "vrfPub">): boolean {
    const query = this.database.query(
      "SELECT 1 FROM node WHERE ledger_pub = ? OR session_pub = ? OR ssh_pub = ? OR vrf_pub = ?",
    );
    return query.get(keys.ledgerPub, keys.sessionPub, keys.sshPub, keys.vrfPub) !== null;
  }

  /** Whose one of the addresses is already. */
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
    for (const text of node.addresses) address.run(node.tenant, text, node.nodeId);
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

  seen(nodeId: string, now: EpochSeconds): void {
    this.database.query("UPDATE node SET last_seen = ? WHERE node_id = ?").run(now, nodeId);
  }

  enforces(nodeId: string, version: number): void {
    const query = this.database.query("UPDATE node SET enforced_version = ? WHERE node_id = ?");
    query.run(version, nodeId);
  }

  #one(where: string, ...values: string[]): MappedNode | undefined {
    const row = this.database.query(`SELECT * FROM node WHERE ${where}`).get(...values);
    return row === null ? undefined : nodeOf(row as Row);
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
