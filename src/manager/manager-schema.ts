/**
 * The manager's tables. docs/manager.md "Database". Columns that end in `_sealed` are secrets
 * (sealer.ts); lists are JSON. Migrations are only ever appended to.
 */

/** "ABSM". */
export const APPLICATION_ID = 0x4142534d;

export const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);

  -- The manager's own: secp256k1, VRF, X25519, SSH, as node-keys.ts has them.
  CREATE TABLE manager_key (
    number INTEGER PRIMARY KEY, secrets_sealed BLOB NOT NULL,
    made_at INTEGER NOT NULL, retired_at INTEGER
  );

  CREATE TABLE administrator (
    name TEXT PRIMARY KEY, role TEXT NOT NULL, ssh_pub TEXT NOT NULL UNIQUE,
    made_at INTEGER NOT NULL
  );

  CREATE TABLE tenant (
    name TEXT PRIMARY KEY, tag_sealed BLOB NOT NULL,
    -- Its ledger: genesis file, name, and where the master's peer channel listens.
    genesis BLOB NOT NULL, chain_id TEXT NOT NULL, peer_port INTEGER NOT NULL UNIQUE,
    ip_protocol INTEGER NOT NULL, udp_port INTEGER NOT NULL,
    made_at INTEGER NOT NULL,
    -- Counts up with everything that agents of the tenant have to be told.
    version INTEGER NOT NULL DEFAULT 1
  );

  CREATE TABLE application_tag (
    tenant TEXT NOT NULL REFERENCES tenant (name), position INTEGER NOT NULL,
    name TEXT NOT NULL, tag_sealed BLOB NOT NULL,
    PRIMARY KEY (tenant, position), UNIQUE (tenant, name)
  );

  CREATE TABLE contract (
    sc_id TEXT PRIMARY KEY, tenant TEXT NOT NULL REFERENCES tenant (name), entry BLOB NOT NULL
  );
  CREATE TABLE contract_secret (
    sc_id TEXT NOT NULL REFERENCES contract (sc_id), generation INTEGER NOT NULL,
    secret_sealed BLOB NOT NULL, PRIMARY KEY (sc_id, generation)
  );

  -- Every version of what is distributed; kind: policy, signatures.
  CREATE TABLE document (
    tenant TEXT NOT NULL REFERENCES tenant (name), kind TEXT NOT NULL, version INTEGER NOT NULL,
    body TEXT NOT NULL, author TEXT NOT NULL, made_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, kind, version)
  );

  -- The mapping service (paper §3.6).
  CREATE TABLE node (
    node_id TEXT PRIMARY KEY, tenant TEXT NOT NULL REFERENCES tenant (name), name TEXT NOT NULL,
    groups TEXT NOT NULL, tags TEXT NOT NULL, addresses TEXT NOT NULL,
    carrier TEXT NOT NULL, peer_port INTEGER NOT NULL, mode TEXT NOT NULL, stage TEXT NOT NULL,
    trust_level INTEGER NOT NULL, vcpu INTEGER NOT NULL, ram_mib INTEGER NOT NULL,
    capabilities TEXT NOT NULL,
    ledger_pub TEXT NOT NULL UNIQUE, session_pub TEXT NOT NULL UNIQUE,
    ssh_pub TEXT NOT NULL UNIQUE, vrf_pub TEXT NOT NULL UNIQUE,
    certificate BLOB NOT NULL, possession TEXT, seq INTEGER NOT NULL,
    state TEXT NOT NULL, enrolled_at INTEGER NOT NULL, last_seen INTEGER NOT NULL,
    revoked_at INTEGER, revoked_why TEXT,
    -- Of the tenant, as the agent last reported it; 0: never.
    enforced_version INTEGER NOT NULL DEFAULT 0
  );
  CREATE UNIQUE INDEX node_name ON node (tenant, name) WHERE state != 'revoked';
  CREATE TABLE node_address (
    tenant TEXT NOT NULL, address TEXT NOT NULL, node_id TEXT NOT NULL REFERENCES node (node_id),
    PRIMARY KEY (tenant, address)
  );

  -- Of a token only its public key is kept: who reads this table can enrol nothing.
  CREATE TABLE invitation (
    number INTEGER PRIMARY KEY, tenant TEXT NOT NULL REFERENCES tenant (name),
    name TEXT NOT NULL, groups TEXT NOT NULL, tags TEXT NOT NULL,
    token_pub TEXT NOT NULL UNIQUE, author TEXT NOT NULL,
    made_at INTEGER NOT NULL, expires_at INTEGER NOT NULL, used_at INTEGER, node_id TEXT
  );

  CREATE TABLE audit (
    number INTEGER PRIMARY KEY, at INTEGER NOT NULL, who TEXT NOT NULL, address TEXT NOT NULL,
    command TEXT NOT NULL, outcome TEXT NOT NULL
  );
  `,
];
