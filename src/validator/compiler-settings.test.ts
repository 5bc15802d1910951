/** Which settings of the compiler a node begins with; that it does is test/ledger's to see. */
import { expect, test } from "bun:test";
import { COMPILER_SETTINGS, withCompilerSettings } from "./compiler-settings.ts";

const [NAME = ""] = Object.keys(COMPILER_SETTINGS);

test("what is missing is added, and all else stays", () => {
  expect(withCompilerSettings({ HOME: "/root" })).toEqual({ HOME: "/root", ...COMPILER_SETTINGS });
});

test("what the user has set stays his", () => {
  expect(withCompilerSettings({ [NAME]: "7" })).toEqual({ ...COMPILER_SETTINGS, [NAME]: "7" });
});

test("an environment that has all of them is left alone", () => {
  const own = Object.fromEntries(Object.keys(COMPILER_SETTINGS).map((name) => [name, "7"]));
  expect(withCompilerSettings(own)).toBeUndefined();
});
