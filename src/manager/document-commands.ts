/** Commands about policy and signatures of a tenant, and their versions. docs/manager.md. */
import type { AdminCommand, CommandContext, CommandWords } from "./admin-command.ts";
import { tableText, timeText, wholeNumber } from "./command-values.ts";
import { checkPolicy, checkSignatures } from "./document-check.ts";
import { tenantOption } from "./tenant-commands.ts";
import type { DocumentKind } from "./tenants.ts";

const VERSION_MAX = 2 ** 31;

type Family = {
  readonly kind: DocumentKind;
  /** First word of the commands. */
  readonly word: string;
  readonly what: string;
};

const FAMILIES: readonly Family[] = [
  { kind: "policy", word: "policy", what: "the policy of all agents of a tenant" },
  { kind: "signatures", word: "sig", what: "the application signatures of a tenant" },
];

function tenantIn(words: CommandWords, { state }: CommandContext): string {
  return state.tenants.need(words.text("tenant") ?? "").name;
}

/** Checked as it is now: what was good once need not be so with today's agents. */
function distribute(kind: DocumentKind, tenant: string, text: string, context: CommandContext) {
  const { state, who } = context;
  const version = state.transaction(() => {
    let body = text;
    if (kind === "policy") checkPolicy(state, tenant, text);
    else {
      const checked = checkSignatures(text);
      state.tenants.needTags(tenant, checked.apps);
      body = checked.body;
    }
    return state.tenants.addDocument(tenant, kind, body, { author: who, now: state.now() });
  });
  return { value: { tenant, kind, version }, text: `version ${version}` };
}

function commandsOf({ kind, word, what }: Family): AdminCommand[] {
  const versionOption = { type: "string", description: "of this version" } as const;
  return [
    {
      name: `${word} apply`,
      description: `${what}, from standard input, checked for every agent`,
      role: "operator",
      words: [],
      options: { tenant: tenantOption },
      readsInput: true,
      run: (words, context) => distribute(kind, tenantIn(words, context), words.input, context),
    },
    {
      name: `${word} show`,
      description: `${what}, as it was applied`,
      role: "viewer",
      words: [],
      options: { tenant: tenantOption, version: versionOption },
      run(words, context) {
        const { tenants } = context.state;
        const tenant = tenantIn(words, context);
        const newest = tenants.document(tenant, kind).version;
        const asked = words.text("version");
        const version =
          asked === undefined ? newest : wholeNumber("--version", asked, 1, VERSION_MAX);
        const body = tenants.documentAt(tenant, kind, version);
        return { value: { tenant, version, body }, text: body.trimEnd() };
      },
    },
    {
      name: `${word} history`,
      description: `versions of ${what}, newest first`,
      role: "viewer",
      words: [],
      options: { tenant: tenantOption },
      run(words, context) {
        const tenant = tenantIn(words, context);
        const rows = context.state.tenants
          .documentVersions(tenant, kind)
          .map(({ version, author, madeAt }) => ({ version, author, made: timeText(madeAt) }));
        return { value: rows, text: tableText(rows) };
      },
    },
    {
      name: `${word} rollback`,
      description: "an earlier version again, as a new one",
      role: "operator",
      words: [],
      options: { tenant: tenantOption, version: { ...versionOption, required: true } },
      run(words, context) {
        const tenant = tenantIn(words, context);
        const version = wholeNumber("--version", words.text("version") ?? "", 1, VERSION_MAX);
        const body = context.state.tenants.documentAt(tenant, kind, version);
        return distribute(kind, tenant, body, context);
      },
    },
  ];
}

export const DOCUMENT_COMMANDS = FAMILIES.flatMap(commandsOf);
