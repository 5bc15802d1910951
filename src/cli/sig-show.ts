/** `abs sig show NAME`: every field of the signatures of that id or application. */
import { defineCommand } from "citty";
import { AbsError } from "../errors.ts";
import { fieldsOf } from "../sig/signature-words.ts";
import { outputArgument, print, signaturesOf } from "./sig-output.ts";

export const sigShowCommand = defineCommand({
  meta: {
    name: "show",
    description:
      "every field. Examples: `abs sig show mysql`; `abs sig show app1 --file app1.json`",
  },
  args: {
    name: { type: "positional", required: true, description: "sig_id or app_name" },
    file: { type: "string", default: "library", description: "file; default: the library" },
    ...outputArgument,
  },
  run({ args }) {
    const all = signaturesOf(args.file);
    const found = all.filter(({ id, app }) => id === args.name || app === args.name);
    if (found.length === 0) {
      const message = `${args.file} has no signature or application "${args.name}".`;
      throw new AbsError("SIGNATURE_UNKNOWN", message, "`abs sig list` shows what there is.");
    }
    const fields = found.map(fieldsOf);
    print(args.output, fields, () => `${fields.map(blockText).join("\n\n")}\n`);
  },
});

function blockText(fields: Record<string, string>): string {
  const width = Math.max(...Object.keys(fields).map(({ length }) => length));
  return Object.entries(fields)
    .map(([name, value]) => `${name.padEnd(width)}  ${value}`)
    .join("\n");
}
