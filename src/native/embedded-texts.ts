/**
 * Reads text files of this repository while the module that asks is transpiled: a Bun macro, so the
 * texts become part of the program (`bun test` and `bun build --compile` alike) and a new file
 * needs no other change. Nothing here runs in the built program.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const ROOT = join(import.meta.dir, "../..");

/** Texts of a folder by their names without `ending`, in alphabetical order. */
export function embeddedTexts(folder: string, ending: string): Record<string, string> {
  const names = readdirSync(join(ROOT, folder)).filter((name) => name.endsWith(ending));
  return Object.fromEntries(
    names.sort().map((name) => {
      return [name.slice(0, -ending.length), readFileSync(join(ROOT, folder, name), "utf8")];
    }),
  );
}
