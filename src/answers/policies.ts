/** Answers about the policy of a tenant, and its versions. */
import { type Static, Type } from "typebox";
import { count, flag, list, moment, said, tenantName, texts } from "./answer-values.ts";

const warnings = texts("what is allowed but probably not meant, in words");

/** What differs between two versions. */
const difference = {
  differs: flag("whether anything does"),
  patch: Type.Union([said("as `diff -u` shows it; empty: nothing differs"), Type.Null()], {
    description: "what differs; null: too much does, to be shown line by line",
  }),
};

export const policyShown = Type.Object({
  tenant: tenantName,
  version: count("of the policy, from 1"),
  body: said("the YAML document, as it was applied"),
});
export type Policy = Static<typeof policyShown>;

/** With `dry_run`: nothing was changed. */
const policyChecked = Type.Object(
  {
    tenant: tenantName,
    from: count("the newest version, which it is compared with"),
    warnings,
    ...difference,
  },
  { description: "with `dry_run`: what would change" },
);
export type Checked = Static<typeof policyChecked>;

const policyApplied = Type.Object(
  { tenant: tenantName, version: count("the new version"), warnings },
  { description: "without `dry_run`" },
);

/** Of every command that changes a policy. */
export const policyChanged = Type.Union([policyApplied, policyChecked]);
export type PolicyChanged = Static<typeof policyChanged>;

export const policyDifference = Type.Object({
  tenant: tenantName,
  from: count("the one version"),
  to: count("the other version"),
  ...difference,
});

const versionRow = Type.Object({
  version: count("of the policy, from 1"),
  author: said("who applied it"),
  made: moment("when it was applied"),
});
export type VersionRow = Static<typeof versionRow>;

export const versionRows = list(versionRow, "newest first");
