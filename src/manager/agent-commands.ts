/** Commands about agents: the mapping service as an administrator sees it. docs/manager.md. */
import { decodeSignedCertificate } from "../chain/identity-certificate.ts";
import { AbsError } from "../errors.ts";
import type { AdminCommand, CommandContext, CommandWords } from "./admin-command.ts";
import { namesOf, oneOf, optionWrong, tableText, timeText, wholeNumber } from "./command-values.ts";
import { type MappedNode, MODES, type NodeChange, STAGES } from "./mapping-service.ts";

const GROUPS_MAX = 32;

/** By name within its tenant, or by node id anywhere. */
function agentOf(name: string, words: CommandWords, { state }: CommandContext): MappedNode {
  const tenant = words.text("tenant");
  const byId = state.nodes.find(name);
  if (byId !== undefined && (tenant === undefined || byId.tenant === tenant)) return byId;
  const tenants = tenant === undefined ? state.tenants.list() : [state.tenants.need(tenant)];
  const found = tenants.flatMap((one) => state.nodes.named(one.name, name) ?? []);
  const [agent] = found;
  if (agent !== undefined && found.length === 1) return agent;
  throw new AbsError(
    "AGENT_ABSENT",
    agent === undefined ? `There is no agent ${name}.` : `Several tenants have an agent ${name}.`,
    "`abs manager agents list` names them; --tenant says which is meant.",
  );
}

const anyTenant = {
  type: "string",
  description: "name of the tenant, if several have it",
} as const;

const list: AdminCommand = {
  name: "agents list",
  description: "all agents, or those of one tenant",
  role: "viewer",
  words: [],
  options: {
    tenant: { type: "string", description: "of this tenant only" },
    revoked: { type: "boolean", description: "revoked ones too" },
  },
  run(words, { state }) {
    const tenant = words.text("tenant");
    if (tenant !== undefined) state.tenants.need(tenant);
    const nodes = state.nodes
      .list(tenant)
      .filter((node) => words.flag("revoked") || node.state !== "revoked");
    const versions = new Map(state.tenants.list().map(({ name, version }) => [name, version]));
    const rows = nodes.map((node) => ({
      ...{ tenant: node.tenant, name: node.name, mode: node.mode, stage: node.stage },
      addresses: node.addresses.join(","),
      groups: node.groups.join(",") || "-",
      state: node.state,
      version: `${node.enforcedVersion}/${versions.get(node.tenant) ?? 0}`,
      last_seen: timeText(node.lastSeen),
      node: node.nodeId,
    }));
    return { value: rows, text: tableText(rows) };
  },
};

function describe(node: MappedNode, { state }: CommandContext) {
  const read = decodeSignedCertificate(node.certificate);
  const certificate = "signed" in read ? read.signed.certificate : undefined;
  return {
    ...{ node: node.nodeId, tenant: node.tenant, name: node.name, state: node.state },
    ...{ mode: node.mode, stage: node.stage, groups: node.groups, tags: node.tags },
    ...{ addresses: node.addresses, carrier: node.carrier, peer_port: node.peerPort },
    ...{ trust_level: node.trustLevel, vcpu: node.vcpu, ram_mib: node.ramMib },
    capabilities: node.capabilities,
    ...{ enrolled: timeText(node.enrolledAt), last_seen: timeText(node.lastSeen) },
    certificate_until: timeText(certificate?.notAfter),
    ...{ ledger_pub: node.ledgerPub, session_pub: node.sessionPub },
    ...{ ssh_pub: node.sshPub, vrf_pub: node.vrfPub },
    enforces: node.enforcedVersion,
    version: state.tenants.need(node.tenant).version,
    ...(node.revokedAt === undefined
      ? {}
      : { revoked: timeText(node.revokedAt), reason: node.revokedWhy }),
  };
}

const show: AdminCommand = {
  name: "agents show",
  description: "all that is known of one agent",
  role: "viewer",
  words: ["agent"],
  options: { tenant: anyTenant },
  run(words, context) {
    const value = describe(agentOf(words.rest[0] ?? "", words, context), context);
    const lines = Object.entries(value).map(([name, field]) => {
      return `${name.padEnd(18)}${Array.isArray(field) ? field.join(", ") || "-" : field}`;
    });
    return { value, text: lines.join("\n") };
  },
};

function changeOf(words: CommandWords): NodeChange {
  const text = (name: string) => words.text(name);
  const [mode, stage, trust] = [text("mode"), text("stage"), text("trust")];
  const groups = words.texts("group");
  const change: NodeChange = {
    ...(mode === undefined ? {} : { mode: oneOf("--mode", mode, MODES) }),
    ...(stage === undefined ? {} : { stage: oneOf("--stage", stage, STAGES) }),
    ...(trust === undefined ? {} : { trustLevel: wholeNumber("--trust", trust, 0, 100) }),
    ...(groups.length === 0 ? {} : { groups: namesOf("group", groups, GROUPS_MAX) }),
  };
  if (Object.keys(change).length > 0) return change;
  throw optionWrong("Nothing is to be set.", "Give --mode, --stage, --group or --trust.");
}

const set: AdminCommand = {
  name: "agents set",
  description: "change mode, stage, groups or trust level of one agent (--agent) or all (--all)",
  role: "operator",
  words: [],
  options: {
    agent: { type: "string", multiple: true, description: "name or node id" },
    all: { type: "boolean", description: "every agent, of --tenant if it is given" },
    tenant: { type: "string", description: "of this tenant only" },
    mode: { type: "string", description: MODES.join(" or ") },
    stage: { type: "string", description: STAGES.join(", ") },
    group: { type: "string", multiple: true, description: "its groups from now on" },
    trust: { type: "string", description: "trust level, 0 to 100" },
  },
  run(words, context) {
    const { state } = context;
    const change = changeOf(words);
    const names = words.texts("agent");
    if ((names.length === 0) === !words.flag("all")) {
      throw optionWrong("Which agents?", "Give --agent NAME, or --all, not both.");
    }
    const tenant = words.text("tenant");
    if (tenant !== undefined) state.tenants.need(tenant);
    const nodes = words.flag("all")
      ? state.nodes.list(tenant).filter((node) => node.state === "enrolled")
      : names.map((name) => agentOf(name, words, context));
    state.transaction(() => {
      for (const { nodeId } of nodes) state.nodes.change(nodeId, change);
      for (const name of new Set(nodes.map((node) => node.tenant))) state.tenants.countUp(name);
    });
    for (const name of new Set(nodes.map((node) => node.tenant))) context.ledgers.reconcile(name);
    return { value: { changed: nodes.length }, text: `${nodes.length} changed` };
  },
};

const revoke: AdminCommand = {
  name: "agents revoke",
  description: "for good: its connections end, and no other agent speaks with it any more",
  role: "operator",
  words: ["agent"],
  options: {
    tenant: anyTenant,
    reason: { type: "string", default: "by an administrator", description: "for the record" },
  },
  run(words, context) {
    const { state, cutAgent } = context;
    const { nodeId, tenant, name, state: was } = agentOf(words.rest[0] ?? "", words, context);
    if (was !== "revoked") {
      state.transaction(() => {
        state.nodes.revoke(nodeId, words.text("reason") ?? "", state.now());
        state.tenants.countUp(tenant);
      });
      cutAgent(nodeId);
      context.ledgers.reconcile(tenant);
    }
    return { value: { revoked: nodeId }, text: `${name} of ${tenant} is revoked (${nodeId})` };
  },
};

export const AGENT_COMMANDS = [list, show, set, revoke];
