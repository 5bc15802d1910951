/**
 * kill -9 at a sync point: strace lets the program run until its Nth fsync or fdatasync, and kills
 * it on the way into that call. What was written before lies in the page cache, as after any kill;
 * what was not written is lost. Used by sync-kills.test.ts here and, over every N, in test/long.
 */

import { expect } from "bun:test";
import { cpSync, existsSync, rmSync } from "node:fs";
import { absJson, type LedgerSite, MASTER, type StartOptions, type Status } from "./ledger-site.ts";

/** Where no N ends it any more; each run has a few dozen. */
const SYNCS_MAX = 200;
const PATIENCE_MS = 60_000;

function killedAt(sync: number): StartOptions {
  const inject = `inject=fsync,fdatasync:signal=SIGKILL:when=${sync}`;
  const words = ["strace", "-f", "-qqq", "-o", "/dev/null"];
  return { wrapper: [...words, "-e", "trace=fsync,fdatasync", "-e", inject] };
}

/** The syncs to kill at: all, or every `step`th from `first` on. */
export type Sample = { readonly first: number; readonly step: number };
export const EVERY: Sample = { first: 1, step: 1 };

/**
 * A node's very first start, killed at sync after sync; then it starts for good. Gives the count of
 * kills; it ends with a run that nothing killed.
 */
export async function killAtCreation(site: LedgerSite, name: string, sample: Sample) {
  const folder = site.folder(name);
  const untouched = `${folder}.untouched`;
  cpSync(folder, untouched, { recursive: true });
  for (let [sync, kills] = [sample.first, 0]; sync < SYNCS_MAX; sync += sample.step) {
    rmSync(folder, { recursive: true });
    cpSync(untouched, folder, { recursive: true });
    site.start(name, killedAt(sync));
    const isReady = await readyOrDead(site, name);
    if (isReady) {
      await site.kill(name);
      return kills;
    }
    kills++;
    await site.ended(name);
    site.start(name);
    // It has signed nothing, and begins as new; or had got as far as to know that it may have.
    const status = await site.until(name, () => true, PATIENCE_MS);
    expect([sync, status.height]).toEqual([sync, 0]);
    if (!existsSync(`${folder}/started`)) throw new Error("it has not started");
    await site.stop(name);
  }
  throw new Error(`it was killed at each of ${SYNCS_MAX} syncs`);
}

/**
 * A node's life with two blocks in it, killed at sync after sync, between others who live on; after
 * each kill it starts again. Gives the count of kills.
 */
export async function killInUse(site: LedgerSite, victim: string, sample: Sample): Promise<number> {
  for (let [sync, kills] = [sample.first, 0]; sync < SYNCS_MAX; sync += sample.step) {
    const isKilled = await liveUntil(site, victim, sync);
    if (!isKilled) return kills;
    kills++;
    const told = Math.max(0, ...heightsTold(site, victim));
    site.start(victim);
    const back = await site.until(victim, () => true, PATIENCE_MS);
    // What it told of is on its disk.
    expect([sync, back.height >= told]).toEqual([sync, true]);
    await expectProgress(site, victim, sync);
    await site.stop(victim);
  }
  throw new Error(`it was killed at each of ${SYNCS_MAX} syncs`);
}

/** On entry the victim is down and the others are up; true when it was killed. */
async function liveUntil(site: LedgerSite, victim: string, sync: number): Promise<boolean> {
  site.start(victim, killedAt(sync));
  if (await readyOrDead(site, victim)) {
    await meets(site, victim);
    for (let i = 0; i < 2; i++) await blockOrDead(site, victim);
  }
  const exitCode = site.isUp(victim) ? await site.stop(victim) : await site.ended(victim);
  return exitCode !== 0;
}

async function readyOrDead(site: LedgerSite, name: string): Promise<boolean> {
  const endMs = performance.now() + PATIENCE_MS;
  while (performance.now() < endMs) {
    if (!site.isUp(name)) return false;
    if ((await site.status(name)) !== undefined) return true;
    await Bun.sleep(10);
  }
  throw new Error(`${name} neither began nor ended\n${site.errors()}`);
}

/** Until it is connected to the others, so that it has a part in what follows; or dead. */
async function meets(site: LedgerSite, victim: string): Promise<void> {
  const endMs = performance.now() + PATIENCE_MS;
  while (site.isUp(victim) && performance.now() < endMs) {
    const peers = (await site.status(victim))?.peers ?? [];
    if (peers.length > 0 && peers.every(({ is_connected }) => is_connected)) return;
    await Bun.sleep(10);
  }
}

/** A contract is proposed; until it is in the victim's chain, or the victim is dead. */
async function blockOrDead(site: LedgerSite, victim: string): Promise<void> {
  const before = (await site.status(victim))?.height ?? -1;
  try {
    await site.propose();
  } catch (thrown) {
    // The master is the victim, and died of it.
    if (site.isUp(victim) && victim !== MASTER) throw thrown;
    return;
  }
  const endMs = performance.now() + PATIENCE_MS;
  while (site.isUp(victim) && performance.now() < endMs) {
    if (((await site.status(victim))?.height ?? -1) > before) return;
    await Bun.sleep(10);
  }
}

function heightsTold(site: LedgerSite, name: string): number[] {
  const blocks = site.events(name).filter(({ event }) => event === "ledger-block");
  return blocks.map(({ height = 0 }) => height);
}

/** A block with the vote of who came back: another stands still, and without both is no quorum. */
async function expectProgress(site: LedgerSite, victim: string, sync: number): Promise<void> {
  const { height } = await highestOf(site);
  await site.agree(height);
  await meets(site, victim);
  const paused = site.names.find((name) => name !== victim) ?? "";
  if (victim !== MASTER) site.signal(paused, "SIGSTOP");
  await site.propose();
  await site.agree(height + 1, victim === MASTER ? site.all : site.others(paused));
  site.signal(paused, "SIGCONT");
  await site.agree(height + 1);
  const status = await site.status(victim);
  if (victim !== MASTER) expect([sync, status?.is_observing]).toEqual([sync, false]);
}

async function highestOf(site: LedgerSite): Promise<Status> {
  const found = await Promise.all(site.all.map((name) => site.status(name)));
  const statuses = found.filter((status): status is Status => status !== undefined);
  return statuses.reduce((one, other) => (other.height > one.height ? other : one));
}

/** Nobody was proven to have signed two hashes, and nobody complained. */
export async function expectNoLie(site: LedgerSite): Promise<void> {
  const evidence = await absJson<unknown[]>(
    ...["ledger", "evidence", "--dir", site.folder(site.names[0] ?? "")],
  );
  expect(evidence).toEqual([]);
  const alarms = ["ledger-conflict", "ledger-evidence", "ledger-damage", "ledger-peer-differs"];
  for (const name of site.all) {
    const told = site.events(name).filter(({ event }) => alarms.includes(event));
    expect([name, told]).toEqual([name, []]);
  }
}
