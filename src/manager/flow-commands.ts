/** Commands about flows that agents report, and what a policy says of them. docs/manager.md. */
import { Type } from "typebox";
import * as answers from "../answers/flows.ts";
import { FLOW_DIRECTIONS, FLOW_VERDICTS } from "../channel/flow-report.ts";
import { AbsError } from "../errors.ts";
import { explainPolicy, type PolicyQuestion } from "../policy/explain.ts";
import { PolicyAnswers } from "../policy/question.ts";
import { parsePolicy } from "../policy/schema.ts";
import { protocolNumber } from "../store/network-values.ts";
import { parseAddress } from "../wire/ip-text.ts";
import { adminCommand } from "./admin-command.ts";
import { agentOf } from "./agent-commands.ts";
import { choice, documentText, named, reference, tenantName, whole } from "./command-schemas.ts";
import { optionWrong, tableText, timeText } from "./command-values.ts";
import { replayFlows } from "./flow-replay.ts";
import { suggestRules } from "./flow-suggestion.ts";
import type { MappedNode } from "./mapping-service.ts";
import { policyNamesOf } from "./policy-check.ts";

const PORT_MAX = 0xffff;
const FLOWS_MAX = 10_000;

const list = adminCommand({
  name: "flows list",
  description: "what agents have decided on flows, by question; what was seen last comes first",
  role: "viewer",
  http: { method: "GET", path: "/tenants/{tenant}/flows" },
  input: {
    tenant: tenantName,
    verdict: Type.Optional(choice(FLOW_VERDICTS)),
    agent: Type.Optional(reference("name of the agent at either end")),
    count: whole(1, FLOWS_MAX, "how many", 1000),
  },
  answer: answers.flowRows,
  run({ tenant, verdict, agent, count }, { state, flows }) {
    state.tenants.need(tenant);
    const rows = flows
      .list(tenant)
      .filter((flow) => verdict === undefined || flow.verdict === verdict)
      .filter((flow) => agent === undefined || flow.agent === agent || flow.peer === agent)
      .slice(0, count)
      .map(({ first, last, ...flow }) => {
        return { ...flow, first: timeText(first), last: timeText(last) };
      });
    const shown = rows.map(({ first: _, ...row }) => row);
    return { value: rows, text: tableText(shown) };
  },
});

const explain = adminCommand({
  name: "policy explain",
  description: "what an agent's policy decides about a flow, and each rule considered",
  role: "viewer",
  http: { method: "GET", path: "/tenants/{tenant}/policy/explanation" },
  input: {
    tenant: tenantName,
    agent: reference("whose decision it is"),
    direction: choice(FLOW_DIRECTIONS),
    other: reference("the other end: name of an agent, or an address"),
    protocol: named("tcp, udp, icmp, … or a number"),
    port: whole(0, PORT_MAX, "of who answers", 0),
    app: Type.Optional(reference("application that is proven; without it, before one is")),
  },
  answer: answers.explanation,
  run({ tenant, agent, ...words }, context) {
    const node = agentOf(agent, tenant, context);
    const { version, body } = context.state.tenants.policy(tenant);
    const policy = parsePolicy(body, "policy");
    const nodes = context.state.nodes.enrolled(tenant);
    const names = policyNamesOf(context.state, tenant, nodes)(node);
    const question = questionOf(nodes, words);
    const { considered } = explainPolicy(policy, names, question);
    const answer = new PolicyAnswers(policy, names).answer(question);
    const lines = considered.map(
      ({ rule, applies, why }) => `${applies ? "✔" : "-"} ${rule}  ${why}`,
    );
    const text = [`${answer.action} by ${answer.rule} (stage ${answer.stage})`, ...lines];
    return { value: { version, ...answer, considered }, text: text.join("\n") };
  },
});

type QuestionWords = {
  readonly direction: PolicyQuestion["direction"];
  readonly other: string;
  readonly protocol: string;
  readonly port: number;
  readonly app?: string;
};

function questionOf(
  nodes: readonly MappedNode[],
  { direction, other, protocol: words, port, app }: QuestionWords,
): PolicyQuestion {
  const peer = nodes.find(({ name, addresses }) => name === other || addresses.includes(other));
  const address = parseAddress(peer === undefined ? other : (peer.addresses[0] ?? ""));
  if (address === undefined) {
    const remedy = "`abs manager agents list` names them; or give an address.";
    throw new AbsError("AGENT_ABSENT", `There is no agent or address ${other}.`, remedy);
  }
  const protocol = protocolNumber(words);
  if (protocol === undefined)
    throw optionWrong(`${words} is no protocol.`, "Write tcp, udp, … or 0 to 255.");
  return { direction, peer: peer?.name, address, protocol, port, app };
}

const suggestion = adminCommand({
  name: "policy suggest",
  description: "rules that allow what was refused, at both ends; they are shown, not applied",
  role: "viewer",
  http: { method: "GET", path: "/tenants/{tenant}/policy/suggestion" },
  input: { tenant: tenantName, flow: Type.Optional(reference("id of this one; without it, all")) },
  answer: answers.suggestion,
  run({ tenant, flow }, { state, flows }) {
    state.tenants.need(tenant);
    const refused = flows.list(tenant).filter(({ verdict }) => verdict !== "allowed");
    const wanted = flow === undefined ? refused : refused.filter(({ id }) => id === flow);
    if (flow !== undefined && wanted.length === 0) {
      const remedy = "`abs manager flows list` shows what is known since the manager started.";
      throw new AbsError("FLOW_ABSENT", `No refused flow ${flow} is known.`, remedy);
    }
    const value = suggestRules(state, tenant, wanted);
    return { value, text: value.document.trimEnd() };
  },
});

const replay = adminCommand({
  name: "policy replay",
  description: "what a policy on standard input would do with the flows that agents reported",
  role: "operator",
  standardInput: { property: "document", mediaType: "application/yaml" },
  http: { method: "POST", path: "/tenants/{tenant}/policy/replay" },
  input: { tenant: tenantName, document: documentText("the policy to try") },
  answer: answers.replay,
  run({ tenant, document }, { state, flows }) {
    state.tenants.need(tenant);
    const value = replayFlows(state, tenant, { document, flows: flows.list(tenant) });
    return { value, text: tableText(value.changed) };
  },
});

export const FLOW_COMMANDS = [list, explain, suggestion, replay];
