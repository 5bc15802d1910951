/** Exit codes: docs/exit-codes.md says what the program does, and names no code that is unused. */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { AbsError, exitCodeOf } from "./errors.ts";

const ROOT = join(import.meta.dir, "..");
const DOCUMENT = readFileSync(join(ROOT, "docs/exit-codes.md"), "utf8");
const rows = [...DOCUMENT.matchAll(/^\| (\d) \| .* \| (.*) \|$/gm)].flatMap(
  ([, exit, codes = ""]) =>
    [...codes.matchAll(/`([A-Z_]+)`/g)].map(([, code = ""]) => ({ exit: Number(exit), code })),
);

test.each(rows)("$code ends with $exit, as documented", ({ exit, code }) => {
  expect(exitCodeOf(new AbsError(code, "", ""))).toBe(exit);
});

test("the document names all codes that end with another than 1, and no code that is not used", () => {
  const source = readFileSync(join(import.meta.dir, "errors.ts"), "utf8");
  const special = source.slice(source.indexOf("EXIT_OF_CODE"), source.indexOf("exitCodeOf"));
  const known = [...special.matchAll(/"([A-Z_]+)"/g)].map(([, code = ""]) => code);
  expect(rows.map(({ code }) => code).sort()).toEqual(known.sort());
  const used = [...new Bun.Glob("src/**/*.ts").scanSync(ROOT)]
    .filter((path) => !path.startsWith("src/errors"))
    .map((path) => readFileSync(join(ROOT, path), "utf8"))
    .join("\n");
  expect(known.filter((code) => !used.includes(`"${code}"`))).toEqual([]);
});

test("what is no error of ours, and any other code, ends with 1", () => {
  expect([exitCodeOf(new Error("x")), exitCodeOf(new AbsError("TENANT_ABSENT", "", ""))]).toEqual([
    1, 1,
  ]);
});
