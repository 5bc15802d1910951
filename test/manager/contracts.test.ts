/**
 * Contracts by policy and by hand: what is issued, renewed and ended, on the chain and at agents.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import { loadProvisioning } from "../../src/agent/provisioning.ts";
import type { ScId } from "../../src/chain/ledger-units.ts";
import { secretCommitment } from "../../src/chain/secret-commitment.ts";
import { fetchState } from "../../src/channel/update-client.ts";
import { keepContracts } from "../../src/manager/contract-keeper.ts";
import { askContract } from "../../src/node/control-server.ts";
import { fileIn } from "../../src/node/node-folder.ts";
import { ManagerSite } from "./manager-site.ts";

const DAY_SECONDS = 86_400;
let site: ManagerSite;
let agent: string;

beforeAll(async () => {
  site = await ManagerSite.open();
  await site.addTenant("t1");
  agent = site.freshDir();
  await site.enrol(await site.invite("a"), agent);
});

afterAll(() => site.close());

type Row = { "sc-id": ScId; active: unknown; generation: number };

async function rows(): Promise<Row[]> {
  return (await site.command("contract", "list", "--tenant", "t1")) as unknown as Row[];
}

function onChain(scId: ScId) {
  return askContract(fileIn(join(site.dir, "ledgers", "t1"), "control"), scId);
}

async function until(what: () => Promise<boolean>): Promise<void> {
  while (!(await what())) await new Promise((resolve) => setTimeout(resolve, 20));
}

test("a new tenant has two contracts, sealed with the commitments to their secrets", async () => {
  const found = await rows();
  expect(found.map(({ active, generation }) => [active, generation])).toEqual([
    [true, 1],
    [true, 1],
  ]);
  const state = await fetchState(agent, loadProvisioning);
  for (const { entry, secrets } of state.contracts) {
    await until(async () => (await onChain(entry.scId)) !== undefined);
    const sealed = await onChain(entry.scId);
    const [{ generation, secret } = { generation: 0, secret: new Uint8Array(0) }] = secrets;
    expect(sealed?.secretCommitment).toBe(secretCommitment(entry.scId, generation, secret));
  }
});

test("by hand: another secret, on the chain and at the agent, which keeps the one before", async () => {
  const [first] = await rows();
  const scId = first?.["sc-id"] as ScId;
  const twice = ["contract", "regenerate", scId, "--tenant", "t1"];
  expect(await site.command(...twice)).toMatchObject({ generation: 2 });
  expect(await site.command(...twice)).toMatchObject({ generation: 3 });
  // The ledger takes one generation at a time.
  await until(async () => (await onChain(scId))?.generation === 3);
  const state = await fetchState(agent, loadProvisioning);
  const held = state.contracts.find(({ entry }) => entry.scId === scId);
  expect(held?.secrets.map(({ generation }) => generation)).toEqual([1, 2, 3]);
  const sealed = await onChain(scId);
  const last = held?.secrets.at(-1)?.secret ?? new Uint8Array(0);
  expect(sealed?.secretCommitment).toBe(secretCommitment(scId, 3, last));
}, 60_000);

test("an expired contract is gone from the chain and from agents, and another takes its place", async () => {
  const [first] = await rows();
  const scId = first?.["sc-id"] as ScId;
  await site.command("contract", "expire", scId, "--tenant", "t1");
  await until(async () => (await onChain(scId)) === undefined);
  await until(async () => (await rows()).filter(({ active }) => active === true).length === 2);
  const state = await fetchState(agent, loadProvisioning);
  expect(state.contracts.map(({ entry }) => entry.scId)).not.toContain(scId);
  expect(state.contracts).toHaveLength(2);
  const query = site.manager?.state.manager.database.query(
    "SELECT count(*) AS count FROM contract_secret WHERE sc_id = ?",
  );
  expect(query?.get(scId)).toEqual({ count: 0 });
}, 60_000);

test("at keyregen every contract gets its next secret", async () => {
  site.skewSeconds = 31 * DAY_SECONDS;
  await until(async () => {
    const live = (await rows()).filter(({ active }) => active === true);
    return live.length === 2 && live.every(({ generation }) => generation >= 2);
  });
  // Once: the next one is 30 days later.
  const { state } = site.manager ?? {};
  expect(state && keepContracts(state, "t1")).toEqual([]);
});

test("before contracts end their successors are there; at the end they are expired", async () => {
  const before = (await rows()).filter(({ active }) => active === true);
  site.skewSeconds = 340 * DAY_SECONDS;
  await until(async () => (await rows()).filter(({ active }) => active === true).length === 4);
  site.skewSeconds = 366 * DAY_SECONDS;
  const isOver = (row: Row) => before.some((old) => old["sc-id"] === row["sc-id"]);
  await until(async () =>
    (await rows()).filter(isOver).every(({ active }) => active === "expired"),
  );
  expect((await rows()).filter(({ active }) => active === true)).toHaveLength(2);
  const events = site.events().map(({ event }) => event);
  for (const name of ["contract-issued", "contract-regenerated", "contract-expired"]) {
    expect(events).toContain(name);
  }
});
