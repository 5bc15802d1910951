/** Commands about agents' keys. docs/manager.md "Keys". */
import { Type } from "typebox";
import { type KeyRow, keyRows, keysRotated } from "../answers/keys.ts";
import { KEY_KINDS, type KeyKind } from "../channel/renewal-messages.ts";
import { fingerprintOf, publicLineOf } from "../ssh/ssh-keys.ts";
import type { EpochSeconds } from "../units.ts";
import { adminCommand, type CommandContext } from "./admin-command.ts";
import { agentOf } from "./agent-commands.ts";
import { choice, flag, named, references } from "./command-schemas.ts";
import { optionWrong, tableText, timeText } from "./command-values.ts";
import { sinceOf } from "./key-renewal.ts";
import type { MappedNode } from "./mapping-service.ts";
import type { Renewal } from "./renewals.ts";

const ofTenant = Type.Optional(named("of this tenant only"));

const list = adminCommand({
  name: "keys list",
  description: "agents' keys and certificates: since when, until when, and what is under way",
  role: "viewer",
  http: { method: "GET", path: "/keys" },
  input: { tenant: ofTenant },
  answer: keyRows,
  run({ tenant }, { state }) {
    if (tenant !== undefined) state.tenants.need(tenant);
    const renewals = new Map(state.renewals.list(tenant).map((one) => [one.nodeId, one]));
    const nodes = state.nodes.enrolled(tenant);
    const rows = nodes.map((node) => {
      const { notBefore, notAfter, sshPub } = state.certificateOf(node).certificate;
      return {
        ...{ tenant: node.tenant, name: node.name, renewals: node.seq },
        ssh_key: fingerprintOf(Uint8Array.fromHex(sshPub)),
        ...{ since: timeText(notBefore), until: timeText(notAfter) },
        ...{ ssh_since: sinceText(node, "ssh"), ledger_since: sinceText(node, "ledger") },
        ...{ session_since: sinceText(node, "session"), session_keys: node.sessionOld ? 2 : 1 },
        renewal: stepOf(renewals.get(node.nodeId)),
        node: node.nodeId,
      };
    });
    return { value: rows, text: tableText(rows) };
  },
});

function sinceText(node: MappedNode, kind: KeyKind): string {
  return timeText(sinceOf(node, kind) as EpochSeconds);
}

function stepOf(renewal: Renewal | undefined): KeyRow["renewal"] {
  if (renewal === undefined) return "-";
  if (renewal.agreement !== undefined) return "waits for the ledger";
  return renewal.certificate === undefined ? "waits for the agent" : "certified";
}

const rotate = adminCommand({
  name: "keys rotate",
  description:
    "agents get new keys and certificates, as soon as they are connected; --host: the manager",
  role: "operator",
  http: { method: "POST", path: "/keys/rotate" },
  input: {
    agent: Type.Optional(references("names or node ids")),
    kind: Type.Optional(choice([...KEY_KINDS, "all"], { fallback: "ssh" })),
    host: Type.Optional(flag("the manager's own host key, at once")),
    all: Type.Optional(flag("all agents, or all of the tenant")),
    tenant: ofTenant,
  },
  answer: keysRotated,
  run(input, context) {
    const { state } = context;
    if (input.host === true) return rotateHost(input, context);
    const nodes = nodesOf(input, context);
    const { kind = "ssh" } = input;
    const kinds = kind === "all" ? KEY_KINDS : [kind];
    const asked = state.transaction(() => {
      const fresh = nodes.filter(({ nodeId }) => state.renewals.ask(nodeId, kinds, state.now()));
      for (const tenant of new Set(nodes.map((node) => node.tenant))) state.tenants.countUp(tenant);
      return fresh;
    });
    const value = { asked: asked.map(({ nodeId }) => nodeId), under_way: nodes.length };
    return { value, text: `${asked.length} asked; \`keys list\` shows how far they are` };
  },
});

/** Agents know the new one by the manager's word; administrators' ssh has to be told. */
function rotateHost(
  { agent = [], all }: { readonly agent?: readonly string[]; readonly all?: boolean },
  { state, rotateHostKey }: CommandContext,
) {
  if (agent.length > 0 || all === true) {
    throw optionWrong("--host is the manager's key alone.", "Leave --agent and --all out.");
  }
  rotateHostKey();
  const { place, hostKey } = state.manager;
  const fingerprint = fingerprintOf(hostKey.publicKey);
  const line = `[${place.host}]:${place.port} ${publicLineOf(hostKey.publicKey, "")}`;
  const note = "Give administrators the line for their known_hosts; agents need nothing.";
  return { value: { host_key: fingerprint, known_hosts: line }, text: line, note };
}

function nodesOf(
  input: { readonly agent?: readonly string[]; readonly all?: boolean; readonly tenant?: string },
  context: CommandContext,
): MappedNode[] {
  const { agent: agents = [], all = false, tenant } = input;
  if (all === agents.length > 0) {
    throw optionWrong("Whose keys?", "Name agents with --agent, or say --all.");
  }
  if (tenant !== undefined) context.state.tenants.need(tenant);
  if (!all) return agents.map((name) => agentOf(name, tenant, context));
  return context.state.nodes.enrolled(tenant);
}

export const KEY_COMMANDS = [list, rotate];
