/** Commands about tenants and invitations. docs/manager.md "Commands". */
import { type Static, type TObject, Type } from "typebox";
import {
  invitationMade,
  invitationRows,
  invitationsWithdrawn,
  recoveryKey,
  tenantMade,
  tenantRows,
} from "../answers/tenants.ts";
import { encodeToken } from "../channel/enrolment-token.ts";
import { AbsError } from "../errors.ts";
import { kernelRandom } from "../native/kernel-random.ts";
import { drawSecrets, keysOfSecrets } from "../node/node-keys.ts";
import { fingerprintOf, SSH_SEED_BYTES, sshPublicKey } from "../ssh/ssh-keys.ts";
import type { EpochSeconds } from "../units.ts";
import { adminCommand, type CommandContext } from "./admin-command.ts";
import {
  duration,
  durationSeconds,
  flag,
  named,
  names,
  reference,
  sortedNames,
  tenantName,
  whole,
} from "./command-schemas.ts";
import { tableText, timeText } from "./command-values.ts";
import { firstGenesis } from "./tenant-ledger.ts";

/** An identity certificate names no more. */
const TAGS_MAX = 16;
const GROUPS_MAX = 32;
const PEER_PORT_FIRST = 6254;
/** What the first tenant is tried with. */
const PEER_PORT_LAST = PEER_PORT_FIRST + 31;
const FIRST_TENANT = "default";

const newTenant = {
  name: named("of the new tenant"),
  peer_port: Type.Optional(whole(1, 65_535, "where its ledger's master listens (6254 on)")),
};

/** With the secret of the key that can replace its ledger's master, hexadecimal. */
async function makeTenant(
  { name, peer_port }: Static<TObject<typeof newTenant>>,
  { state, who, ledgers }: CommandContext,
  keepsRecovery = false,
) {
  const peerPort = peer_port ?? state.tenants.freePeerPort(PEER_PORT_FIRST);
  const recovery = drawSecrets();
  const recoveryPub = keysOfSecrets(recovery).ledger.signer.publicKey;
  const genesis = firstGenesis(state, name, recoveryPub);
  const tenant = state.transaction(() => {
    const made = state.tenants.add({ name, genesis, peerPort, author: who, now: state.now() });
    if (keepsRecovery) state.tenants.keepRecovery(name, recovery.ledger_secret);
    return made;
  });
  try {
    await ledgers.start(tenant);
  } catch (thrown) {
    state.tenants.withdraw(name);
    throw thrown;
  }
  return { tenant, recoverySecret: recovery.ledger_secret };
}

async function addTenant(input: Static<TObject<typeof newTenant>>, context: CommandContext) {
  const { state } = context;
  const { tenant, recoverySecret } = await makeTenant(input, context);
  const { name, peerPort } = tenant;
  const contracts = state.tenants.contracts(name).map(({ entry }) => entry.scId);
  const value = {
    ...{ tenant: name, chain_id: tenant.chainId, peer_port: peerPort, contracts },
    recovery_secret: recoverySecret,
  };
  const text = [
    `tenant     ${name}, ${contracts.length} contracts`,
    `ledger     ${tenant.chainId}, port ${peerPort}`,
    `recovery   ${recoverySecret}`,
    "Lock the recovery key away: whoever has it can replace the master. It is kept nowhere.",
  ];
  return { value, text: text.join("\n") };
}

const tenantAdd = adminCommand({
  name: "tenant add",
  description: "a new tenant, with its tag, ledger, first contracts and an empty policy",
  role: "administrator",
  words: ["name"],
  http: { method: "POST", path: "/tenants" },
  input: newTenant,
  answer: tenantMade,
  run: addTenant,
});

const tenantList = adminCommand({
  name: "tenant list",
  description: "all tenants",
  role: "viewer",
  http: { method: "GET", path: "/tenants" },
  input: {},
  answer: tenantRows,
  run(_input, { state, ledgers }) {
    const rows = state.tenants.list().map(({ name, version, chainId, peerPort }) => {
      const { height } = ledgers.status(name);
      return {
        name,
        agents: state.nodes.enrolled(name).length,
        contracts: state.tenants.contracts(name).length,
        version,
        height: typeof height === "number" ? height : null,
        recovery_kept: state.tenants.recoveryOf(name) !== undefined,
        ...{ peer_port: peerPort, chain_id: chainId },
      };
    });
    return { value: rows, text: tableText(rows) };
  },
});

const tenantRecovery = adminCommand({
  name: "tenant recovery",
  description: "the recovery key of the first tenant, which the manager keeps until --forget",
  role: "administrator",
  words: ["tenant"],
  http: { method: "POST", path: "/tenants/{tenant}/recovery" },
  input: {
    tenant: tenantName,
    forget: Type.Optional(flag("it is locked away: the manager forgets it")),
  },
  answer: recoveryKey,
  run({ tenant, forget }, { state }) {
    const { name } = state.tenants.need(tenant);
    const secret = state.tenants.recoveryOf(name);
    if (secret === undefined) {
      const what = `The recovery key of ${name} is not kept here.`;
      const remedy = "It was printed when the tenant was made, or by this command before --forget.";
      throw new AbsError("RECOVERY_ABSENT", what, remedy);
    }
    if (forget !== true) return { value: { recovery_secret: secret }, text: secret };
    state.tenants.forgetRecovery(name);
    return { value: { forgotten: name }, text: `the recovery key of ${name} is forgotten here` };
  },
});

