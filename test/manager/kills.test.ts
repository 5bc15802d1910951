/** kill -9 of the manager at 60 random moments; 200 in test/long. */
import { expect, test } from "bun:test";
import { Prng, seed } from "../prng.ts";
import { KillSite } from "./kills.ts";

test(`60 kills at random moments of what changes a manager (SEED=${seed})`, async () => {
  await using site = await KillSite.open(new Prng(seed));
  await site.kill(60);
  const counts = [...site.counts.values()];
  const sum = (of: "answered" | "cut") => counts.reduce((total, count) => total + count[of], 0);
  console.log(`  ${sum("answered")} had been answered, ${sum("cut")} were cut short`);
  // Else the moments are not where they should be.
  expect(Math.min(sum("answered"), sum("cut"))).toBeGreaterThan(5);
}, 800_000);
