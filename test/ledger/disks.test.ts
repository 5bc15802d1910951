/**
 * Disks of real processes that are full or damaged: nothing is half-written, nobody votes with a
 * vote log that may be short, what is lost comes back from the others, and all of it is told.
 */
import { Database } from "bun:sqlite";
import { afterAll, beforeAll, expect, test } from "bun:test";
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Prng } from "../prng.ts";
import { absJson, LedgerSite, MASTER, must, type Status } from "./ledger-site.ts";

const NAMES = ["web1", "web2", "app1", "db1"];
const PATIENCE_MS = 120_000;
const CHECKS_OFTEN = { options: ["--check", "1"] };
const SMALL_DISK = "3m";
let site: LedgerSite;

beforeAll(async () => {
  site = await LedgerSite.create(NAMES);
  await onSmallDisk("web2");
  for (const name of site.all) site.start(name, CHECKS_OFTEN);
  await site.agree(0);
  for (let i = 0; i < 3; i++) await grow();
}, PATIENCE_MS);

afterAll(async () => {
  await site?.end();
});

async function onSmallDisk(name: string): Promise<void> {
  const folder = site.folder(name);
  const copy = `${folder}.copy`;
  cpSync(folder, copy, { recursive: true });
  rmSync(folder, { recursive: true });
  mkdirSync(folder);
  await must("mount", "-t", "tmpfs", "-o", `size=${SMALL_DISK}`, "tmpfs", folder);
  cpSync(copy, folder, { recursive: true });
  site.atEnd(() => must("umount", "-l", folder));
}

/** One more block, on all of `names`. */
async function grow(names: readonly string[] = site.all): Promise<Status> {
  const { height } = await site.agree(0, names);
  await site.propose();
  return site.agree(height + 1, names);
}

function store(name: string): string {
  return join(site.folder(name), "scd.sqlite");
}

/** As somebody with a shell would, while the node runs or not. */
function meddle(name: string, statement: string): void {
  const database = new Database(store(name));
  database.run("PRAGMA busy_timeout = 5000");
  database.run(statement);
  database.close();
}

function told(name: string, event: string, since: number): string[] {
  const events = site.events(name).slice(since);
  return events.filter((one) => one.event === event).map(({ detail }) => detail ?? "");
}

async function untilTold(name: string, event: string, since: number): Promise<string> {
  const endMs = performance.now() + 20_000;
  while (performance.now() < endMs) {
    const [first] = told(name, event, since);
    if (first !== undefined) return first;
    await Bun.sleep(20);
  }
  const last = JSON.stringify(site.events(name).slice(since).slice(-5));
  throw new Error(`${name} did not tell ${event}: ${last}`);
}

/** It votes: with another standing still there is no quorum without it. */
async function expectVotes(name: string): Promise<void> {
  const paused = NAMES.find((other) => other !== name) ?? "";
  await grow();
  site.signal(paused, "SIGSTOP");
  await grow(site.others(paused));
  site.signal(paused, "SIGCONT");
  await site.agree(0);
}

test(
  "a full disk stops the node from voting, with words; with room again it goes on by itself",
  async () => {
    const since = site.events("web2").length;
    const filler = join(site.folder("web2"), "filler");
    await must("sh", "-c", `cat /dev/zero > ${filler} 2>/dev/null || true`);
    const before = await site.agree(0, site.others("web2"));
    // Until it cannot write; the other three go on.
    for (let i = 0; i < 3; i++) await grow(site.others("web2"));
    expect(await untilTold("web2", "ledger-paused", since)).toContain("full");
    const status = await site.until("web2", ({ paused }) => paused !== undefined);
    expect(status.height).toBeLessThan(before.height + 3);
    // It is no vote that counts.
    site.signal("db1", "SIGSTOP");
    const { height } = await site.agree(0, site.others("web2", "db1"));
    await site.propose();
    await Bun.sleep(2500);
    expect((await site.agree(0, site.others("web2", "db1"))).height).toBe(height);
    rmSync(filler);
    await site.agree(height + 1, site.others("db1"));
    site.signal("db1", "SIGCONT");
    expect(told("web2", "ledger-resumed", since)).toHaveLength(1);
    expect(told("web2", "ledger-damage", since)).toEqual([]);
    await expectVotes("web2");
  },
  PATIENCE_MS,
);

