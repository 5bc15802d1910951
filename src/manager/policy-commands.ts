/** Commands about the policy of a tenant, and its versions. docs/manager.md "Policy". */
import { Type } from "typebox";
import {
  type PolicyChanged,
  policyChanged,
  policyDifference,
  policyShown,
  versionRows,
} from "../answers/policies.ts";
import { AbsError } from "../errors.ts";
import { type NamedText, policyPatch } from "../policy/policy-diff.ts";
import { adminCommand, type CommandAnswer, type CommandContext } from "./admin-command.ts";
import { documentText, flag, tenantName, version as versionNumber } from "./command-schemas.ts";
import { tableText, timeText, warningLines } from "./command-values.ts";
import { checkPolicy } from "./policy-check.ts";

const PATH = "/tenants/{tenant}/policy";
const WHAT = "the policy of all agents of a tenant";

type Change = {
  readonly tenant: string;
  readonly text: string;
  /** The newest version, as whoever changes it has seen it. */
  readonly expected: number | undefined;
  /** Checked and shown, and nothing is changed. */
  readonly isDry: boolean;
};

/** Checked as it is now: what was good once need not be so with today's agents. */
export function distribute(
  { tenant, text, expected, isDry }: Change,
  { state, who }: CommandContext,
): CommandAnswer<PolicyChanged> {
  return state.transaction(() => {
    const { version: newest, body } = state.tenants.policy(tenant);
    if (expected !== undefined && expected !== newest) throw moved(tenant, newest);
    const warnings = checkPolicy(state, tenant, text);
    if (isDry) {
      const before = { name: `version ${newest}`, text: body };
      const after = { name: "as it would be", text };
      return warned(warnings, patchAnswer({ tenant, from: newest, warnings }, before, after));
    }
    const version = state.tenants.addPolicy(tenant, text, { author: who, now: state.now() });
    const value = { tenant, version, warnings };
    return warned(warnings, { value, text: `version ${version}`, version });
  });
}

function warned<Value>(
  warnings: readonly string[],
  answer: CommandAnswer<Value>,
): CommandAnswer<Value> {
  return { ...answer, text: [...warningLines(warnings), answer.text].join("\n") };
}

function patchAnswer<Words extends object>(
  words: Words,
  before: NamedText,
  after: NamedText,
): CommandAnswer<Words & { readonly differs: boolean; readonly patch: string | null }> {
  const patch = policyPatch(before, after);
  const value = { ...words, differs: patch !== "", patch: patch ?? null };
  if (patch === undefined) return { value, text: "too much differs to be shown line by line" };
  return { value, text: patch === "" ? "no difference" : patch.trimEnd() };
}

function moved(tenant: string, newest: number): AbsError {
  const what = `The policy of ${tenant} is at version ${newest} by now.`;
  return new AbsError("VERSION_MOVED", what, "Look at what was changed, then apply yours anew.");
}

export const dryRun = Type.Optional(flag("check it, show what would change, change nothing"));

export const expectVersion = Type.Optional(
  versionNumber("only if this is the newest version; else nothing is changed"),
);

const apply = adminCommand({
  name: "policy apply",
  description: `${WHAT}, from standard input, checked for every agent`,
  role: "operator",
  standardInput: { property: "document", mediaType: "application/yaml" },
  http: { method: "PUT", path: PATH },
  input: {
    ...{ tenant: tenantName, document: documentText(WHAT) },
    ...{ dry_run: dryRun, expect_version: expectVersion },
  },
  answer: policyChanged,
  run({ tenant, document: text, dry_run, expect_version: expected }, context) {
    context.state.tenants.need(tenant);
    return distribute({ tenant, text, expected, isDry: dry_run === true }, context);
  },
});

const show = adminCommand({
  name: "policy show",
  description: `${WHAT}, as it was applied`,
  role: "viewer",
  http: { method: "GET", path: PATH },
  input: { tenant: tenantName, version: Type.Optional(versionNumber("of this version")) },
  answer: policyShown,
  run({ tenant, version: asked }, { state: { tenants } }) {
    tenants.need(tenant);
    const version = asked ?? tenants.policy(tenant).version;
    const body = tenants.policyAt(tenant, version);
    return { value: { tenant, version, body }, text: body.trimEnd(), version };
  },
});

const diff = adminCommand({
  name: "policy diff",
  description: `what differs between two versions of ${WHAT}`,
  role: "viewer",
  http: { method: "GET", path: `${PATH}/diff` },
  input: {
    tenant: tenantName,
    from: Type.Optional(versionNumber("from this version; the one before `to`, if absent")),
    to: Type.Optional(versionNumber("to this version; the newest, if absent")),
  },
  answer: policyDifference,
  run({ tenant, from, to }, { state: { tenants } }) {
    tenants.need(tenant);
    const newer = to ?? tenants.policy(tenant).version;
    const older = from ?? Math.max(1, newer - 1);
    const [before, after] = [older, newer].map((version) => {
      return { name: `version ${version}`, text: tenants.policyAt(tenant, version) };
    }) as [NamedText, NamedText];
    return patchAnswer({ tenant, from: older, to: newer }, before, after);
  },
});

const history = adminCommand({
  name: "policy history",
  description: `versions of ${WHAT}, newest first`,
  role: "viewer",
  http: { method: "GET", path: `${PATH}/versions` },
  input: { tenant: tenantName },
  answer: versionRows,
  run({ tenant }, { state: { tenants } }) {
    tenants.need(tenant);
    const rows = tenants
      .policyVersions(tenant)
      .map(({ version, author, madeAt }) => ({ version, author, made: timeText(madeAt) }));
    return { value: rows, text: tableText(rows) };
  },
});

const rollback = adminCommand({
  name: "policy rollback",
  description: "an earlier version again, as a new one",
  role: "operator",
  http: { method: "POST", path: `${PATH}/rollback` },
  input: {
    tenant: tenantName,
    version: versionNumber("of this version"),
    ...{ dry_run: dryRun, expect_version: expectVersion },
  },
  answer: policyChanged,
  run({ tenant, version, dry_run, expect_version: expected }, context) {
    context.state.tenants.need(tenant);
    const text = context.state.tenants.policyAt(tenant, version);
    return distribute({ tenant, text, expected, isDry: dry_run === true }, context);
  },
});

export const POLICY_COMMANDS = [apply, show, diff, history, rollback];
