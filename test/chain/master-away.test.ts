/**
 * An hour without a master, in simulated time: validators keep what was agreed, bring each other to
 * it, wait without noise, and go on when it is back. The sessions' part is in
 * test/plane/manager-away.test.ts.
 */
import { expect, test } from "bun:test";
import type { NodeId } from "../../src/chain/ledger-units.ts";
import { contractOf, standInKeys } from "./chain-builder.ts";
import { SmallNetwork } from "./small-network.ts";

const MINUTE_MS = 60_000;
const QUARTER_MS = 15 * MINUTE_MS;
const SEED = 82;

/** One more block, on all that run. */
function grow(net: SmallNetwork, i: number): void {
  net.propose(contractOf(i));
  expect(net.run(MINUTE_MS, () => net.heights().every((height) => height === i))).toBe(true);
}

/** Messages that were sent while this ran, by minute. */
function messagesAMinute(net: SmallNetwork, forMs: number): number {
  net.sent = [];
  net.run(forMs);
  return net.sent.length / (forMs / MINUTE_MS);
}

test("validators keep the chain, bring each other to it, and wait without noise", () => {
  const net = new SmallNetwork(standInKeys(SEED), 4);
  for (let i = 1; i <= 3; i++) grow(net, i);
  const usual = messagesAMinute(net, QUARTER_MS);
  const before = net.chainOf(net.master);
  net.crash(net.master);
  const [wiped, restarted] = net.members as [NodeId, NodeId];
  net.run(QUARTER_MS);
  // One starts anew, and one has lost its disk: others bring it what they have.
  net.crash(restarted);
  net.start(restarted);
  net.wipe(wiped);
  net.start(wiped, true);
  expect(messagesAMinute(net, 2 * QUARTER_MS)).toBeLessThan(2 * usual);
  net.run(QUARTER_MS);
  for (const nodeId of net.members) {
    expect(net.chainOf(nodeId).blockHash).toBe(before.blockHash);
    expect(net.chainOf(nodeId).scd.root).toBe(before.scd.root);
    const told = net.seat(nodeId).reports.filter((line) => /evidence|conflict/.test(line));
    expect(told).toEqual([]);
  }
  net.start(net.master);
  for (let i = 4; i <= 6; i++) grow(net, i);
});

test("what was being agreed when it died is sealed once it is back, an hour later", () => {
  const net = new SmallNetwork(standInKeys(SEED), 4);
  grow(net, 1);
  net.propose(contractOf(2));
  const isVoted = () => net.sent.some(({ message }) => message.kind === "COMMIT");
  net.sent = [];
  expect(net.run(MINUTE_MS, isVoted)).toBe(true);
  net.crash(net.master);
  net.run(4 * QUARTER_MS);
  net.start(net.master);
  expect(net.run(MINUTE_MS, () => net.heights().every((height) => height >= 2))).toBe(true);
  const roots = net.members.map((nodeId) => net.chainOf(nodeId).scd.root);
  expect(new Set(roots).size).toBe(1);
  const contract = contractOf(2).scId;
  expect(net.chainOf(net.master).scd.find(contract)).toBeDefined();
});
