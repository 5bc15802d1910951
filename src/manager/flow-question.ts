/** A flow that an agent reported, as the questions that both its ends ask of the policy. */
import type { PolicyQuestion } from "../policy/explain.ts";
import { type ObservedFlow, POLICY_REASONS } from "../policy/observed-flows.ts";
import { protocolNumber } from "../store/network-values.ts";
import { parseAddress } from "../wire/ip-text.ts";
import type { MappedNode } from "./mapping-service.ts";
import type { ReportedFlow } from "./reported-flows.ts";

/** One end: whose policy is asked what. */
export type AskedFlow = { readonly node: MappedNode; readonly observed: ObservedFlow };

/** @returns nothing for what no policy decides, or an agent that is gone */
export function ownQuestion(flow: ReportedFlow, nodes: readonly MappedNode[]): AskedFlow[] {
  const node = nodes.find(({ name }) => name === flow.agent);
  const isPolicys = flow.verdict === "allowed" || POLICY_REASONS.includes(flow.reason);
  const address = parseAddress(flow.address);
  const protocol = protocolNumber(flow.protocol);
  if (!isPolicys || node === undefined || address === undefined) return [];
  if (protocol === undefined) return [];
  const peer = nodes.find(({ name }) => name === flow.peer)?.name;
  const app = flow.app === "" ? undefined : flow.app;
  const { direction, port } = flow;
  return [asked(node, flow, { direction, peer, address, protocol, port, app })];
}

/** Those of the agent at the other end as well. */
export function bothQuestions(flow: ReportedFlow, nodes: readonly MappedNode[]): AskedFlow[] {
  const own = ownQuestion(flow, nodes);
  return own.flatMap((first) => {
    const { node, observed } = first;
    const other = nodes.find(({ name }) => name === observed.question.peer);
    const address = parseAddress(node.addresses[0] ?? "");
    if (other === undefined || address === undefined) return [first];
    const direction = observed.question.direction === "in" ? "out" : "in";
    const question = { ...observed.question, direction, peer: node.name, address } as const;
    return [first, asked(other, flow, question)];
  });
}

function asked(node: MappedNode, flow: ReportedFlow, question: PolicyQuestion): AskedFlow {
  const [first, last] = [flow.first, flow.last].map((at) => new Date(at * 1000).toISOString());
  const wasAllowed = flow.verdict === "allowed";
  const { count } = flow;
  return { node, observed: { question, wasAllowed, count, first: first ?? "", last: last ?? "" } };
}
