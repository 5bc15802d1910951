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

  -- Every version of what is distributed; kind: policy.
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
  `
  -- Of the HTTP API; password_hash: argon2id, in PHC's form.
  CREATE TABLE account (
    name TEXT PRIMARY KEY, role TEXT NOT NULL, password_hash TEXT NOT NULL,
    made_at INTEGER NOT NULL, changed_at INTEGER NOT NULL
  );

  -- digest: SHA-256 of the token, which is kept nowhere.
  CREATE TABLE api_token (
    id TEXT PRIMARY KEY, account TEXT NOT NULL REFERENCES account (name) ON DELETE CASCADE,
    role TEXT NOT NULL, label TEXT NOT NULL, digest TEXT NOT NULL UNIQUE,
    made_at INTEGER NOT NULL, expires_at INTEGER NOT NULL, used_at INTEGER
  );
  `,
  `
  -- AppDB (paper §3.4): each version that was added. contents: canonical JSON.
  CREATE TABLE signature (
    tenant TEXT NOT NULL REFERENCES tenant (name), sig_id TEXT NOT NULL, version INTEGER NOT NULL,
    app TEXT NOT NULL, contents TEXT NOT NULL, commitment TEXT NOT NULL,
    blinding_sealed BLOB NOT NULL,
    author TEXT NOT NULL, made_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, sig_id, version)
  );
  -- What the ledger shall say of an id; status: published, disabled, decommissioned.
  CREATE TABLE published_signature (
    tenant TEXT NOT NULL, sig_id TEXT NOT NULL, version INTEGER NOT NULL, status TEXT NOT NULL,
    -- The published version that the chain was seen to hold.
    sealed_version INTEGER,
    PRIMARY KEY (tenant, sig_id),
    FOREIGN KEY (tenant, sig_id, version) REFERENCES signature (tenant, sig_id, version)
  );
  DELETE FROM document WHERE kind = 'signatures' AND body = '[]';
  `,
  `
  -- docs/manager.md "Switches". tls: JSON of file names; login: of a controller's REST API.
  CREATE TABLE switch (
    name TEXT PRIMARY KEY, place TEXT NOT NULL, datapath TEXT, tls TEXT NOT NULL,
    login_user TEXT, login_sealed BLOB, made_at INTEGER NOT NULL
  );
  -- docs/manager.md "Quarantine". node_id: of the agent, where it is one's VM; ends_at: null is
  -- until it is released; over_why: null as long as it holds; mac: separated by spaces.
  CREATE TABLE quarantine (
    number INTEGER PRIMARY KEY AUTOINCREMENT, tenant TEXT, node_id TEXT, name TEXT NOT NULL,
    addresses TEXT NOT NULL, mac TEXT, ports TEXT NOT NULL,
    reason TEXT NOT NULL, author TEXT NOT NULL, made_at INTEGER NOT NULL, ends_at INTEGER,
    over_at INTEGER, over_why TEXT
  );
  `,
  `
  -- They are in node_address as well.
  ALTER TABLE node ADD COLUMN macs TEXT NOT NULL DEFAULT '[]';
  `,
  `
  -- docs/manager.md "Quarantine on evidence". violations: 0 is never.
  CREATE TABLE quarantine_terms (
    tenant TEXT PRIMARY KEY REFERENCES tenant (name), violations INTEGER NOT NULL,
    window_seconds INTEGER NOT NULL, seconds INTEGER NOT NULL, reporters INTEGER NOT NULL
  );
  `,
  `
  -- After the first, which is among the manager's keys. seq: UNIX seconds.
  CREATE TABLE host_key (
    seq INTEGER PRIMARY KEY, seed_sealed BLOB NOT NULL, made_at INTEGER NOT NULL
  );
  -- An agent's SSH key before the present one: good until it has come with the present one.
  ALTER TABLE node ADD COLUMN ssh_old TEXT;
  -- renewals.ts. signature: of KEY_ROTATE, hexadecimal.
  CREATE TABLE renewal (
    node_id TEXT PRIMARY KEY REFERENCES node (node_id), asked_at INTEGER NOT NULL,
    certificate BLOB, signature TEXT
  );
  `,
  `
  -- policy-templates.ts. body: as it was written.
  CREATE TABLE policy_template (
    name TEXT PRIMARY KEY, body TEXT NOT NULL, author TEXT NOT NULL, made_at INTEGER NOT NULL
  );
  `,
  `
  -- Of which kinds: JSON; new_signature: by the ledger key in the certificate.
  ALTER TABLE renewal ADD COLUMN kinds TEXT NOT NULL DEFAULT '["ssh"]';
  ALTER TABLE renewal ADD COLUMN new_signature TEXT;
  UPDATE renewal SET new_signature = signature;
  -- Since when the present key is in use; null: since the agent enrolled.
  ALTER TABLE node ADD COLUMN ssh_since INTEGER;
  ALTER TABLE node ADD COLUMN ledger_since INTEGER;
  `,
  `
  ALTER TABLE node ADD COLUMN session_since INTEGER;
  -- session-overlaps.ts. session_old: the key before the present one, while not all know that;
  -- versions of the tenant: with _from neighbours hear of the present key, and with _alone the
  -- agent uses it alone.
  ALTER TABLE node ADD COLUMN session_old TEXT;
  ALTER TABLE node ADD COLUMN session_from INTEGER;
  ALTER TABLE node ADD COLUMN session_alone INTEGER;
  `,
];
