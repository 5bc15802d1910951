/**
 * Tenants: tag, application tags, Security Contracts with their secrets, and the versions of what
 * is distributed to their agents. docs/manager.md "Tenants". Contracts are kept in the ledger's own
 * form (src/chain/contract-entry.ts); secrets are sealed. Whatever agents must be told makes the
 * tenant's version count up.
 */
import type { Database } from "bun:sqlite";
import { randomUUID } from "node:crypto";
import { type ContractEntry, decodeContract, encodeContract } from "../chain/contract-entry.ts";
import type { GenesisFile } from "../chain/genesis.ts";
import { chainIdOf, encodeGenesis } from "../chain/genesis-file.ts";
import type { ChainId, ScId } from "../chain/ledger-units.ts";
import { secretCommitment } from "../chain/secret-commitment.ts";
import { AbsError } from "../errors.ts";
import { kernelRandom } from "../native/kernel-random.ts";
import { drawContractSecret } from "../session/contract.ts";
import type { EpochSeconds } from "../units.ts";
import type { Sealer } from "./sealer.ts";

const TAG_BYTES = 16;
const DAY_SECONDS = 24 * 3600;
/** Of a contract that the manager issues by itself. */
export const CONTRACT_DEFAULTS = {
  lifetimeSeconds: 365 * DAY_SECONDS,
  keyregenSeconds: 30 * DAY_SECONDS,
  busySeconds: 3600,
  idleSeconds: 300,
};
const ALGORITHM = "aes-128-gcm";
/** Two are active, so that one can be retired without a gap. */
export const ACTIVE_CONTRACTS = 2;
/** Which of the documents that are distributed; the only kind. */
const POLICY = "policy";
const FIRST_POLICY = "version: 1\ndefaults: { stage: observe }\nrules: []\n";

export type Tenant = {
  readonly name: string;
  readonly chainId: ChainId;
  /** Of the peer channel of its ledger's master. */
  readonly peerPort: number;
  readonly ipProtocol: number;
  readonly udpPort: number;
  readonly version: number;
};

export type NewTenant = {
  readonly name: string;
  readonly genesis: GenesisFile;
  readonly peerPort: number;
  readonly author: string;
  readonly now: EpochSeconds;
};

/** A contract but for what is drawn and counted. */
export type ContractTerms = Omit<ContractEntry, "generation" | "secretCommitment" | "seq">;

export type NamedTag = { readonly name: string; readonly tag: Uint8Array };
export type ContractSecret = { readonly generation: number; readonly secret: Uint8Array };
export type IssuedContract = {
  readonly entry: ContractEntry;
  readonly secrets: readonly ContractSecret[];
};
export type DocumentVersion = {
  readonly version: number;
  readonly author: string;
  readonly madeAt: EpochSeconds;
};
export type StoredDocument = { readonly version: number; readonly body: string };

/** What is new for agents: another agent, which can wait a little, or what somebody has ordered. */
export type ChangeKind = "newcomer" | "command";

type SealedRow = { sealed: Uint8Array };

export class Tenants {
  /** Called for each change, which may still be undone: its transaction is not over. */
  onChange: (tenant: string, kind: ChangeKind) => void = () => {};

  constructor(
    private readonly database: Database,
    private readonly sealer: Sealer,
  ) {}

  list(): Tenant[] {
    return (this.database.query("SELECT * FROM tenant ORDER BY name").all() as TenantRow[]).map(
      tenantOf,
    );
  }

  /** @throws AbsError TENANT_ABSENT */
  need(name: string): Tenant {
    const row = this.database.query("SELECT * FROM tenant WHERE name = ?").get(name);
    if (row !== null) return tenantOf(row as TenantRow);
    const known = this.list().map((tenant) => tenant.name);
    const remedy = `Known: ${known.join(", ") || "none"}. \`abs manager tenant add\` adds one.`;
    throw new AbsError("TENANT_ABSENT", `There is no tenant ${name}.`, remedy);
  }