test(
  "a node that starts on a full disk says so, and starts when there is room",
  async () => {
    await site.stop("web2");
    const filler = join(site.folder("web2"), "filler");
    await must("sh", "-c", `cat /dev/zero > ${filler} 2>/dev/null || true`);
    site.start("web2", CHECKS_OFTEN);
    const exitCode = await site.ended("web2");
    expect([exitCode, site.errorsOf("web2")]).toEqual([1, expect.stringContaining("room")]);
    rmSync(filler);
    site.start("web2", CHECKS_OFTEN);
    await expectVotes("web2");
  },
  PATIENCE_MS,
);

test(
  "a contract that somebody changed on the disk is found at the check, told and put right",
  async () => {
    const since = site.events("app1").length;
    meddle("app1", "UPDATE contract SET bytes = CAST(replace(bytes, 'true', 'false') AS BLOB)");
    await untilTold("app1", "ledger-own-root-differs", since);
    await untilTold("app1", "ledger-repaired", since);
    // The master hears of it.
    await untilTold(MASTER, "ledger-peer-differs", 0);
    const read = async (name: string) => {
      return absJson<unknown[]>("ledger", "contracts", "--dir", site.folder(name));
    };
    expect(await read("app1")).toEqual(await read("db1"));
    await expectVotes("app1");
  },
  PATIENCE_MS,
);

test(
  "a body that somebody changed is found at the check, and fetched from the master",
  async () => {
    const since = site.events("app1").length;
    meddle("app1", "UPDATE block SET bytes = x'0000000000000000' WHERE height = 2");
    expect(await untilTold("app1", "ledger-repaired", since)).toContain("block 2");
    await expectVotes("app1");
  },
  PATIENCE_MS,
);

test.each(["app1", MASTER])(
  "a header that somebody changed on %s's disk is found at the check, and fetched from peers",
  async (name) => {
    const since = site.events(name).length;
    meddle(name, "UPDATE header SET bytes = x'00' WHERE height = 2");
    await untilTold(name, "ledger-damage", since);
    expect(await untilTold(name, "ledger-repaired", since)).toContain("block 2");
    await site.until(name, ({ is_repairing }) => is_repairing !== true);
    await expectVotes("app1");
  },
  PATIENCE_MS,
);

test(
  "votes that somebody took away: the node observes, and votes again two blocks later",
  async () => {
    const since = site.events("db1").length;
    await site.stop("db1");
    meddle("db1", "UPDATE extent SET votes = votes + 1");
    site.start("db1", CHECKS_OFTEN);
    await site.until("db1", ({ is_observing }) => is_observing === true);
    expect(told("db1", "ledger-damage", since).join()).toContain("votes");
    // No vote of it counts.
    site.signal("app1", "SIGSTOP");
    const { height } = await site.agree(0, site.others("app1"));
    await site.propose();
    await Bun.sleep(2500);
    expect((await site.agree(0, site.others("app1"))).height).toBe(height);
    site.signal("app1", "SIGCONT");
    await site.agree(height + 1);
    for (let i = 0; i < 3; i++) await grow();
    await site.until("db1", ({ is_observing }) => is_observing === false);
    await expectVotes("db1");
  },
  PATIENCE_MS,
);

const seed = Number(process.env["SEED"] ?? crypto.getRandomValues(new Uint32Array(1))[0]);
test(
  `a node whose file has flipped bits comes back to the chain of the others (SEED=${seed})`,
  async () => {
    const prng = new Prng(seed);
    for (let i = 0; i < 4; i++) {
      const name = i % 2 === 0 ? "db1" : MASTER;
      await site.stop(name);
      const bytes = readFileSync(store(name));
      // In the pages' contents rather than their unused space: where a page has text or a blob.
      const used = [...bytes.keys()].filter((at) => bytes[at] !== 0);
      const at = used[prng.below(used.length)] ?? 0;
      bytes[at] = (bytes[at] ?? 0) ^ (1 << prng.below(8));
      writeFileSync(store(name), bytes);
      site.start(name, CHECKS_OFTEN);
      for (let blocks = 0; blocks < 3; blocks++) await grow();
      await site.until(name, ({ is_observing, is_repairing }) => !is_observing && !is_repairing);
      await expectVotes("db1");
    }
  },
  PATIENCE_MS,
);
