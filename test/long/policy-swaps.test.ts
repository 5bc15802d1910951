/** 1,000 swaps of test/plane/policy-swaps.ts. */
import { expect, test } from "bun:test";
import { playSwaps } from "../plane/policy-swaps.ts";

test("a policy swapped 1,000 times under 1,000 new flows a second", async () => {
  const counts = await playSwaps(1_000);
  console.log(`  ${JSON.stringify(counts)}`);
  expect(counts.swaps).toBe(1_000);
}, 600_000);
