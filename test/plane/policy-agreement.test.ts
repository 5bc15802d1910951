/**
 * Explain, replay, the data plane and an oracle agree: policy-agreement.ts. 100,000 policies are
 * test/long/policy-agreement.test.ts.
 */
import { test } from "bun:test";
import { seed } from "../prng.ts";
import { playAgreement } from "./policy-agreement.ts";

const POLICIES = { full: 1_400, quick: 600 } as const;

test.each(["full", "quick"] as const)(
  `random policies and flows, mode %s (SEED=${seed})`,
  async (mode) => {
    await playAgreement(mode, POLICIES[mode]);
  },
  60_000,
);