  /**
   * With its tag, ledger, first contracts and an empty policy.
   * @throws AbsError TENANT_EXISTS, PEER_PORT_TAKEN
   */
  add({ name, genesis, peerPort, author, now }: NewTenant): Tenant {
    const taken = this.list().find(
      (tenant) => tenant.name === name || tenant.peerPort === peerPort,
    );
    if (taken?.name === name) {
      const what = `There is a tenant ${name} already.`;
      throw new AbsError("TENANT_EXISTS", what, "Choose another name.");
    }
    if (taken !== undefined) {
      const what = `The peer port ${peerPort} is ${taken.name}'s.`;
      throw new AbsError("PEER_PORT_TAKEN", what, "Name another with --peer-port.");
    }
    const chainId = chainIdOf(genesis);
    this.database.transaction(() => {
      const tag = this.sealer.seal(`tenant/${name}`, kernelRandom(TAG_BYTES));
      this.database
        .query(
          `INSERT INTO tenant (name, tag_sealed, genesis, chain_id, peer_port, ip_protocol,
             udp_port, made_at) VALUES (?, ?, ?, ?, ?, 253, 6253, ?)`,
        )
        .run(name, tag, encodeGenesis(genesis), chainId, peerPort, now);
      for (let i = 0; i < ACTIVE_CONTRACTS; i++) this.issueContract(name, now);
      this.addPolicy(name, FIRST_POLICY, { author, now });
    })();
    return this.need(name);
  }

  /** The key that can replace its ledger's master, sealed until forgetRecovery(). */
  keepRecovery(name: string, secretHex: string): void {
    const place = `recovery/${name}`;
    const sealed = Buffer.from(this.sealer.seal(place, Buffer.from(secretHex, "hex")));
    const query = this.database.query("INSERT OR REPLACE INTO meta VALUES (?, ?)");
    query.run(place, sealed.toString("hex"));
  }

  /** As it is kept, hexadecimal; undefined: it is not here. */
  recoveryOf(name: string): string | undefined {
    const place = `recovery/${name}`;
    const query = this.database.query("SELECT value FROM meta WHERE name = ?");
    const row = query.get(place) as { value: string } | null;
    if (row === null) return undefined;
    return Buffer.from(this.sealer.open(place, Buffer.from(row.value, "hex"))).toString("hex");
  }

  forgetRecovery(name: string): void {
    this.database.query("DELETE FROM meta WHERE name = ?").run(`recovery/${name}`);
  }

  /** Takes back what add() made, before anything has come of it. */
  withdraw(name: string): void {
    this.database.transaction(() => {
      this.database
        .query(
          `DELETE FROM contract_secret
           WHERE sc_id IN (SELECT sc_id FROM contract WHERE tenant = ?)`,
        )
        .run(name);
      for (const table of ["contract", "document", "application_tag"]) {
        this.database.query(`DELETE FROM ${table} WHERE tenant = ?`).run(name);
      }
      this.forgetRecovery(name);
      this.database.query("DELETE FROM tenant WHERE name = ?").run(name);
    })();
  }

  /** The first port from this one on that no tenant's ledger has. */
  freePeerPort(from: number): number {
    const taken = new Set(this.list().map(({ peerPort }) => peerPort));
    let port = from;
    while (taken.has(port)) port++;
    return port;
  }

  /** The genesis file of its ledger, canonical. */
  genesisOf(name: string): Uint8Array {
    const query = this.database.query("SELECT genesis FROM tenant WHERE name = ?");
    return (query.get(name) as { genesis: Uint8Array }).genesis;
  }

  tagOf(name: string): Uint8Array {
    const query = this.database.query("SELECT tag_sealed AS sealed FROM tenant WHERE name = ?");
    return this.sealer.open(`tenant/${name}`, (query.get(name) as SealedRow).sealed);
  }