const newInvitation = {
  tenant: Type.Optional(named("name of the tenant, if there are several")),
  name: named("name of the agent in its tenant"),
  group: Type.Optional(names("groups for policy rules", GROUPS_MAX)),
  tag: Type.Optional(names("applications that it may claim", TAGS_MAX)),
  expires: duration("how long the token is good", "24h"),
};

/** At the first port that nobody on this machine has. */
async function makeFirstTenant(context: CommandContext): Promise<void> {
  for (let port = PEER_PORT_FIRST; ; port++) {
    try {
      await makeTenant({ name: FIRST_TENANT, peer_port: port }, context, true);
      return;
    } catch (thrown) {
      const isBusy = thrown instanceof AbsError && thrown.code === "PEER_PORT_BUSY";
      if (!isBusy || port === PEER_PORT_LAST) throw thrown;
    }
  }
}

/** The one that is meant where none is named; a manager without any gets its first. */
async function onlyTenant(context: CommandContext) {
  const all = context.state.tenants.list();
  const [only] = all;
  if (only !== undefined && all.length === 1) return { tenant: only.name, note: undefined };
  if (only !== undefined) {
    const known = all.map(({ name }) => name).join(", ");
    throw new AbsError("TENANT_UNCLEAR", "Which tenant?", `Name one with --tenant: ${known}.`);
  }
  await makeFirstTenant(context);
  const note =
    `The first tenant was made: ${FIRST_TENANT}. The key that recovers its ledger is sealed in ` +
    `this manager's database. Print it, lock it away elsewhere, then have it forgotten here:\n` +
    `  abs manager tenant recovery ${FIRST_TENANT} [--forget]`;
  return { tenant: FIRST_TENANT, note };
}

async function invite(
  { name, group, tag, expires, ...named }: Static<TObject<typeof newInvitation>>,
  context: CommandContext,
) {
  const { state, who } = context;
  const { tenant, note } =
    named.tenant === undefined
      ? await onlyTenant(context)
      : { tenant: state.tenants.need(named.tenant).name, note: undefined };
  const [groups, tags] = [sortedNames(group), sortedNames(tag)];
  const now = state.now();
  const expiresAt = (now + durationSeconds(expires)) as EpochSeconds;
  const seed = kernelRandom(SSH_SEED_BYTES);
  const tokenPub = sshPublicKey(seed).toHex();
  state.transaction(() => {
    state.tenants.needTags(tenant, tags);
    state.invitations.add({ tenant, name, groups, tags, tokenPub, author: who, now, expiresAt });
  });
  const { place, hostKey, keys } = state.manager;
  const fingerprint = fingerprintOf(hostKey.publicKey);
  const token = encodeToken({
    ...{ host: place.host, port: place.port, seed, expiresAt },
    hostDigest: new Uint8Array(Buffer.from(fingerprint.slice("SHA256:".length), "base64")),
    managerKey: Uint8Array.fromHex(keys.ledger.signer.publicKey),
  });
  return { value: { tenant, name, token, expires_at: expiresAt }, text: token, note };
}

const inviteCommand = adminCommand({
  name: "invite",
  description: "a token that lets one new agent in, once; prints it and keeps it nowhere",
  role: "operator",
  http: { method: "POST", path: "/invitations" },
  input: newInvitation,
  answer: invitationMade,
  run: invite,
});

const invitationList = adminCommand({
  name: "invitation list",
  description: "invitations, newest first",
  role: "viewer",
  http: { method: "GET", path: "/invitations" },
  input: {},
  answer: invitationRows,
  run(_input, { state }) {
    const now = state.now();
    const rows = state.invitations.list().map(({ tenant, name, expiresAt, usedAt, nodeId }) => {
      const unused = now >= expiresAt ? ("expired" as const) : ("open" as const);
      const word = usedAt === undefined ? unused : ("used" as const);
      return { tenant, name, expires: timeText(expiresAt), state: word, node: nodeId ?? null };
    });
    return { value: rows, text: tableText(rows) };
  },
});

const invitationWithdraw = adminCommand({
  name: "invitation withdraw",
  description: "unused tokens of a name let nobody in any more",
  role: "operator",
  words: ["name"],
  http: { method: "DELETE", path: "/tenants/{tenant}/invitations/{name}" },
  input: { name: reference("of the agent that was invited"), tenant: tenantName },
  answer: invitationsWithdrawn,
  run({ name, tenant }, { state }) {
    state.tenants.need(tenant);
    const count = state.invitations.withdraw(tenant, name);
    return { value: { withdrawn: count }, text: `${count} withdrawn` };
  },
});

export const TENANT_COMMANDS = [
  tenantAdd,
  tenantList,
  tenantRecovery,
  inviteCommand,
  invitationList,
  invitationWithdraw,
];
