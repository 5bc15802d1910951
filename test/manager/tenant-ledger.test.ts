/**
 * The manager as the master of a tenant's ledger, with real nodes that run in the folders which
 * enrolment wrote: members, stake, contracts, revocation, and a manager that was away.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { type AddressInfo, createServer } from "node:net";
import { loadProvisioning } from "../../src/agent/provisioning.ts";
import { newest } from "../../src/chain/chain-state.ts";
import type { NodeId } from "../../src/chain/ledger-units.ts";
import { verifyChain } from "../../src/chain/verify-chain.ts";
import { fetchState } from "../../src/channel/update-client.ts";
import { createLedgerCrypto } from "../../src/node/ledger-crypto.ts";
import type { LedgerProcess } from "../../src/node/ledger-process.ts";
import { ManagerSite, until } from "./manager-site.ts";

let site: ManagerSite;
/** Of the first agent. */
let first: LedgerProcess;

beforeAll(async () => {
  site = await ManagerSite.open();
  await site.addTenant("t1");
});

afterAll(async () => {
  await site.close();
});

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
  const dir = site.callingDir();
  const { own, contracts } = await site.enrol(await site.invite("a"), dir);
  const { nodeId } = own.certificate.certificate;
  first = await site.runNode(dir);
  const chain = () => first.runner.participant.chain;
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
  const chain = () => first.runner.participant.chain;
  const dir = site.callingDir();
  const { own } = await site.enrol(await site.invite("b"), dir);
  const { nodeId } = own.certificate.certificate;
  await until(() => chain().members.has(nodeId) === true);
  await site.command("agents", "revoke", "b", "--reason", "stolen");
  await until(() => chain().members.get(nodeId)?.revokedFrom !== undefined);
  expect(chain().members.get(nodeId)?.revokedBy).toBe("master");
  // The word of it went to the peers, beside the block.
  const word = { event: "peer-revoked", node_id: nodeId, reason: "stolen" };
  await until(() => site.told.some((event) => Bun.deepMatch(word, event)));
}, 60_000);

test("what happened while the ledger was away is proposed when the manager is back", async () => {
  const before = heightOf();
  const { manager } = site;
  await manager?.stop();
  await site.start();
  expect(heightOf()).toBe(before);
  const dir = site.callingDir();
  const { own } = await site.enrol(await site.invite("c"), dir);
  const { nodeId } = own.certificate.certificate as { nodeId: NodeId };
  await until(() => first.runner.participant.chain.members.has(nodeId) === true);
  expect((await fetchState(dir, loadProvisioning)).neighbours.map(({ name }) => name)).toEqual([
    "a",
  ]);
}, 60_000);

test("what `ledger export` says is the chain that `abs ledger verify` takes", async () => {
  type Exported = { readonly next: number | null; readonly lines: readonly string[] };
  const exported = async (from: number) => {
    const words = ["ledger", "export", "--tenant", "t1", "--from", `${from}`];
    return (await site.command(...words)) as unknown as Exported;
  };
  const { lines, next } = await exported(0);
  expect(next).toBeNull();
  expect((await exported(2)).lines[0]).toBe(lines[2] as string);
  expect((await exported(1_000_000)).lines).toEqual([]);
  const verify = (text: readonly string[]) =>
    verifyChain([Buffer.from(text.map((line) => `${line}\n`).join(""))], createLedgerCrypto());
  const found = await verify(lines);
  expect(found.isValid ? Number(found.state.height) : found.error).toBe(lines.length - 1);
  // A chain from which a block was left out is none.
  expect((await verify(lines.toSpliced(1, 1))).isValid).toBe(false);
});
