/**
 * The manager as the master of a tenant's ledger, with real nodes that run in the folders which
 * enrolment wrote: members, stake, contracts, revocation, and a manager that was away.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { type AddressInfo, createServer } from "node:net";
import { loadProvisioning } from "../../src/agent/provisioning.ts";
import { newest } from "../../src/chain/chain-state.ts";
import type { NodeId } from "../../src/chain/ledger-units.ts";
import { ensureKeys } from "../../src/channel/agent-folder.ts";
import { fetchState } from "../../src/channel/update-client.ts";
import { LedgerProcess } from "../../src/node/ledger-process.ts";
import { openJournal } from "../../src/node/store-journal.ts";
import type { AbsEvent } from "../../src/observe/event-log.ts";
import { ManagerSite } from "./manager-site.ts";
import { freePort } from "./ssh-site.ts";

let site: ManagerSite;
const nodes: LedgerProcess[] = [];
/** Events of the nodes. */
const told: AbsEvent[] = [];

beforeAll(async () => {
  site = await ManagerSite.open();
  await site.addTenant("t1");
});

afterAll(async () => {
  for (const node of nodes) node.stop();
  await site.close();
});

/**
 * A folder whose node calls the master: the address in its certificate is nobody's here, so that
 * nobody could call it.
 */
function callingDir(above = ""): string {
  const masterId = site.manager?.state.manager.keys.nodeId ?? "";
  for (;;) {
    const dir = site.freshDir();
    const { nodeId } = ensureKeys(dir).keys;
    if (nodeId < masterId && nodeId > above) return dir;
  }
}

async function runNode(dir: string): Promise<LedgerProcess> {
  const listen = { host: "127.0.0.1", port: await freePort() };
  const events = { write: (event: AbsEvent) => told.push(event) };
  const node = await LedgerProcess.start({ role: "validator", dir, listen, events, openJournal });
  nodes.push(node);
  return node;
}

async function until(what: () => boolean): Promise<void> {
  while (!what()) await new Promise((resolve) => setTimeout(resolve, 5));
}

function heightOf(): number {
  return Number(site.manager?.ledgerStatus("t1")["height"] ?? 0);
}

test("contracts of a new tenant are sealed by the master alone", async () => {
  await until(() => heightOf() > 0);
  const [row] = (await site.command("tenant", "list")) as unknown as Record<string, unknown>[];
  expect(row).toMatchObject({ name: "t1", contracts: 2 });
  expect(row?.["chain_id"]).toMatch(/^[0-9a-f]{64}$/);
});

test("a tenant whose port is taken is not there; a manager starts without a ledger that cannot", async () => {
  const blocker = createServer();
  await new Promise<void>((resolve) => blocker.listen(0, "127.0.0.1", resolve));
  const { port } = blocker.address() as AddressInfo;
  const added = site.command("tenant", "add", "t2", "--peer-port", `${port}`);
  expect(await added.catch((error: Error) => error.message)).toContain("[PEER_PORT_BUSY]");
  const names = async () => {
    const rows = (await site.command("tenant", "list")) as unknown as { name: string }[];
    return rows.map(({ name }) => name);
  };
  expect(await names()).toEqual(["t1"]);
  await new Promise((resolve) => blocker.close(resolve));
  await site.command("tenant", "add", "t2", "--peer-port", `${port}`);
  await site.manager?.stop();
  const again = createServer();
  await new Promise<void>((resolve) => again.listen(port, "127.0.0.1", resolve));
  await site.start();
  expect(await names()).toEqual(["t1", "t2"]);
  expect(site.manager?.ledgerStatus("t2")).toEqual({});
  await new Promise((resolve) => again.close(resolve));
  await until(() => site.manager?.ledgerStatus("t2")["height"] !== undefined);
});

test("an enrolled agent becomes a member; its node reads the chain, and gets stake when it is met", async () => {
  const dir = callingDir();
  const { own, contracts } = await site.enrol(await site.invite("a"), dir);
  const { nodeId } = own.certificate.certificate;
  const node = await runNode(dir);
  const chain = () => node.runner.participant.chain;
  await until(() => chain().members.has(nodeId));
  for (const { entry } of contracts) {
    expect(chain().scd.find(entry.scId)).toBeDefined();
  }
  await until(() => newest(chain().tnl)?.some((stake) => stake.nodeId === nodeId) === true);
  const line = newest(chain().tnl)?.find((stake) => stake.nodeId === nodeId);
  expect(line).toMatchObject({ vcpu: 2, ramMib: 2048, securityScore: 50 });
  // Another trust level is another stake; the member itself votes for it.
  await site.command("agents", "set", "--agent", "a", "--trust", "90");
  await until(() => newest(chain().tnl)?.[0]?.securityScore === 90);
}, 60_000);

test("a second agent joins by the vote of the first, and a revoked one leaves the members", async () => {
  const [first] = nodes;
  const chain = () => first?.runner.participant.chain;
  const dir = callingDir();
  const { own } = await site.enrol(await site.invite("b"), dir);
  const { nodeId } = own.certificate.certificate;
  await until(() => chain()?.members.has(nodeId) === true);
  await site.command("agents", "revoke", "b", "--reason", "stolen");
  await until(() => chain()?.members.get(nodeId)?.revokedFrom !== undefined);
  expect(chain()?.members.get(nodeId)?.revokedBy).toBe("master");
  // The word of it went to the peers, beside the block.
  const word = { event: "peer-revoked", node_id: nodeId, reason: "stolen" };
  await until(() => told.some((event) => Bun.deepMatch(word, event)));
}, 60_000);

test("what happened while the ledger was away is proposed when the manager is back", async () => {
  const [first] = nodes;
  const before = heightOf();
  const { manager } = site;
  await manager?.stop();
  await site.start();
  expect(heightOf()).toBe(before);
  const dir = callingDir();
  const { own } = await site.enrol(await site.invite("c"), dir);
  const { nodeId } = own.certificate.certificate as { nodeId: NodeId };
  await until(() => first?.runner.participant.chain.members.has(nodeId) === true);
  expect((await fetchState(dir, loadProvisioning)).neighbours.map(({ name }) => name)).toEqual([
    "a",
  ]);
}, 60_000);
