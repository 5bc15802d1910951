import { expect, test } from "bun:test";
import { faultsOf } from "../chain/certificate.ts";
import { FAULT_KINDS, isObserving } from "./fault.ts";
import { isMasterLie, LIE_KINDS } from "./lie.ts";
import { OPERATOR_ACTS } from "./operator.ts";
import { makeScenario } from "./scenario.ts";
import { addSeed, emptyTally, rareKinds, type SeedResult } from "./tally.ts";

const scenarios = Array.from({ length: 3000 }, (_, seed) =>
  makeScenario(seed, { validators: undefined, faults: undefined }),
);

test("a seed has 1 to 20 validators, three kinds of faults, and a lie where f >= 1", () => {
  const sizes = new Set(scenarios.map(({ validators }) => validators));
  expect([...sizes].sort((a, b) => a - b)).toEqual(Array.from({ length: 20 }, (_, i) => i + 1));
  for (const { validators, faults, lies } of scenarios) {
    expect(new Set(faults.map(({ kind }) => kind)).size).toBeGreaterThanOrEqual(3);
    const ofMembers = lies.filter(({ kind }) => !isMasterLie(kind));
    expect(ofMembers.length > 0).toBe(faultsOf(validators) > 0);
  }
});

test("liars and nodes without a memory are never more than f", () => {
  for (const { validators, faults, lies } of scenarios) {
    const liars = new Set(
      lies.filter(({ kind }) => !isMasterLie(kind)).map(({ participant }) => participant),
    );
    const observing = faults.filter(({ kind }) => isObserving(kind));
    expect(liars.size + observing.length).toBeLessThanOrEqual(faultsOf(validators));
  }
});

function resultOf(seed: number, kind: "loss" | undefined): SeedResult {
  return {
    ...{ seed, validators: (seed % 20) + 1, heights: 10, viewChanges: 0, attempts: 0 },
    ...{ isReal: false, messages: 1, violation: undefined, isStalled: false, operator: {} },
    faults: kind === undefined ? {} : { [kind]: 1 },
    lies: {},
  };
}

test("a kind that is in less than one seed in a hundred is called rare", () => {
  const tally = emptyTally();
  for (let seed = 0; seed < 2000; seed++)
    addSeed(tally, resultOf(seed, seed < 20 ? "loss" : undefined));
  const rare = rareKinds(tally);
  expect(rare).not.toContain("loss: 20");
  expect(rare).toContain("slow: 0");
  const kinds = FAULT_KINDS.length + LIE_KINDS.length + OPERATOR_ACTS.length;
  expect(rare.length).toBe(kinds - 1);
  addSeed(tally, resultOf(1, undefined));
  expect(rareKinds(tally)).toContain("loss: 20");
});
