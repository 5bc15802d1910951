/** Commands about agents: the mapping service as an administrator sees it. docs/manager.md. */
import { type Static, type TObject, Type } from "typebox";
import {
  type AgentDescription,
  agentDescription,
  agentRevoked,
  agentRows,
  agentsChanged,
} from "../answers/agents.ts";
import { decodeSignedCertificate } from "../chain/identity-certificate.ts";
import { AbsError } from "../errors.ts";
import { adminCommand, type CommandContext } from "./admin-command.ts";
import {
  choice,
  flag,
  named,
  names,
  reference,
  references,
  sortedNames,
  text,
  whole,
} from "./command-schemas.ts";
import { optionWrong, tableText, timeText } from "./command-values.ts";
import { type MappedNode, MODES, type NodeChange, STAGES } from "./mapping-service.ts";

const GROUPS_MAX = 32;

/** By name within its tenant, or by node id anywhere. */
export function agentOf(
  name: string,
  tenant: string | undefined,
  { state }: Pick<CommandContext, "state">,
): MappedNode {
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

const oneAgent = {
  agent: reference("name or node id"),
  tenant: Type.Optional(named("name of the tenant, if several have it")),
};
const ofTenant = Type.Optional(named("of this tenant only"));

const list = adminCommand({
  name: "agents list",
  description: "all agents, or those of one tenant",
  role: "viewer",
  http: { method: "GET", path: "/agents" },
  input: { tenant: ofTenant, revoked: Type.Optional(flag("revoked ones too")) },
  answer: agentRows,
  run({ tenant, revoked }, { state }) {
    if (tenant !== undefined) state.tenants.need(tenant);
    const nodes = state.nodes
      .list(tenant)
      .filter((node) => revoked === true || node.state !== "revoked");
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
});

function describe(node: MappedNode, { state }: CommandContext): AgentDescription {
  const read = decodeSignedCertificate(node.certificate);
  const certificate = "signed" in read ? read.signed.certificate : undefined;
  return {
    ...{ node: node.nodeId, tenant: node.tenant, name: node.name, state: node.state },
    ...{ mode: node.mode, stage: node.stage, groups: node.groups, tags: node.tags },
    ...{
      addresses: node.addresses,
      macs: node.macs,
      carrier: node.carrier,
      peer_port: node.peerPort,
    },
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

const show = adminCommand({
  name: "agents show",
  description: "all that is known of one agent",
  role: "viewer",
  words: ["agent"],
  http: { method: "GET", path: "/agents/{agent}" },
  input: oneAgent,
  answer: agentDescription,
  run({ agent, tenant }, context) {
    const value = describe(agentOf(agent, tenant, context), context);
    const lines = Object.entries(value).map(([name, field]) => {
      return `${name.padEnd(18)}${Array.isArray(field) ? field.join(", ") || "-" : field}`;
    });
    return { value, text: lines.join("\n") };
  },
});

const changes = {
  mode: Type.Optional(choice(MODES)),
  stage: Type.Optional(choice(STAGES)),
  group: Type.Optional(names("its groups from now on", GROUPS_MAX)),
  trust: Type.Optional(whole(0, 100, "trust level, 0 to 100")),
};

function changeOf({ mode, stage, group = [], trust }: Static<TObject<typeof changes>>): NodeChange {
  const change: NodeChange = {
    ...(mode === undefined ? {} : { mode }),
    ...(stage === undefined ? {} : { stage }),
    ...(trust === undefined ? {} : { trustLevel: trust }),
    ...(group.length === 0 ? {} : { groups: sortedNames(group) }),
  };
  if (Object.keys(change).length > 0) return change;
  throw optionWrong("Nothing is to be set.", "Give --mode, --stage, --group or --trust.");
}

const set = adminCommand({
  name: "agents set",
  description: "change mode, stage, groups or trust level of one agent (--agent) or all (--all)",
  role: "operator",
  http: { method: "PATCH", path: "/agents" },
  input: {
    agent: Type.Optional(references("name or node id")),
    all: Type.Optional(flag("every agent, of --tenant if it is given")),
    tenant: ofTenant,
    ...changes,
  },
  answer: agentsChanged,
  run({ agent = [], all = false, tenant, ...asked }, context) {
    const { state } = context;
    const change = changeOf(asked);
    if ((agent.length === 0) === !all) {
      throw optionWrong("Which agents?", "Give --agent NAME, or --all, not both.");
    }
    if (tenant !== undefined) state.tenants.need(tenant);
    const nodes = all
      ? state.nodes.enrolled(tenant)
      : agent.map((name) => agentOf(name, tenant, context));
    state.transaction(() => {
      for (const { nodeId } of nodes) state.nodes.change(nodeId, change);
      for (const name of new Set(nodes.map((node) => node.tenant))) state.tenants.countUp(name);
    });
    for (const name of new Set(nodes.map((node) => node.tenant))) context.ledgers.reconcile(name);
    return { value: { changed: nodes.length }, text: `${nodes.length} changed` };
  },
});

const revoke = adminCommand({
  name: "agents revoke",
  description: "for good: its connections end, and no other agent speaks with it any more",
  role: "operator",
  words: ["agent"],
  http: { method: "POST", path: "/agents/{agent}/revoke" },
  input: { ...oneAgent, reason: text("for the record", "by an administrator") },
  answer: agentRevoked,
  run(input, context) {
    const { state, cutAgent } = context;
    const { nodeId, tenant, name, state: was } = agentOf(input.agent, input.tenant, context);
    if (was !== "revoked") {
      state.transaction(() => {
        state.nodes.revoke(nodeId, input.reason, state.now());
        state.tenants.countUp(tenant);
      });
      state.forget(nodeId);
      cutAgent(nodeId);
      context.ledgers.reconcile(tenant);
    }
    return { value: { revoked: nodeId }, text: `${name} of ${tenant} is revoked (${nodeId})` };
  },
});

export const AGENT_COMMANDS = [list, show, set, revoke];
