/**
 * The built-in signatures: every signatures/*.json, bundled into the executable so that they need
 * no file at run time. One file an application, named for it; a file holds one signature for each
 * way the application begins. Adding a file there is all it takes (embedded-texts.ts).
 */

import { embeddedTexts } from "../native/embedded-texts.ts" with { type: "macro" };
import { parseSignatures } from "./schema.ts";
import type { AppSignature } from "./signature.ts";

const FILES: Readonly<Record<string, string>> = embeddedTexts("signatures", ".json");

/** Names of the applications in the library. */
export function libraryNames(): string[] {
  return Object.keys(FILES);
}

/** The signatures of one application; empty when the library has none. */
export function librarySignature(app: string): AppSignature[] {
  const text = Object.hasOwn(FILES, app) ? FILES[app] : undefined;
  return text === undefined ? [] : parseSignatures(text, `signatures/${app}.json`);
}

/** The same as its file has them, Fig. 10's fields. */
export function libraryContents(app: string): object[] {
  const text = Object.hasOwn(FILES, app) ? FILES[app] : undefined;
  const value: unknown = text === undefined ? [] : JSON.parse(text);
  return Array.isArray(value) ? value : [value as object];
}

/** All of them. */
export function librarySignatures(): AppSignature[] {
  return libraryNames().flatMap(librarySignature);
}
