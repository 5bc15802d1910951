/**
 * The built-in signatures: every signatures/*.json, bundled into the executable so that they need
 * no file at run time. One file an application, named for it; a file holds one signature for each
 * way the application begins. Adding a file there is all it takes (library-files.ts).
 */

import { readLibraryFiles } from "./library-files.ts" with { type: "macro" };
import { parseSignatures } from "./schema.ts";
import type { AppSignature } from "./signature.ts";

const FILES: Readonly<Record<string, string>> = readLibraryFiles();

/** Names of the applications in the library. */
export function libraryNames(): string[] {
  return Object.keys(FILES);
}

/** The signatures of one application; empty when the library has none. */
export function librarySignature(app: string): AppSignature[] {
  const text = Object.hasOwn(FILES, app) ? FILES[app] : undefined;
  return text === undefined ? [] : parseSignatures(text, `signatures/${app}.json`);
}

/** All of them. */
export function librarySignatures(): AppSignature[] {
  return libraryNames().flatMap(librarySignature);
}
