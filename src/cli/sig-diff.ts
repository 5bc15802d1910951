/**
 * `abs sig diff BEFORE AFTER`: which signatures were added, removed or changed, field by field.
 * Either may be `library`. Exit 1 when they differ, as diff does.
 */
import { defineCommand } from "citty";
import { changesOf, type SignatureChange } from "../sig/signature-words.ts";
import { outputArgument, print, signaturesOf } from "./sig-output.ts";

export const sigDiffCommand = defineCommand({
  meta: {
    name: "diff",
    description:
      "what changed. Examples: `abs sig diff old.json new.json`; `abs sig diff library my.json`",
  },
  args: {
    before: { type: "positional", required: true, description: "file, or library" },
    after: { type: "positional", required: true, description: "file, or library" },
    ...outputArgument,
  },
  run({ args }) {
    const changes = changesOf(signaturesOf(args.before), signaturesOf(args.after));
    print(args.output, changes, () => changes.map(changeText).join(""));
    if (changes.length > 0) process.exitCode = 1;
  },
});

function changeText({ sig_id, change, fields }: SignatureChange): string {
  if (change !== "changed") return `${change === "added" ? "+" : "-"} ${sig_id}\n`;
  const lines = fields.map(
    ({ field, before = "", after = "" }) => `    ${field}: ${before} → ${after}\n`,
  );
  return `~ ${sig_id}\n${lines.join("")}`;
}
