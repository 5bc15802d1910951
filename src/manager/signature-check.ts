/**
 * Application signatures before they are kept or published: read as an agent reads them, linted,
 * and compiled together, so that what no agent could put in force is refused here, to the one who
 * wrote it. docs/manager.md "Signatures".
 */
import { parse } from "yaml";
import { canonicalText, faultOfValue, type JsonObject } from "../chain/canonical-json.ts";
import { openShim } from "../dataplane/shim.ts";
import { compileSignatures } from "../dpi/compile.ts";
import { libraryContents } from "../dpi/library.ts";
import { parseSignatures, readSignature } from "../dpi/schema.ts";
import type { AppSignature } from "../dpi/signature.ts";
import { AbsError } from "../errors.ts";
import { lint } from "../sig/lint.ts";
import { type DocumentNode, parseDocument } from "../store/document.ts";
import type { NewSignature } from "./app-db.ts";

/** How the input is called in complaints. */
const INPUT = "input";
/** What a file says of its status is not kept: AppDB says it. */
const STATUS = "enabled";

export type CheckedSignatures = {
  readonly signatures: readonly NewSignature[];
  /** What lint says that is no error. */
  readonly warnings: readonly string[];
};

/**
 * One signature or a list, or `{ builtin: NAME }` in it, in YAML or JSON.
 * @throws AbsError SIGNATURE_INVALID
 */
export function checkSignatures(text: string): CheckedSignatures {
  const node = parseDocument(text, INPUT, "SIGNATURE");
  const value: unknown = parse(text);
  const values: unknown[] = Array.isArray(value) ? value : [value];
  const items = node.isList() ? node.list() : [node];
  const read = items.flatMap((item, i) => readItem(item, values[i]));
  const found = lint(
    openShim(),
    [],
    read.map(({ signature }) => signature),
  ).findings;
  for (const { level, message, remedy } of found) {
    if (level === "error") throw new AbsError("SIGNATURE_INVALID", message, remedy);
  }
  return {
    signatures: read.map(({ signature: { id: sigId, version, app }, contents }) => {
      return { sigId, version, app, contents };
    }),
    warnings: found.map(({ message }) => message),
  };
}

/** Signatures that shall be in force together: two that could tie are refused. */
export function checkTogether(contents: readonly string[]): void {
  const all = contents.flatMap((text) => parseSignatures(text, "AppDB"));
  compileSignatures(all, () => 1);
}

type ReadItem = { readonly signature: AppSignature; readonly contents: string };

function readItem(item: DocumentNode, value: unknown): ReadItem[] {
  if (!item.keys().includes("builtin")) return [readOne(item, value)];
  const name = item.map(["builtin"]).need("builtin");
  const found = libraryContents(name.string());
  if (found.length === 0) {
    const what = `the library has no signature of "${name.string()}".`;
    return name.fail(what, "See `abs sig list`.");
  }
  return found.map((one) => {
    const contents = canonicalText({ ...(one as JsonObject), status: STATUS });
    const [signature] = parseSignatures(contents, `signatures/${name.string()}.json`);
    return { signature: signature as AppSignature, contents };
  });
}

/** Its canonical JSON must mean the same: YAML has numbers that JSON writes otherwise. */
function readOne(item: DocumentNode, value: unknown): ReadItem {
  const read = { ...readSignature(item), status: STATUS } as const;
  const fault = faultOfValue(value);
  const remedy = "Write text in quotes, and numbers as plain decimal ones.";
  if (fault !== undefined) return item.fail(`it has no canonical JSON: ${fault}.`, remedy);
  const contents = canonicalText({ ...(value as JsonObject), status: STATUS });
  const [again] = parseSignatures(contents, INPUT);
  if (Bun.deepEquals({ ...again, place: "" }, { ...read, place: "" })) {
    return { signature: read, contents };
  }
  return item.fail("it means something else as JSON.", remedy);
}
