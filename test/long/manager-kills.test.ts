/** kill -9 of the manager at 200 random moments; what is expected is in test/manager/kills.ts. */
import { test } from "bun:test";
import { KillSite } from "../manager/kills.ts";
import { Prng, seed } from "../prng.ts";

test(`200 kills at random moments of what changes a manager (SEED=${seed})`, async () => {
  await using site = await KillSite.open(new Prng(seed));
  await site.kill(200);
  for (const [kind, { answered, cut }] of site.counts) {
    console.log(`  ${kind}: ${answered} had been answered, ${cut} were cut short`);
  }
}, 3_600_000);
