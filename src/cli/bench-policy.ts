/**
 * `abs bench policy`: reads flags, calls src/bench/policy.ts, prints a table or, with `--output
 * json`, one JSON object. Progress goes to standard error.
 */
import { defineCommand } from "citty";
import { benchPolicy, NOISE_MAX, type PolicyBenchResult, RULES } from "../bench/policy.ts";
import { formatTable } from "../bench/table.ts";
import { notes } from "./notes.ts";
import { isJsonOutput, outputArgument, wholeNumberOf } from "./options.ts";

export const benchPolicyCommand = defineCommand({
  meta: { name: "policy", description: "a policy lookup with 10, 1,000 and 100,000 rules" },
  args: {
    output: outputArgument,
    turns: { type: "string", default: "15", description: "how often each case is measured" },
    lookups: { type: "string", default: "1000000", description: "lookups of one measurement" },
  },
  run({ args }) {
    const isJson = isJsonOutput(args.output);
    const result = benchPolicy({
      rules: RULES,
      turns: wholeNumberOf("--turns", args.turns, 1, 1_000),
      lookups: wholeNumberOf("--lookups", args.lookups, 1_000, 100_000_000),
      progress: (words) => notes.info(words),
    });
    if (result.too_noisy) {
      const { cached, new_flow } = result.noise;
      notes.warn(
        `Too noisy: 10 rules against themselves are ${cached} and ${new_flow} times apart, more ` +
          `than ${NOISE_MAX}. Run it again on an idle machine.`,
      );
    }
    process.stdout.write(isJson ? `${JSON.stringify(result, null, 2)}\n` : policyText(result));
  },
});

function policyText(result: PolicyBenchResult): string {
  const { rules, noise, cached_ratio, new_flow_ratio, turns, too_noisy } = result;
  const rows = Object.entries(rules).map(([count, { cached_ns, new_flow_ns }]) => [
    count,
    cached_ns.toFixed(1),
    new_flow_ns.toFixed(1),
  ]);
  return (
    formatTable(["rules", "cached ns", "new flow ns"], rows) +
    `100,000 rules to 10: cached ${cached_ratio}, new flow ${new_flow_ratio}; medians of ` +
    `${turns} turns. Noise (10 rules to 10): ${noise.cached}, ${noise.new_flow}` +
    `${too_noisy ? ": too noisy to say" : ""}.\n`
  );
}
