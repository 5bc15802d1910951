/**
 * Clocks that are wrong, by libfaketime in the real processes: the offset of each is changed while
 * it runs. docs/ledger.md "Reasons", `clock`: within ±30 s a validator votes; beyond it refuses a
 * first vote with that reason, and what others agreed is taken all the same.
 */
import { afterAll, afterEach, beforeAll, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { abs, LedgerSite, MASTER, must, type SiteEvent } from "./ledger-site.ts";

const NAMES = ["web1", "web2", "app1", "db1"];
const PATIENCE_MS = 60_000;
const HOURS = 3600;
let site: LedgerSite;

beforeAll(async () => {
  const library = (await must("find", "/usr/lib", "-name", "libfaketimeMT.so.1")).trim();
  site = await LedgerSite.create(NAMES);
  for (const name of site.all) {
    setClock(name, 0);
    site.start(name, {
      env: {
        LD_PRELOAD: library,
        FAKETIME_TIMESTAMP_FILE: clockFile(name),
        FAKETIME_NO_CACHE: "1",
        FAKETIME_DONT_FAKE_MONOTONIC: "1",
      },
    });
  }
  await site.agree(0);
}, PATIENCE_MS);

/** Each test begins with right clocks, all nodes running, and one tip. */
afterEach(async () => {
  for (const name of site.all) {
    setClock(name, 0);
    site.signal(name, "SIGCONT");
  }
  const heights = await Promise.all(site.all.map((name) => site.status(name)));
  await site.agree(Math.max(...heights.map((status) => status?.height ?? 0)));
});

afterAll(async () => {
  await site?.end();
});

function clockFile(name: string): string {
  return join(site.dir, `${name}.clock`);
}

function setClock(name: string, seconds: number): void {
  writeFileSync(clockFile(name), `${seconds < 0 ? "" : "+"}${seconds}\n`);
}

async function height(): Promise<number> {
  return (await site.agree(0)).height;
}

/** What was told of a code since a number of events. */
function told(name: string, code: string, since: number): SiteEvent[] {
  return site
    .events(name)
    .slice(since)
    .filter(({ event }) => event === `ledger-${code}`);
}

async function tryCreate(waitSeconds: number) {
  const place = ["--dir", site.folder(MASTER), "--wait", String(waitSeconds)];
  return abs("ledger", "contract", "create", ...place);
}

/** With one of the four standing still each of the others is needed. */
function makeNeeded(): void {
  site.signal("web1", "SIGSTOP");
}

/** A master whose time stamp would be this far from all the others' clocks. */
function setMaster(seconds: number): void {
  // Its time stamps never go back below the tip's, so that one that is behind is one in an old
  // chain: the others are ahead.
  for (const name of NAMES) setClock(name, Math.max(0, -seconds));
  setClock(MASTER, Math.max(0, seconds));
}

function isClockRefusal({ detail = "" }: SiteEvent): boolean {
  return /clock \d+ s from this clock/.test(detail);
}

async function expectVoted(seconds: number): Promise<void> {
  const before = await height();
  setMaster(seconds);
  await site.propose();
  await site.agree(before + 1);
}

async function expectRefused(seconds: number): Promise<void> {
  const before = await height();
  const since = new Map(site.all.map((name) => [name, site.events(name).length]));
  setMaster(seconds);
  const refused = await tryCreate(3);
  expect([refused.exitCode, refused.stderr.includes("NOT_SEALED")]).toEqual([1, true]);
  const refusals = NAMES.flatMap((name) => told(name, "refused", since.get(name) ?? 0));
  expect(refusals.some(isClockRefusal)).toBe(true);
  const notices = told(MASTER, "no-quorum", since.get(MASTER) ?? 0);
  expect(notices.some(({ detail }) => detail?.includes("clock"))).toBe(true);
  expect((await site.status("web1"))?.height).toBe(before);
  setMaster(0);
  await site.agree(before + 1);
}

// Time stamps of a chain only grow, and a master that is behind takes the tip's: so those behind
// come first, and the last block of the future is followed by nobody who minds.
test("a master 29 s behind is voted for", () => expectVoted(-29), PATIENCE_MS);

test.each([-31, -5 * HOURS])(
  "a master %d s off is refused, and hears the reason; right again, it goes on",
  expectRefused,
  PATIENCE_MS,
);

test.each([-29, 29])(
  "a validator %d s off votes",
  async (seconds) => {
    const before = await height();
    setClock("db1", seconds);
    makeNeeded();
    await site.propose();
    await site.agree(before + 1, site.others("web1"));
  },
  PATIENCE_MS,
);

test.each([31, -5 * HOURS, 5 * HOURS])(
  "a validator %d s off does not vote, says why, and takes what the others agree on",
  async (seconds) => {
    const before = await height();
    const since = site.events("db1").length;
    setClock("db1", seconds);
    await site.propose();
    await site.agree(before + 1);
    await site.propose();
    await site.agree(before + 2);
    expect(told("db1", "refused", since).some(isClockRefusal)).toBe(true);
    makeNeeded();
    const refused = await tryCreate(2);
    expect(refused.stderr).toContain("NOT_SEALED");
    // Its clock is set right: its vote is there.
    setClock("db1", 0);
    await site.agree(before + 3, site.others("web1"));
  },
  PATIENCE_MS,
);

test("a master 29 s ahead is voted for", () => expectVoted(29), PATIENCE_MS);

test(
  "a master hours ahead is refused, and hears the reason; right again, it goes on",
  () => expectRefused(5 * HOURS),
  PATIENCE_MS,
);

test(
  "a few seconds too early is refused until it is time, and voted for then",
  async () => {
    const before = await height();
    const since = new Map(NAMES.map((name) => [name, site.events(name).length]));
    setClock(MASTER, 33);
    await site.propose();
    await site.agree(before + 1);
    const refusals = NAMES.flatMap((name) => told(name, "refused", since.get(name) ?? 0));
    expect(refusals.some(isClockRefusal)).toBe(true);
    setClock(MASTER, 0);
    // Its clock is behind the chain's time now, and it does not wait for it.
    await site.propose();
    await site.agree(before + 2);
  },
  PATIENCE_MS,
);
