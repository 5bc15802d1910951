import { expect, test } from "bun:test";
import { DEFAULT_SETTINGS } from "./lab-plan.ts";
import { CHECKS, chooseChecks } from "./story.ts";

test("the story has at least 15 checks, each with a name of its own", () => {
  expect(CHECKS.length).toBeGreaterThanOrEqual(15);
  expect(new Set(CHECKS.map((check) => check.name)).size).toBe(CHECKS.length);
});

test.each([...CHECKS])("the sabotage of $name changes something", ({ sabotage }) => {
  expect({ ...DEFAULT_SETTINGS, ...sabotage.settings }).not.toEqual(DEFAULT_SETTINGS);
  expect(sabotage.words).not.toBe("");
});

test("checks are chosen by name, in the story's order", () => {
  const names = chooseChecks(["ping", "app1-ipv4"]).map((check) => check.name);
  expect(names).toEqual(["app1-ipv4", "ping"]);
  expect(() => chooseChecks(["nonsense"])).toThrow("There is no check nonsense.");
});
