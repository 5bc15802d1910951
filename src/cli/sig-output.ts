/** What subcommands of `abs sig` share: `--output table|json`, and where signatures are from. */
import { librarySignatures } from "../dpi/library.ts";
import { loadSignatures } from "../dpi/schema.ts";
import type { AppSignature } from "../dpi/signature.ts";
import { AbsError } from "../errors.ts";

export const outputArgument = {
  output: { type: "string", default: "table", description: "table or json" },
} as const;

/** Prints `value` as JSON or `text`, as --output says. */
export function print(output: string, value: unknown, text: () => string): void {
  if (output !== "json" && output !== "table") {
    const message = `--output ${output} is not known.`;
    throw new AbsError("OPTION_INVALID", message, "Use table or json.");
  }
  process.stdout.write(output === "json" ? `${JSON.stringify(value, null, 2)}\n` : text());
}

/** The signatures of a file; `library` is the built-in one. */
export function signaturesOf(source: string): AppSignature[] {
  return source === "library" ? librarySignatures() : loadSignatures(source);
}
