/**
 * kill -9 at every sync point of a validator and of the master, from the first on until a life in
 * which nothing is killed; what is expected is in test/ledger/sync-kills.ts.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { LedgerSite, MASTER } from "../ledger/ledger-site.ts";
import { EVERY, expectNoLie, killAtCreation, killInUse } from "../ledger/sync-kills.ts";

const PATIENCE_MS = 1_800_000;
let site: LedgerSite;

beforeAll(async () => {
  site = await LedgerSite.create(["web1", "web2", "app1", "db1"]);
}, PATIENCE_MS);

afterAll(async () => {
  await site?.end();
});

test(
  "the first start of a validator and of the master",
  async () => {
    for (const name of ["web1", MASTER]) {
      const kills = await killAtCreation(site, name, EVERY);
      console.log(`  ${name}: ${kills} syncs`);
      expect(kills).toBeGreaterThan(3);
    }
  },
  PATIENCE_MS,
);

test(
  "a validator, then the master, each with two blocks between start and end",
  async () => {
    site.startAll();
    await site.agree(0);
    for (const victim of ["db1", MASTER]) {
      await site.stop(victim);
      const kills = await killInUse(site, victim, EVERY);
      console.log(`  ${victim}: ${kills} syncs`);
      expect(kills).toBeGreaterThan(6);
      site.start(victim);
      await site.agree(1);
    }
    await expectNoLie(site);
  },
  PATIENCE_MS,
);
