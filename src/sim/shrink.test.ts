import { expect, test } from "bun:test";
import { makeScenario } from "./scenario.ts";
import { shrink } from "./shrink.ts";

const OPTIONS = { validators: 7, faults: undefined };

test("what a failure does not need is left out", () => {
  const scenario = makeScenario(3, OPTIONS);
  const [needed] = scenario.lies;
  expect(needed).toBeDefined();
  const smallest = shrink(scenario, ({ lies }) => lies.some(({ kind }) => kind === needed?.kind));
  expect(smallest.faults).toEqual([]);
  expect(smallest.lies.map(({ kind }) => kind)).toEqual([needed?.kind ?? "twins"]);
  expect(smallest.heights).toBe(1);
});

test("a fault that is needed stays, as short as it may be", () => {
  const scenario = makeScenario(4, OPTIONS);
  const needed = scenario.faults[1];
  const fails = ({ faults }: typeof scenario) => faults.some(({ kind }) => kind === needed?.kind);
  const [left, ...others] = shrink(scenario, fails).faults;
  expect(left?.kind).toBe(needed?.kind ?? "loss");
  expect(others).toEqual([]);
  expect((left?.untilMs ?? 0) - (left?.fromMs ?? 0)).toBeLessThan(400);
});
