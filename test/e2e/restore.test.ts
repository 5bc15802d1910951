/**
 * A manager that is destroyed while two agents run, restored from a backup that is older than the
 * ledger: traffic never stops, agents come back with the keys they have, the ledger goes on with
 * one history, and a new agent enrols. docs/manager.md "Runbook".
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { copyFileSync, rmSync } from "node:fs";
import { mustRun, waitFor } from "../../src/lab/command.ts";
import { inFolder } from "../../src/manager/manager-folder.ts";
import { CLIENT, ROGUE, SERVER, stopwatch } from "./harness.ts";
import { ManagerBed, TENANT } from "./manager-bed.ts";

const MINUTE_MS = 60_000;
const NEWCOMER = ROGUE;
const done = stopwatch("e2e restore");
let bed: ManagerBed;

beforeAll(async () => {
  bed = await ManagerBed.open("restore", [CLIENT, SERVER, NEWCOMER]);
  for (const { name } of [CLIENT, SERVER]) await bed.enrol(name, "--tag", "ping");
  for (const { name } of [CLIENT, SERVER]) await bed.startAgent(name);
  await bed.untilAnswered(CLIENT.name, SERVER);
}, 2 * MINUTE_MS);

afterAll(async () => {
  await bed?.close();
  done();
}, MINUTE_MS);

type Row = Record<string, unknown>;

async function ledger(command: string): Promise<Row[]> {
  const words = ["ledger", command, "--dir", bed.folder(CLIENT.name), "--output", "json"];
  return [JSON.parse(await bed.abs(CLIENT.name, ...words))].flat() as Row[];
}

async function height(): Promise<number> {
  return Number((await ledger("status"))[0]?.["height"]);
}

/** Hashes by height, as an agent has them. */
async function history(): Promise<Map<unknown, unknown>> {
  return new Map((await ledger("blocks")).map((row) => [row["height"], row["hash"]]));
}

test(
  "restored from an older backup, the manager goes on where its agents are",
  async () => {
    const haveStake = async () => {
      const rows = await ledger("members");
      return rows.length === 2 && rows.every((row) => Number(row["weight"]) > 0) ? true : undefined;
    };
    await waitFor("both agents in the committee", haveStake, MINUTE_MS);
    const { directory } = bed.site.options;
    const [backup, key] = [`${directory}/backup`, `${directory}/safe.key`];
    copyFileSync(inFolder(bed.dir, "dataKey"), key);
    await bed.ask("backup", backup);
    const backedUp = await height();
    await bed.ask("contract", "issue", "--tenant", TENANT);
    const isAhead = async () => ((await height()) > backedUp ? true : undefined);
    await waitFor("a block after the backup", isAhead, MINUTE_MS);
    await bed.untilEnforced();

    await bed.killManager();
    rmSync(bed.dir, { recursive: true });
    const before = await history();
    expect(before.size).toBeGreaterThan(backedUp);
    await bed.ask("restore", backup, "--data-key", key);
    await mustRun(["cp", "-p", key, inFolder(bed.dir, "dataKey")]);
    await bed.startManager();
    await bed.untilEnforced();
    // The lost contract is expired by a block of the restored master.
    const goesOn = async () => ((await height()) >= before.size + 1 ? true : undefined);
    await waitFor("the ledger to go on", goesOn, MINUTE_MS);
    const after = await history();
    for (const [at, hash] of before) expect([at, after.get(at)]).toEqual([at, hash]);
    expect((await bed.ping(CLIENT.name, SERVER, 3)).stdout).toContain("3 received");

    await bed.enrol(NEWCOMER.name, "--tag", "ping");
    await bed.startAgent(NEWCOMER.name);
    await bed.untilEnforced();
    await bed.untilAnswered(NEWCOMER.name, SERVER);
    const isMember = async () => ((await ledger("members")).length === 3 ? true : undefined);
    await waitFor("the newcomer to be a member", isMember, MINUTE_MS);
  },
  4 * MINUTE_MS,
);
