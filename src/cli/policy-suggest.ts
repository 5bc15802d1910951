/**
 * `abs policy suggest`: allow rules for the flows of an agent's event logs that its policy denies,
 * as YAML to look at and paste. docs/policy.md. It suggests what was seen, not what is right.
 */
import { defineCommand } from "citty";
import { PolicyAnswers } from "../policy/question.ts";
import { type Suggestions, suggest } from "../policy/suggest.ts";
import { isJsonOutput, outputArgument } from "./options.ts";
import { agentPolicy, observedFlows, remarks } from "./policy-files.ts";

export const policySuggest = defineCommand({
  meta: { name: "suggest", description: "allow rules for past flows that the policy denies" },
  args: {
    config: { type: "string", required: true, description: "provisioning file of the agent" },
    output: outputArgument,
  },
  async run({ args }) {
    const json = isJsonOutput(args.output);
    const { policy, names } = agentPolicy(args.config);
    const observed = await observedFlows(args._, names);
    const answers = new PolicyAnswers(policy, names);
    const taken = new Set(policy.rules.map(({ id }) => id));
    const found = suggest(observed.flows.values(), answers, taken);
    const text = json
      ? JSON.stringify({ ...found, log: observed.counts })
      : [...suggestionLines(found), ...remarks(observed).map((words) => `# ${words}`)].join("\n");
    process.stdout.write(`${text}\n`);
  },
});

/** YAML: a rule a line, with why; flow mappings in JSON are YAML. */
export function suggestionLines({ suggestions, unknownApp, deniedByRule }: Suggestions): string[] {
  const lines = suggestions.map(({ rule, flows, decisions, last }) => {
    const fields = Object.entries(rule).map(([name, value]) => `${name}: ${flowStyle(value)}`);
    const when = last === "" ? "" : `, last ${last}`;
    return `  - { ${fields.join(", ")} } # ${flows} flows, decided ${decisions} times${when}`;
  });
  return [
    ...(lines.length === 0 ? ["# Nothing that a rule could allow was denied."] : ["rules:"]),
    ...lines,
    ...(deniedByRule === 0 ? [] : [`# ${deniedByRule} flows are denied by a rule of the policy.`]),
    ...(unknownApp === 0 ? [] : [`# ${unknownApp} denied flows need a signature first.`]),
  ];
}

function flowStyle(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(flowStyle).join(", ")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const fields = Object.entries(value).map(([name, field]) => `${name}: ${flowStyle(field)}`);
  return `{ ${fields.join(", ")} }`;
}
