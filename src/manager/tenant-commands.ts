/** Commands about tenants and invitations. docs/manager.md "Commands". */
import { encodeToken } from "../channel/enrolment-token.ts";
import { kernelRandom } from "../native/kernel-random.ts";
import { drawSecrets, keysOfSecrets } from "../node/node-keys.ts";
import { fingerprintOf, SSH_SEED_BYTES, sshPublicKey } from "../ssh/ssh-keys.ts";
import type { EpochSeconds } from "../units.ts";
import type { AdminCommand, CommandContext, CommandWords } from "./admin-command.ts";
import { durationOf, nameOf, namesOf, tableText, timeText, wholeNumber } from "./command-values.ts";
import { firstGenesis } from "./tenant-ledger.ts";

/** An identity certificate names no more. */
const TAGS_MAX = 16;
const GROUPS_MAX = 32;
const PEER_PORT_FIRST = 6254;

export const tenantOption = {
  type: "string",
  required: true,
  description: "name of the tenant",
} as const;

async function addTenant(words: CommandWords, { state, who, ledgers }: CommandContext) {
  const name = nameOf("tenant", words.rest[0] ?? "");
  const port = words.text("peer-port");
  const peerPort =
    port === undefined
      ? state.tenants.freePeerPort(PEER_PORT_FIRST)
      : wholeNumber("--peer-port", port, 1, 65_535);
  const recovery = drawSecrets();
  const recoveryPub = keysOfSecrets(recovery).ledger.signer.publicKey;
  const genesis = firstGenesis(state, name, recoveryPub);
  const tenant = state.tenants.add({ name, genesis, peerPort, author: who, now: state.now() });
  try {
    await ledgers.start(tenant);
  } catch (thrown) {
    state.tenants.withdraw(name);
    throw thrown;
  }
  const contracts = state.tenants.contracts(name).map(({ entry }) => entry.scId);
  const value = {
    ...{ tenant: name, chain_id: tenant.chainId, peer_port: peerPort, contracts },
    recovery_secret: recovery.ledger_secret,
  };
  const text = [
    `tenant     ${name}, ${contracts.length} contracts`,
    `ledger     ${tenant.chainId}, port ${peerPort}`,
    `recovery   ${recovery.ledger_secret}`,
    "Lock the recovery key away: whoever has it can replace the master. It is kept nowhere.",
  ];
  return { value, text: text.join("\n") };
}

const tenantAdd: AdminCommand = {
  name: "tenant add",
  description: "a new tenant, with its tag, ledger, first contracts and an empty policy",
  role: "administrator",
  words: ["name"],
  options: {
    "peer-port": { type: "string", description: "where its ledger's master listens (6254 on)" },
  },
  run: addTenant,
};

const tenantList: AdminCommand = {
  name: "tenant list",
  description: "all tenants",
  role: "viewer",
  words: [],
  options: {},
  run(_words, { state, ledgers }) {
    const rows = state.tenants.list().map(({ name, version, chainId, peerPort }) => ({
      name,
      agents: state.nodes.list(name).filter((node) => node.state === "enrolled").length,
      contracts: state.tenants.contracts(name).length,
      version,
      height: ledgers.status(name)["height"] ?? null,
      ...{ peer_port: peerPort, chain_id: chainId },
    }));
    return { value: rows, text: tableText(rows) };
  },
};

function invite(words: CommandWords, { state, who }: CommandContext) {
  const tenant = state.tenants.need(words.text("tenant") ?? "").name;
  const name = nameOf("agent", words.text("name") ?? "");
  const groups = namesOf("group", words.texts("group"), GROUPS_MAX);
  const tags = namesOf("tag", words.texts("tag"), TAGS_MAX);
  const now = state.now();
  const lasts = durationOf("--expires", words.text("expires") ?? "");
  const expiresAt = (now + lasts) as EpochSeconds;
  const seed = kernelRandom(SSH_SEED_BYTES);
  const tokenPub = sshPublicKey(seed).toHex();
  state.transaction(() => {
    state.tenants.needTags(tenant, tags);
    state.invitations.add({ tenant, name, groups, tags, tokenPub, author: who, now, expiresAt });
  });
  const { place, hostSeed, keys } = state.manager;
  const fingerprint = fingerprintOf(sshPublicKey(hostSeed));
  const token = encodeToken({
    ...{ host: place.host, port: place.port, seed, expiresAt },
    hostDigest: new Uint8Array(Buffer.from(fingerprint.slice("SHA256:".length), "base64")),
    managerKey: Uint8Array.fromHex(keys.ledger.signer.publicKey),
  });
  return { value: { tenant, name, token, expires_at: expiresAt }, text: token };
}

const inviteCommand: AdminCommand = {
  name: "invite",
  description: "a token that lets one new agent in, once; prints it and keeps it nowhere",
  role: "operator",
  words: [],
  options: {
    tenant: tenantOption,
    name: { type: "string", required: true, description: "name of the agent in its tenant" },
    group: { type: "string", multiple: true, description: "groups for policy rules" },
    tag: { type: "string", multiple: true, description: "applications that it may claim" },
    expires: { type: "string", default: "24h", description: "how long the token is good" },
  },
  run: invite,
};

const invitationList: AdminCommand = {
  name: "invitation list",
  description: "invitations, newest first",
  role: "viewer",
  words: [],
  options: {},
  run(_words, { state }) {
    const now = state.now();
    const rows = state.invitations.list().map(({ tenant, name, expiresAt, usedAt, nodeId }) => ({
      ...{ tenant, name, expires: timeText(expiresAt) },
      state: usedAt !== undefined ? "used" : now >= expiresAt ? "expired" : "open",
      node: nodeId ?? null,
    }));
    return { value: rows, text: tableText(rows) };
  },
};

const invitationWithdraw: AdminCommand = {
  name: "invitation withdraw",
  description: "unused tokens of a name let nobody in any more",
  role: "operator",
  words: ["name"],
  options: { tenant: tenantOption },
  run(words, { state }) {
    const tenant = state.tenants.need(words.text("tenant") ?? "").name;
    const count = state.invitations.withdraw(tenant, words.rest[0] ?? "");
    return { value: { withdrawn: count }, text: `${count} withdrawn` };
  },
};

export const TENANT_COMMANDS = [
  tenantAdd,
  tenantList,
  inviteCommand,
  invitationList,
  invitationWithdraw,
];
