/**
 * `abs policy apply FILE`, on the VM: rules of its owner, which only deny, before those of the
 * manager. docs/policy.md "Local rules". They are checked as the agent would, kept in this VM's
 * PMdb, and put in force in a running agent; what that refuses is taken back.
 */
import { readFileSync } from "node:fs";
import { defineCommand } from "citty";
import { loadProvisioning, policyNames } from "../agent/provisioning.ts";
import { askReload, type ReloadAnswer } from "../agent/status-server.ts";
import { setLocalRules } from "../channel/pmdb-file.ts";
import { AbsError, messageOf } from "../errors.ts";
import { epochNow } from "../node/ledger-runner.ts";
import { compilePolicy } from "../policy/compile.ts";
import { isLocal, parseLocalRules, withLocalRules } from "../policy/local-rules.ts";
import { shadowedRules, shadowedWords } from "../policy/shadowed.ts";
import { isJsonOutput, outputArgument, printResult } from "./options.ts";
import { configArgument, requirePmdb, stateArgument, storedPolicy } from "./policy-files.ts";

const STANDARD_INPUT = 0;

export const policyApply = defineCommand({
  meta: {
    name: "apply",
    description:
      "rules of this VM's owner, which only deny, before those of the manager; they replace the " +
      "ones applied before (`rules: []` takes them away)",
  },
  args: {
    file: { type: "positional", required: true, description: "YAML or JSON, or - to read it" },
    config: configArgument,
    state: stateArgument,
    output: outputArgument,
  },
  async run({ args }) {
    const isJson = isJsonOutput(args.output);
    const text = textOf(args.file);
    const rules = parseLocalRules(text, args.file);
    const provisioning = loadProvisioning(args.config);
    const { file } = requirePmdb(provisioning);
    const before = storedPolicy(provisioning).local;
    const managers = provisioning.policy.rules.filter((rule) => !isLocal(rule));
    const policy = { ...provisioning.policy, rules: managers };
    const names = policyNames(provisioning);
    const whole = withLocalRules(policy, rules);
    compilePolicy(whole, names);
    setLocalRules(file, { body: text, appliedAt: epochNow() });
    const answer = await reload(args.state);
    if (answer?.state === "refused") {
      setLocalRules(file, before);
      const { code, message, remedy } = answer.error;
      throw new AbsError(code, `The running agent refuses: ${message}`, remedy);
    }
    // That these hide rules of the manager is what they are for.
    const shadowed = shadowedRules(whole, names).filter(({ rule }) => isLocal(rule));
    const warnings = shadowed.map(shadowedWords);
    const result = { rules: rules.map(({ id }) => id), enforced: answer !== undefined, warnings };
    const when = answer === undefined ? "in force at the agent's next start" : "in force";
    const lines = warnings.map((words) => `warning: ${words}`);
    printResult(isJson, result, [...lines, `${rules.length} local rules, ${when}.`].join("\n"));
  },
});

function textOf(file: string): string {
  try {
    return readFileSync(file === "-" ? STANDARD_INPUT : file, "utf8");
  } catch (cause) {
    const what = `${file} cannot be read: ${messageOf(cause)}.`;
    throw new AbsError("POLICY_UNREADABLE", what, "Check the path.", cause);
  }
}

/** Undefined: no agent runs. */
async function reload(stateDir: string): Promise<ReloadAnswer | undefined> {
  try {
    return await askReload(stateDir);
  } catch (thrown) {
    if (thrown instanceof AbsError && thrown.code === "AGENT_NOT_RUNNING") return undefined;
    throw thrown;
  }
}
