/** Commands about templates of policies, and rules made from them. docs/policy.md "Templates". */
import { Type } from "typebox";
import { policyChanged } from "../answers/policies.ts";
import { templateNamed, templateRows, templateShown } from "../answers/templates.ts";
import { AbsError } from "../errors.ts";
import { withoutRules, withRules } from "../policy/rule-insertion.ts";
import { rulesOf, type TemplateSettings } from "../policy/template.ts";
import { adminCommand, type CommandContext } from "./admin-command.ts";
import { documentText, named, reference, tenantName, text } from "./command-schemas.ts";
import { optionWrong, tableText, timeText } from "./command-values.ts";
import { distribute, dryRun, expectVersion } from "./policy-commands.ts";

const PATH = "/policy-templates";
const RULES_PATH = "/tenants/{tenant}/policy/uses";
const SETTINGS_MAX = 1024;
const SETTING = /^([a-z][a-z0-9_]*)=(.*)$/s;

const oneTemplate = { template: named("of the template") };

/** Before a rule's own id, and a point between them. */
const useName = Type.String({
  ...{ title: "name of a use", description: "comes before the rules' ids: web.in, web.out" },
  pattern: "^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$",
  "x-remedy": "Use up to 32 letters, digits, dashes and underscores.",
});

const list = adminCommand({
  name: "policy template list",
  description: "templates of policies, and what they want to be told",
  role: "viewer",
  http: { method: "GET", path: PATH },
  input: {},
  answer: templateRows,
  run(_, { state: { templates } }) {
    const rows = templates.list().map(({ name, author, madeAt }) => {
      const { description, parameters } = templates.parsed(name);
      return {
        ...{ template: name, parameters: parameters.map((one) => one.name).join(" ") },
        ...{
          by: author === "" ? "abs" : author,
          made: madeAt === undefined ? "-" : timeText(madeAt),
        },
        description,
      };
    });
    return { value: rows, text: tableText(rows) };
  },
});

const show = adminCommand({
  name: "policy template show",
  description: "a template as it was written",
  role: "viewer",
  words: ["template"],
  http: { method: "GET", path: `${PATH}/{template}` },
  input: { template: reference("of the template") },
  answer: templateShown,
  run({ template }, { state: { templates } }) {
    const { text: body } = templates.need(template);
    return { value: { template, body }, text: body.trimEnd() };
  },
});

const put = adminCommand({
  name: "policy template put",
  description: "keeps a template from standard input, in place of one of that name",
  role: "operator",
  words: ["template"],
  standardInput: { property: "document", mediaType: "application/yaml" },
  http: { method: "PUT", path: `${PATH}/{template}` },
  input: { ...oneTemplate, document: documentText("a template") },
  answer: templateNamed,
  run({ template, document }, { state, who }) {
    state.templates.put(template, document, { author: who, now: state.now() });
    return { value: { template }, text: `${template} is kept; rules made from it before stay` };
  },
});

const remove = adminCommand({
  name: "policy template remove",
  description: "forgets a template; rules that were made from it stay",
  role: "operator",
  words: ["template"],
  http: { method: "DELETE", path: `${PATH}/{template}` },
  input: oneTemplate,
  answer: templateNamed,
  run({ template }, { state }) {
    state.templates.remove(template);
    return { value: { template }, text: `${template} is forgotten` };
  },
});

const use = adminCommand({
  name: "policy use",
  description: "rules of a template, with your values, into the tenant's policy",
  role: "operator",
  words: ["template"],
  http: { method: "POST", path: RULES_PATH },
  input: {
    template: reference("of the template"),
    tenant: tenantName,
    as: Type.Optional(useName),
    set: Type.Optional(
      Type.Array(text("name=value of a parameter, or one more value of the one before"), {
        ...{ description: "name=value[,value…] of a parameter", maxItems: SETTINGS_MAX },
      }),
    ),
    dry_run: dryRun,
    expect_version: expectVersion,
  },
  answer: policyChanged,
  run({ template, tenant, as = template, set = [], dry_run, expect_version: expected }, context) {
    const { tenants, templates } = context.state;
    tenants.need(tenant);
    const rules = rulesOf(templates.parsed(template), as, settingsOf(set));
    const changed = withRules(tenants.policy(tenant).body, as, rules);
    return distribute({ tenant, text: changed, expected, isDry: dry_run === true }, context);
  },
});

/** Lists of commands are split at commas: what has no `=` is one more value of the one before. */
function settingsOf(words: readonly string[]): TemplateSettings {
  const settings = new Map<string, string[]>();
  let last: string[] | undefined;
  for (const word of words) {
    const [, name = "", value] = SETTING.exec(word) ?? [];
    if (value !== undefined) {
      last = settings.get(name) ?? [];
      settings.set(name, last);
    }
    if (last === undefined) {
      throw optionWrong(`--set ${word} is no setting.`, "Write name=value, or name=value,value.");
    }
    last.push(value ?? word);
  }
  return settings;
}

const unuse = adminCommand({
  name: "policy unuse",
  description: "takes the rules that `policy use` made out of the tenant's policy",
  role: "operator",
  words: ["as"],
  http: { method: "DELETE", path: `${RULES_PATH}/{as}` },
  input: { as: useName, tenant: tenantName, dry_run: dryRun, expect_version: expectVersion },
  answer: policyChanged,
  run({ as, tenant, dry_run, expect_version: expected }, context: CommandContext) {
    const { tenants } = context.state;
    tenants.need(tenant);
    const changed = withoutRules(tenants.policy(tenant).body, as);
    if (changed === undefined) {
      const what = `The policy of ${tenant} has no rules of ${as}.`;
      throw new AbsError("TEMPLATE_UNUSED", what, "`abs manager policy show` has all rules.");
    }
    return distribute({ tenant, text: changed, expected, isDry: dry_run === true }, context);
  },
});

export const TEMPLATE_COMMANDS = [list, show, put, remove, use, unuse];