  /** By position: agents know tags by it. */
  applicationTags(tenant: string): NamedTag[] {
    const query = this.database.query(
      "SELECT name, tag_sealed AS sealed FROM application_tag WHERE tenant = ? ORDER BY position",
    );
    return (query.all(tenant) as (SealedRow & { name: string })[]).map(({ name, sealed }) => {
      return { name, tag: this.sealer.open(`application_tag/${tenant}/${name}`, sealed) };
    });
  }

  /** Draws a tag for each name that has none. */
  needTags(tenant: string, names: readonly string[]): void {
    const known = this.applicationTags(tenant);
    const fresh = names.filter((name) => !known.some((tag) => tag.name === name));
    for (const [i, name] of fresh.entries()) {
      const sealed = this.sealer.seal(`application_tag/${tenant}/${name}`, kernelRandom(TAG_BYTES));
      this.database
        .query("INSERT INTO application_tag VALUES (?, ?, ?, ?)")
        .run(tenant, known.length + i, name, sealed);
    }
    if (fresh.length > 0) this.countUp(tenant);
  }

  contracts(tenant: string): IssuedContract[] {
    const query = this.database.query("SELECT entry FROM contract WHERE tenant = ? ORDER BY rowid");
    return (query.all(tenant) as { entry: Uint8Array }[]).map((row) => {
      const read = decodeContract(row.entry);
      if ("complaint" in read) {
        const what = `A contract of ${tenant} is damaged: ${read.complaint}.`;
        throw new AbsError("DATABASE_DAMAGED", what, "Restore the database from a backup.");
      }
      return { entry: read.contract, secrets: this.#secretsOf(read.contract.scId) };
    });
  }

  #secretsOf(scId: ScId): ContractSecret[] {
    const query = this.database.query(
      `SELECT generation, secret_sealed AS sealed FROM contract_secret WHERE sc_id = ?
       ORDER BY generation`,
    );
    const rows = query.all(scId) as (SealedRow & { generation: number })[];
    return rows.map(({ generation, sealed }) => {
      const place = `contract_secret/${scId}/${generation}`;
      return { generation, secret: this.sealer.open(place, sealed) };
    });
  }

  /** Its next secret, from now on; the one before stays known. Within the caller's transaction. */
  regenerateContract(tenant: string, entry: ContractEntry, now: EpochSeconds): void {
    const { scId, scLifetime } = entry;
    const generation = entry.generation + 1;
    const secret = drawContractSecret(entry.encryptionAlgo, kernelRandom);
    const keyregen = Math.min(now + CONTRACT_DEFAULTS.keyregenSeconds, scLifetime) as EpochSeconds;
    const commitment = secretCommitment(scId, generation, secret);
    this.#replace(tenant, { ...entry, generation, keyregen, secretCommitment: commitment });
    const sealed = this.sealer.seal(`contract_secret/${scId}/${generation}`, secret);
    const query = this.database.query("INSERT INTO contract_secret VALUES (?, ?, ?)");
    query.run(scId, generation, sealed);
  }

  /** For good; its secrets are forgotten. Within the caller's transaction. */
  expireContract(tenant: string, entry: ContractEntry): void {
    this.#replace(tenant, { ...entry, active: "expired" });
    this.database.query("DELETE FROM contract_secret WHERE sc_id = ?").run(entry.scId);
  }

