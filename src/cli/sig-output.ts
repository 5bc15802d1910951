/** What subcommands of `abs sig` share: `--output table|json`, and where signatures are from. */
import { librarySignatures } from "../dpi/library.ts";
import { loadSignatures } from "../dpi/schema.ts";
import type { AppSignature } from "../dpi/signature.ts";
import { outputArgument as commonOutput, isJsonOutput } from "./options.ts";

export const outputArgument = { output: commonOutput } as const;

/** Prints `value` as JSON or `text`, as --output says. */
export function print(output: string, value: unknown, text: () => string): void {
  process.stdout.write(isJsonOutput(output) ? `${JSON.stringify(value, null, 2)}\n` : text());
}

/** The signatures of a file; `library` is the built-in one. */
export function signaturesOf(source: string): AppSignature[] {
  return source === "library" ? librarySignatures() : loadSignatures(source);
}
