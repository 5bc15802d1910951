/**
 * `abs policy show`: the policy of this VM; `--effective`: what it enforces, each rule with who
 * made it, with the defaults and the exceptions that pass without a rule. docs/policy.md "Asking
 * it".
 */
import { defineCommand } from "citty";
import { partDigestsOf } from "../agent/part-digests.ts";
import { loadProvisioning, type Provisioning, policyNames } from "../agent/provisioning.ts";
import type { RuleHits } from "../agent/rule-hits.ts";
import { readRuleHits, readStatus } from "../agent/status-server.ts";
import { AbsError } from "../errors.ts";
import { appliesHere, remoteOf } from "../policy/compile.ts";
import { isLocal } from "../policy/local-rules.ts";
import type { Party, PolicyRule } from "../policy/policy.ts";
import { shadowedRules, shadowedWords } from "../policy/shadowed.ts";
import { protocolWord } from "../store/network-values.ts";
import { formatAddress } from "../wire/ip-text.ts";
import { isJsonOutput, outputArgument, printResult, tableText } from "./options.ts";
import { configArgument, stateArgument, storedPolicy } from "./policy-files.ts";

export const policyShow = defineCommand({
  meta: { name: "show", description: "the policy of this VM, as written or as it is enforced" },
  args: {
    effective: {
      type: "boolean",
      default: false,
      description: "every rule that can decide here, with who made it, defaults and exceptions",
    },
    config: configArgument,
    state: stateArgument,
    output: outputArgument,
  },
  async run({ args }) {
    const isJson = isJsonOutput(args.output);
    const provisioning = loadProvisioning(args.config);
    if (!args.effective) {
      const { body, local } = storedPolicy(provisioning);
      const mine = local === undefined ? "" : `\n# Local rules\n${local.body.trimEnd()}\n`;
      const value = { manager: body, local: local?.body ?? null };
      printResult(isJson, value, `# The manager's\n${body.trimEnd()}\n${mine}`.trimEnd());
      return;
    }
    const running = await runningAgent(provisioning, args.state);
    const effective = effectiveOf(provisioning, running?.hits);
    const enforced = running?.isEnforced ?? null;
    printResult(isJson, { ...effective, enforced }, effectiveText(effective, enforced));
  },
});

type Effective = ReturnType<typeof effectiveOf>;

/** @param hits of the running agent */
function effectiveOf(provisioning: Provisioning, hits?: Readonly<Record<string, RuleHits>>) {
  const { node, policy, pmdb } = provisioning;
  const owner = pmdb === undefined ? "file" : "manager";
  const { defaults } = policy;
  const names = policyNames(provisioning);
  const stage = node.stage ?? defaults.stage;
  const rules = policy.rules
    .filter((rule) => appliesHere(rule, names))
    .map((rule) => ({
      rule: rule.id,
      origin: isLocal(rule) ? "local" : owner,
      ...{ direction: rule.direction, action: rule.action, stage: rule.stage ?? stage },
      app: rule.app ?? "any",
      ...{ other: partyWords(remoteOf(rule)), to: portWords(rule) },
      ...hitWords(hits, rule.id),
    }));
  const named = new Set(rules.map(({ rule }) => rule));
  const others = Object.keys(hits ?? {}).filter((rule) => !named.has(rule));
  const { inbound, outbound, nonInterVm, refuse, exceptions } = defaults;
  return {
    ...{ node: node.id, mode: node.mode, stage, rules },
    decided_otherwise: others.map((rule) => ({ rule, ...hitWords(hits, rule) })),
    elsewhere: policy.rules.length - rules.length,
    defaults: { inbound, outbound, nonInterVm, refuse, midstream: defaults.midstream.action },
    exceptions: exceptions.map((name) => `builtin-${name}`),
    warnings: shadowedRules(policy, names).map(shadowedWords),
  };
}

function partyWords(party: Party): string {
  if (party.kind === "any") return "any";
  if (party.kind !== "cidr") return `${party.kind} ${party.names.join(", ")}`;
  const ranges = party.ranges.map(({ version, low, high }) => {
    const [from, to] = [low, high].map((words) => formatAddress({ version, words }));
    return from === to ? from : `${from}-${to}`;
  });
  return ranges.join(", ");
}

function portWords({ protocols, ports }: PolicyRule): string {
  const names = protocols?.map(protocolWord);
  const numbers = ports?.map(({ low, high }) => (low === high ? low : `${low}-${high}`));
  return [names?.join(", ") ?? "any", ...(numbers === undefined ? [] : [numbers.join(", ")])].join(
    " ",
  );
}

/** How often it has decided since the agent started; nothing where none runs. */
function hitWords(hits: Readonly<Record<string, RuleHits>> | undefined, rule: string) {
  if (hits === undefined) return {};
  const { allowed = 0, refused = 0, "would-refuse": would_refuse = 0, last_ms } = hits[rule] ?? {};
  const last = last_ms === undefined ? "-" : new Date(last_ms).toISOString();
  return { allowed, refused, would_refuse, last };
}

type RunningAgent = {
  /** This policy, not another. */
  readonly isEnforced: boolean;
  readonly hits: Readonly<Record<string, RuleHits>>;
};

/** Undefined: none runs. */
async function runningAgent(
  provisioning: Provisioning,
  stateDir: string,
): Promise<RunningAgent | undefined> {
  try {
    const [status, hits] = await Promise.all([readStatus(stateDir), readRuleHits(stateDir)]);
    const { enforced } = status as {
      readonly enforced?: { readonly versions?: { readonly policy?: string } };
    };
    const isEnforced = enforced?.versions?.policy === partDigestsOf(provisioning).policy.whole;
    return { isEnforced, hits };
  } catch (thrown) {
    if (thrown instanceof AbsError && thrown.code === "AGENT_NOT_RUNNING") return undefined;
    throw thrown;
  }
}

function effectiveText(
  { node, mode, stage, rules, decided_otherwise: others, elsewhere, ...rest }: Effective,
  enforced: boolean | null,
): string {
  const words = {
    true: "the running agent enforces it",
    false: "the running agent enforces another: `abs agent reload`",
    null: "no agent runs",
  }[String(enforced) as "true" | "false" | "null"];
  const { defaults, exceptions, warnings } = rest;
  const lines = [
    `${node}, mode ${mode}, stage ${stage}: ${words}.`,
    "",
    tableText(rules),
    ...(elsewhere === 0 ? [] : [`${elsewhere} rules are about other VMs.`]),
    "",
    `then      ${Object.entries(defaults)
      .map(([name, value]) => `${name} ${value}`)
      .join(", ")}`,
    `passes    ${exceptions.join(", ") || "nothing without a rule"}`,
    ...(others.length === 0 ? [] : ["", "By none of these rules:", tableText(others)]),
    ...(warnings.length === 0 ? [] : ["", ...warnings.map((words) => `warning: ${words}`)]),
  ];
  return lines.join("\n");
}
