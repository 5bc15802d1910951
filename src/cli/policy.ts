/**
 * `abs policy explain`: what the policy of one agent decides about a flow, and why; each rule that
 * was considered, in order. docs/policy.md. It reads the provisioning file alone: no agent is asked
 * and nothing changes. Exit 0 whatever the decision is. The decision is the data plane's own
 * (policy/question.ts), the reasons are policy/explain.ts. Beside it: policy-show.ts,
 * policy-apply.ts, policy-replay.ts, policy-suggest.ts.
 */
import { defineCommand } from "citty";
import { loadProvisioning, type Provisioning, policyNames } from "../agent/provisioning.ts";
import { AbsError } from "../errors.ts";
import { explainPolicy, type PolicyExplanation, type PolicyQuestion } from "../policy/explain.ts";
import { PolicyAnswers } from "../policy/question.ts";
import { protocolNumber } from "../store/network-values.ts";
import { formatAddress, parseAddress } from "../wire/ip-text.ts";
import { isJsonOutput, outputArgument } from "./options.ts";
import { policyApply } from "./policy-apply.ts";
import { configArgument } from "./policy-files.ts";
import { policyReplay } from "./policy-replay.ts";
import { policyShow } from "./policy-show.ts";
import { policySuggest } from "./policy-suggest.ts";

const PORT_MAX = 0xffff;

/** The flow in the words of the command line. */
export interface FlowWords {
  readonly from: string;
  readonly to: string;
  readonly protocol: string;
  readonly port: string;
  /** Undefined: before the application is known. */
  readonly app: string | undefined;
}

function invalid(message: string, remedy: string): never {
  throw new AbsError("OPTION_INVALID", message, remedy);
}

/** The question that the words ask of the agent of `provisioning`. */
export function questionOf(provisioning: Provisioning, words: FlowWords): PolicyQuestion {
  const own = provisioning.node.id;
  const isOutgoing = words.from === own;
  if (isOutgoing === (words.to === own)) {
    invalid(
      `One end of the flow must be ${own}, whose policy this is, and the other end another.`,
      `Write --from ${own} --to OTHER or --from OTHER --to ${own}; OTHER is an id or an address.`,
    );
  }
  const other = isOutgoing ? words.to : words.from;
  const address = parseAddress(other);
  const peer = provisioning.peers.find(({ id, addresses }) =>
    address === undefined
      ? id === other
      : addresses.some((known) => formatAddress(known) === formatAddress(address)),
  );
  const place = address ?? peer?.addresses[0];
  if (place === undefined) {
    const known = provisioning.peers.map(({ id }) => id).join(", ");
    invalid(
      `${other} is neither an address nor a peer.`,
      `Peers of this file: ${known || "none"}.`,
    );
  }
  return {
    direction: isOutgoing ? "out" : "in",
    peer: peer?.id,
    address: place,
    protocol: protocolOf(words.protocol),
    port: wholeNumber("port", words.port, PORT_MAX),
    app: appOf(provisioning, words.app),
  };
}

function protocolOf(text: string): number {
  return (
    protocolNumber(text) ??
    invalid(`--protocol ${text} is not known.`, "Write a number from 0 to 255, or tcp, …")
  );
}

function wholeNumber(name: string, text: string, high: number): number {
  if (/^\d{1,5}$/.test(text) && Number(text) <= high) return Number(text);
  return invalid(`--${name} ${text} is not known.`, `Write a number from 0 to ${high}.`);
}

function appOf({ tags }: Provisioning, app: string | undefined): string | undefined {
  if (app === undefined || tags.some(({ name }) => name === app)) return app;
  const known = tags.slice(1).map(({ name }) => name);
  return invalid(`${app} has no tag in this file.`, `Applications: ${known.join(", ") || "none"}.`);
}

/** The decision in one line, then the rules in the order they were asked. */
export function explanationText({ considered, ...decision }: PolicyExplanation): string {
  const { action, rule, stage, serverFirst } = decision;
  const greets = serverFirst ? ", the server may speak first" : "";
  const head = `${action} by ${rule} (stage ${stage}${greets})`;
  const width = Math.max(0, ...considered.map(({ rule: id }) => id.length));
  const lines = considered.map(
    ({ rule: id, applies, why }) => `  ${applies ? "✔" : "-"} ${id.padEnd(width)}  ${why}`,
  );
  return [head, ...lines].join("\n");
}

const explain = defineCommand({
  meta: { name: "explain", description: "what a flow would meet, and each rule considered" },
  args: {
    config: configArgument,
    from: { type: "string", required: true, description: "who begins: agent id or address" },
    to: { type: "string", required: true, description: "who answers: agent id or address" },
    port: { type: "string", default: "0", description: "port of who answers" },
    protocol: { type: "string", default: "tcp", description: "tcp, udp, icmp, … or a number" },
    app: { type: "string", description: "application; without it, before one is recognised" },
    output: outputArgument,
  },
  run({ args }) {
    const isJson = isJsonOutput(args.output);
    const provisioning = loadProvisioning(args.config);
    const { from, to, port, protocol, app } = args;
    const question = questionOf(provisioning, { from, to, port, protocol, app });
    const names = policyNames(provisioning);
    const told = explainPolicy(provisioning.policy, names, question);
    const answer = new PolicyAnswers(provisioning.policy, names).answer(question);
    const explanation = { ...answer, considered: told.considered };
    const text = isJson ? JSON.stringify(explanation, null, 2) : explanationText(explanation);
    process.stdout.write(`${text}\n`);
  },
});

export const policyCommand = defineCommand({
  meta: { name: "policy", description: "an agent's rules" },
  subCommands: {
    show: policyShow,
    apply: policyApply,
    explain,
    replay: policyReplay,
    suggest: policySuggest,
  },
});