  /** As it is, no more: `seq` is the ledger's to count. */
  #replace(tenant: string, entry: ContractEntry): void {
    const query = this.database.query("UPDATE contract SET entry = ? WHERE sc_id = ?");
    query.run(encodeContract(entry), entry.scId);
    this.countUp(tenant);
  }

  /** With the usual terms. Within a transaction of the caller's. */
  issueContract(tenant: string, now: EpochSeconds): ScId {
    const { lifetimeSeconds, keyregenSeconds, busySeconds, idleSeconds } = CONTRACT_DEFAULTS;
    return this.addContract(tenant, {
      ...{ scId: randomUUID() as string as ScId, encryptionAlgo: ALGORITHM, hashAlgo: "sha256" },
      ...{ quickmode: false, active: true, protection: "confidential", busySeconds, idleSeconds },
      scLifetime: (now + lifetimeSeconds) as EpochSeconds,
      keyregen: (now + keyregenSeconds) as EpochSeconds,
      scope: { agents: [], applications: [], groups: [] },
    });
  }

  /**
   * With its first secret, drawn here; that of `rsa256` has a private key in it. Within a
   * transaction of the caller's. @throws AbsError CONTRACT_EXISTS
   */
  addContract(tenant: string, terms: ContractTerms): ScId {
    const { scId } = terms;
    if (this.database.query("SELECT 1 FROM contract WHERE sc_id = ?").get(scId) !== null) {
      const what = `There was a contract ${scId} already.`;
      throw new AbsError("CONTRACT_EXISTS", what, "An sc-id is used once, for ever: draw another.");
    }
    const secret = drawContractSecret(terms.encryptionAlgo, kernelRandom);
    const commitment = secretCommitment(scId, 1, secret);
    const entry = { ...terms, generation: 1, secretCommitment: commitment, seq: 0 };
    const bytes = encodeContract(entry);
    this.database.query("INSERT INTO contract VALUES (?, ?, ?)").run(scId, tenant, bytes);
    const sealed = this.sealer.seal(`contract_secret/${scId}/1`, secret);
    this.database.query("INSERT INTO contract_secret VALUES (?, 1, ?)").run(scId, sealed);
    this.countUp(tenant);
    return scId;
  }

  /** Without bodies, newest first. */
  policyVersions(tenant: string): DocumentVersion[] {
    const query = this.database.query(
      `SELECT version, author, made_at AS madeAt FROM document
       WHERE tenant = ? AND kind = '${POLICY}' ORDER BY version DESC`,
    );
    return query.all(tenant) as DocumentVersion[];
  }

  /** @throws AbsError VERSION_ABSENT */
  policyAt(tenant: string, version: number): string {
    const query = this.database.query(
      `SELECT body FROM document WHERE tenant = ? AND kind = '${POLICY}' AND version = ?`,
    );
    const row = query.get(tenant, version) as { body: string } | null;
    if (row !== null) return row.body;
    const what = `${tenant} has no version ${version} of its policy.`;
    throw new AbsError("VERSION_ABSENT", what, "`abs manager policy history` names them.");
  }

  /** The newest version. */
  policy(tenant: string): StoredDocument {
    const query = this.database.query(
      `SELECT version, body FROM document WHERE tenant = ? AND kind = '${POLICY}'
       ORDER BY version DESC LIMIT 1`,
    );
    return query.get(tenant) as StoredDocument;
  }

  addPolicy(
    tenant: string,
    body: string,
    by: { readonly author: string; readonly now: EpochSeconds },
  ): number {
    const query = this.database.query(
      `SELECT coalesce(max(version), 0) AS top FROM document
       WHERE tenant = ? AND kind = '${POLICY}'`,
    );
    const version = (query.get(tenant) as { top: number }).top + 1;
    this.database
      .query("INSERT INTO document VALUES (?, ?, ?, ?, ?, ?)")
      .run(tenant, POLICY, version, body, by.author, by.now);
    this.countUp(tenant);
    return version;
  }

  /** Agents of the tenant have something to be told. */
  countUp(tenant: string, kind: ChangeKind = "command"): void {
    this.database.query("UPDATE tenant SET version = version + 1 WHERE name = ?").run(tenant);
    this.onChange(tenant, kind);
  }
}

type TenantRow = {
  name: string;
  chain_id: ChainId;
  peer_port: number;
  ip_protocol: number;
  udp_port: number;
  version: number;
};

function tenantOf(row: TenantRow): Tenant {
  return {
    ...{ name: row.name, chainId: row.chain_id, version: row.version },
    ...{ peerPort: row.peer_port, ipProtocol: row.ip_protocol, udpPort: row.udp_port },
  };
}
