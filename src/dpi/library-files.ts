/**
 * Reads signatures/*.json while library.ts is transpiled: a Bun macro, so the texts become part of
 * the program (`bun test` and `bun build --compile` alike) and a new file needs no other change.
 * Nothing here runs in the built program.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const FOLDER = join(import.meta.dir, "../../signatures");

/** Text by application: the file's name without `.json`, in alphabetical order. */
export function readLibraryFiles(): Record<string, string> {
  const names = readdirSync(FOLDER).filter((name) => name.endsWith(".json"));
  return Object.fromEntries(
    names.sort().map((name) => [name.slice(0, -5), readFileSync(join(FOLDER, name), "utf8")]),
  );
}
