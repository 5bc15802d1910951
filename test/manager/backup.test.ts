/**
 * A manager that is destroyed and restored from a backup that is older than its ledger: agents come
 * back with the keys they have, no height is sealed twice, the ledger goes on, new agents enrol;
 * what was revoked since stays so, and secrets that were lost are drawn anew.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { copyFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { loadProvisioning } from "../../src/agent/provisioning.ts";
import { committeeOf } from "../../src/chain/chain-state.ts";
import type { Attempt, Height, NodeId, ScId } from "../../src/chain/ledger-units.ts";
import { secretCommitment } from "../../src/chain/secret-commitment.ts";
import { fetchState } from "../../src/channel/update-client.ts";
import { makeBackup } from "../../src/manager/backup.ts";
import { inFolder } from "../../src/manager/manager-folder.ts";
import { restoreManager } from "../../src/manager/restore.ts";
import type { LedgerProcess } from "../../src/node/ledger-process.ts";
import { epochNow } from "../../src/node/ledger-runner.ts";
import { freePort } from "../free-port.ts";
import { ManagerSite } from "./manager-site.ts";

let site: ManagerSite;
let port: number;
let file: string;
let dataKey: string;
const dirs: string[] = [];
/** Of the first agent. */
let node: LedgerProcess;

beforeAll(async () => {
  site = await ManagerSite.open();
  file = join(site.base, "backup");
  dataKey = join(site.base, "data.key");
  copyFileSync(inFolder(site.dir, "dataKey"), dataKey);
  port = site.manager?.port ?? 0;
});

afterAll(() => site.close());

async function until(what: () => boolean): Promise<void> {
  while (!what()) await new Promise((resolve) => setTimeout(resolve, 10));
}

const chain = () => node.runner.participant.chain;

/** Its node is not run: addresses of agents are nobody's here, so only one can be in committees. */
async function enrolOne(name: string): Promise<NodeId> {
  const dir = name === "a" ? site.callingDir() : site.freshDir();
  const { own } = await site.enrol(await site.invite(name), dir);
  dirs.push(dir);
  return own.certificate.certificate.nodeId;
}

async function destroyAndRestore(wasStopped: boolean): Promise<void> {
  await site.manager?.stop();
  rmSync(site.dir, { recursive: true });
  await restoreManager({ file, dir: site.dir, dataKey, wasStopped, now: epochNow() });
  copyFileSync(dataKey, inFolder(site.dir, "dataKey"));
  await site.start({}, port);
}

test("an older backup: the master catches up before it seals, and nothing is enrolled anew", async () => {
  await site.addTenant("t1");
  const ids = [await enrolOne("a"), await enrolOne("b"), await enrolOne("gone")];
  node = await site.runNode(dirs[0] as string);
  await until(() => ids.every((id) => chain().members.has(id)));
  await until(() => committeeOf(chain(), 0 as Attempt).length === 1);
  makeBackup({ dir: site.dir, dataKey: undefined, file, now: epochNow() });
  const backedUp = chain().height;

  // The ledger goes on: a contract's next secret, another contract, an agent, a revocation.
  const rows = (await site.command("contract", "list", "--tenant", "t1")) as unknown as {
    "sc-id": ScId;
  }[];
  const kept = rows[0]?.["sc-id"] as ScId;
  await site.command("contract", "regenerate", kept, "--tenant", "t1");
  const ended = rows[1]?.["sc-id"] as ScId;
  await site.command("contract", "expire", ended, "--tenant", "t1");
  const lost = (await site.command("contract", "issue", "--tenant", "t1"))["sc-id"] as ScId;
  const unknown = await enrolOne("late");
  await site.command("agents", "revoke", "gone", "--reason", "stolen");
  await until(
    () =>
      chain().scd.find(lost) !== undefined &&
      chain().members.has(unknown) &&
      chain().members.get(ids[2] as NodeId)?.revokedFrom !== undefined,
  );
  const before = chain();
  expect(before.height).toBeGreaterThan(backedUp);

  await destroyAndRestore(false);
  const ledger = () => site.manager?.ledgerStatus("t1") ?? {};
  await until(() => Number(ledger()["height"]) > before.height);
  // Not one block was sealed anew.
  await until(() => chain().height > before.height);
  const { history, stoppedBy } = node.runner.participant;
  const next = history.at((before.height + 1) as Height);
  expect(next?.core.previousBlockHash).toBe(before.blockHash);
  expect(stoppedBy).toBeUndefined();
  expect(site.told.filter(({ event }) => event === "ledger-conflict")).toEqual([]);

  // Agents come with the keys they have and get their state; the revoked one does not.
  for (const dir of dirs.slice(0, 2)) {
    const state = await fetchState(dir, loadProvisioning);
    expect(state.version).toBeGreaterThan(1_000_000);
  }
  const revoked = fetchState(dirs[2] as string, loadProvisioning);
  expect(await revoked.then(String, (error: Error) => error.message)).toContain(
    "does not let this key in",
  );
  expect(site.events()).toContainEqual(
    expect.objectContaining({ event: "agent-revoked", node: ids[2], name: "gone" }),
  );
  // Who enrolled since is told to the administrator.
  expect(site.events()).toContainEqual(
    expect.objectContaining({ event: "agent-unknown", node: unknown }),
  );

  // Its second secret is lost: the third is drawn, on the chain and at agents.
  await until(() => chain().scd.find(lost) === undefined && chain().scd.isUsed(lost));
  const secretOf = async () => {
    const state = await fetchState(dirs[0] as string, loadProvisioning);
    return state.contracts.find(({ entry }) => entry.scId === kept)?.secrets.at(-1);
  };
  const secret = await secretOf();
  expect(secret?.generation).toBe(3);
  const commitment = secretCommitment(kept, 3, secret?.secret ?? new Uint8Array(0));
  await until(() => String(Buffer.from(chain().scd.find(kept)?.bytes ?? [])).includes(commitment));
  // No contract that ended is back.
  const after = (await site.command("contract", "list", "--tenant", "t1")) as unknown as {
    "sc-id": ScId;
    active: unknown;
  }[];
  expect(after.find((row) => row["sc-id"] === ended)?.active).toBe("expired");
}, 60_000);

test("after it a new agent enrols and becomes a member, with a new token only", async () => {
  const before = chain().height;
  const id = await enrolOne("new");
  await until(() => chain().members.has(id));
  expect(chain().height).toBeGreaterThan(before);
}, 60_000);

test("a ledger that nobody but the master held waits, and goes on with --stopped", async () => {
  await site.command("tenant", "add", "t2", "--peer-port", `${await freePort()}`);
  const height = () => Number(site.manager?.ledgerStatus("t2")["height"]);
  await until(() => height() > 0);
  makeBackup({ dir: site.dir, dataKey: undefined, file, now: epochNow() });
  await destroyAndRestore(false);
  const before = height();
  await site.command("contract", "issue", "--tenant", "t2");
  const said = () =>
    site.events().some(({ event, tenant }) => event === "ledger-observing" && tenant === "t2");
  await until(said);
  // Its own timer asks each second.
  await Bun.sleep(2500);
  expect(height()).toBe(before);
  await destroyAndRestore(true);
  await site.command("contract", "issue", "--tenant", "t2");
  await until(() => height() > before);
}, 60_000);
