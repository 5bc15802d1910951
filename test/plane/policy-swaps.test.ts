/** 100 swaps of policy-swaps.ts; 1,000 are test/long/policy-swaps.test.ts. */
import { expect, test } from "bun:test";
import { playSwaps } from "./policy-swaps.ts";

test("a policy swapped 100 times under 1,000 new flows a second", async () => {
  const counts = await playSwaps(100);
  console.log(`  ${JSON.stringify(counts)}`);
  expect(counts.swaps).toBe(100);
  expect(counts.allowed).toBeGreaterThan(0);
  expect(counts.allowed).toBeLessThan(counts.flows);
}, 60_000);
