/**
 * `abs policy replay`: what a draft policy would do with the flows of an agent's event logs,
 * against the policy it has. docs/policy.md. Reads files alone; exit 0 whatever changes, 1 for a
 * draft that is none.
 */
import { defineCommand } from "citty";
import type { PolicyQuestion } from "../policy/explain.ts";
import { PolicyAnswers } from "../policy/question.ts";
import { type Replay, type ReplayedFlow, replay } from "../policy/replay.ts";
import { loadPolicy } from "../policy/schema.ts";
import { protocolWord } from "../store/network-values.ts";
import { formatAddress } from "../wire/ip-text.ts";
import { isJsonOutput, outputArgument } from "./options.ts";
import { agentPolicy, observedFlows, remarks } from "./policy-files.ts";

/** Changes that are printed as text; JSON has all. */
const CHANGES_MAX = 50;

export const policyReplay = defineCommand({
  meta: { name: "replay", description: "what a draft policy would change about past flows" },
  args: {
    config: { type: "string", required: true, description: "provisioning file of the agent" },
    draft: { type: "string", required: true, description: "policy file to try" },
    output: outputArgument,
  },
  async run({ args }) {
    const json = isJsonOutput(args.output);
    const { policy, names } = agentPolicy(args.config);
    const draft = new PolicyAnswers(loadPolicy(args.draft), names);
    const observed = await observedFlows(args._, names);
    const found = replay(observed.flows.values(), new PolicyAnswers(policy, names), draft);
    const text = json
      ? JSON.stringify({ ...replayJson(found), log: observed.counts })
      : [...replayText(found), ...remarks(observed)].join("\n");
    process.stdout.write(`${text}\n`);
  },
});

/** The flow in a few words, as rules name it. */
export function questionWords(question: PolicyQuestion): string {
  const { direction, peer, address, protocol, port, app } = question;
  const other = peer ?? formatAddress(address);
  const what = `${protocolWord(protocol)}${port === 0 ? "" : ` ${port}`}`;
  const arrow = direction === "in" ? "from" : "to";
  return `${direction} ${arrow} ${other} ${what}${app === undefined ? "" : ` ${app}`}`;
}

export function replayText({ flows, same, changed, otherRule }: Replay): string[] {
  const lines = changed
    .slice(0, CHANGES_MAX)
    .map(
      ({ question, count, now, draft }: ReplayedFlow) =>
        `  ${now.action} → ${draft.action}  ${questionWords(question)}  ` +
        `(${now.rule} → ${draft.rule}, decided ${count} times)`,
    );
  const more = changed.length - lines.length;
  return [
    `${flows} flows: ${changed.length} change, ${otherRule} by another rule, ${same} as before.`,
    ...lines,
    ...(more > 0 ? [`  and ${more} more; --output json has all`] : []),
  ];
}

export function replayJson({ changed, hits, ...counts }: Replay): object {
  return {
    ...counts,
    changed: changed.map(({ question, ...rest }) => ({
      ...question,
      address: formatAddress(question.address),
      ...rest,
    })),
    hits: Object.fromEntries(hits),
  };
}
