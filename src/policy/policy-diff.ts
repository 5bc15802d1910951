/** What differs between two policies, as `diff -u` shows it. docs/manager.md "Policy". */
import { createTwoFilesPatch } from "diff";

const CONTEXT_LINES = 3;
/** Of lines that are not in both: finding the fewest costs their square. */
const EDITS_MAX = 1_000;

export type NamedText = { readonly name: string; readonly text: string };

/** A unified patch, empty where nothing differs; undefined: too much does. */
export function policyPatch(before: NamedText, after: NamedText): string | undefined {
  if (before.text === after.text) return "";
  return createTwoFilesPatch(before.name, after.name, before.text, after.text, "", "", {
    context: CONTEXT_LINES,
    maxEditLength: EDITS_MAX,
    headerOptions: { includeIndex: false, includeUnderline: false, includeFileHeaders: true },
  });
}
