/** As test/plane/policy-agreement.test.ts, with 100,000 policies and 400,000 flows. */
import { test } from "bun:test";
import { playAgreement } from "../plane/policy-agreement.ts";
import { seed } from "../prng.ts";

const POLICIES = { full: 70_000, quick: 30_000 } as const;

test.each(["full", "quick"] as const)(
  `random policies and flows, mode %s (SEED=${seed})`,
  async (mode) => {
    const counts = await playAgreement(mode, POLICIES[mode]);
    console.log(`  ${mode}: ${JSON.stringify(counts)}`);
  },
  3_600_000,
);
