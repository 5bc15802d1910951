/**
 * `abs sig lint [FILE…]`: validates signatures, compiles them, tells overlaps and signatures that
 * can never match. Without a file: the built-in library. Exit 1 when there is an error.
 */
import { defineCommand } from "citty";
import { openShim } from "../dataplane/shim.ts";
import { librarySignatures } from "../dpi/library.ts";
import { type Finding, hasErrors, lint } from "../sig/lint.ts";
import { outputArgument, print } from "./sig-output.ts";

export const sigLintCommand = defineCommand({
  meta: {
    name: "lint",
    description:
      "check signatures. Examples: `abs sig lint app1.json`; `abs sig lint --library app1.json` " +
      "(also against the built-in ones); `abs sig lint` (the built-in ones alone)",
  },
  args: {
    file: { type: "positional", required: false, description: "JSON or YAML files of signatures" },
    library: { type: "boolean", default: false, description: "judge them beside the library" },
    overlaps: { type: "boolean", default: true, description: "tell which signatures overlap" },
    ...outputArgument,
  },
  run({ args }) {
    const library = args.library || args._.length === 0 ? librarySignatures() : [];
    const result = lint(openShim(), args._, library);
    const told = result.findings.filter(({ kind }) => args.overlaps || kind !== "overlap");
    const counts = `${result.signatures} signatures of ${result.apps} applications`;
    const failed = hasErrors(result.findings);
    print(args.output, { ...result, findings: told, ok: !failed }, () =>
      [...told.map(findingText), `${counts}: ${failed ? "errors" : "no errors"}\n`].join("\n"),
    );
    if (failed) process.exitCode = 1;
  },
});

function findingText({ level, message, remedy }: Finding): string {
  return `${level}: ${message}${remedy === "" ? "" : `\n  → ${remedy}`}`;
}
