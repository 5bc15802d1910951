/**
 * kill -9 at sync points of a validator and of the master, a sample of them: after each restart no
 * vote contradicts another, no sealed block is lost, and the chain goes on. All of them: test/long.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { LedgerSite, MASTER } from "./ledger-site.ts";
import { expectNoLie, killAtCreation, killInUse } from "./sync-kills.ts";

const NAMES = ["web1", "web2", "app1", "db1"];
const PATIENCE_MS = 150_000;
let site: LedgerSite;

beforeAll(async () => {
  site = await LedgerSite.create(NAMES);
}, PATIENCE_MS);

afterAll(async () => {
  await site?.end();
});

/** Another part of the syncs on each run. */
function sampleOf(step: number) {
  return { first: 1 + Math.floor(Math.random() * step), step };
}

test(
  "the first start of a node is killed at syncs: it begins again",
  async () => {
    const kills = await killAtCreation(site, "web1", sampleOf(3));
    expect(kills).toBeGreaterThan(0);
  },
  PATIENCE_MS,
);

test(
  "a validator is killed at syncs: it votes again, and never twice",
  async () => {
    for (const name of site.others("db1")) site.start(name);
    const kills = await killInUse(site, "db1", sampleOf(4));
    expect(kills).toBeGreaterThan(1);
    site.start("db1");
    await site.agree(1);
    await expectNoLie(site);
  },
  PATIENCE_MS,
);

test(
  "the master is killed at syncs: what it sealed stays, and it goes on",
  async () => {
    await site.stop(MASTER);
    const kills = await killInUse(site, MASTER, sampleOf(4));
    expect(kills).toBeGreaterThan(1);
    site.start(MASTER);
    await site.agree(1);
    await expectNoLie(site);
  },
  PATIENCE_MS,
);
