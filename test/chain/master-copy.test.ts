/**
 * A master whose disk was put back from a copy. docs/ledger.md "A master's copy": it seals nothing
 * alone, since it may have sealed another block there, until it has caught up with a chain that
 * somebody agrees on; a member that this copy does not know shows it the way.
 */
import { expect, test } from "bun:test";
import type { Height, NodeId } from "../../src/chain/ledger-units.ts";
import { encodeRecord } from "../../src/chain/record-schema.ts";
import { stakeOf } from "../../src/chain/stake.ts";
import { contractOf, standInKeys } from "./chain-builder.ts";
import { SmallNetwork } from "./small-network.ts";

const FIRST = 1 as Height;

/** A ledger that began without members; one joined at height 2 and has stake. */
function grownNetwork(seed: number): { net: SmallNetwork; member: NodeId } {
  const net = new SmallNetwork(standInKeys(seed), 0);
  net.propose(contractOf(1));
  net.run(1000);
  const { nodeId, vcpu, ramMib, securityScore, ...words } = net.addNode();
  const add = encodeRecord({ kind: "NODE_ADD", nodeId, ...words });
  net.proposeTo(net.master, [], [add]);
  net.run(5000, () => net.chainOf(nodeId).members.has(nodeId));
  const line = stakeOf({ nodeId, vcpu, ramMib, securityScore });
  const stake = encodeRecord({ kind: "TNL", set: [line], remove: [] });
  net.proposeTo(net.master, [], [stake]);
  net.run(5000);
  net.propose(contractOf(2));
  net.run(5000);
  return { net, member: nodeId };
}

/** Hashes that the master has sealed at each height, as far as anybody was told. */
function sealedHashes(net: SmallNetwork): Map<number, Set<string>> {
  const hashes = new Map<number, Set<string>>();
  for (const { from, message } of net.sent) {
    if (message.kind !== "SEAL" || from !== net.master) continue;
    hashes.set(message.height, (hashes.get(message.height) ?? new Set()).add(message.blockHash));
  }
  return hashes;
}

test("what a copy lacks comes from a member that it does not know; then it seals the next block", () => {
  const { net, member } = grownNetwork(191);
  const { height, blockHash } = net.chainOf(member);
  expect(height).toBeGreaterThan(3);
  net.putBack(net.master, FIRST);
  expect(net.chainOf(net.master).height).toBe(FIRST);
  expect(net.chainOf(net.master).members.size).toBe(0);
  // It would like to seal another block 2 at once.
  net.propose(contractOf(3));
  expect(net.run(30_000, () => net.chainOf(member).height > height)).toBe(true);
  net.run(5000);
  expect(net.chainOf(net.master).blockHash).toBe(net.chainOf(member).blockHash);
  expect(net.seat(member).disk.find(blockHash)?.core.height).toBe(height);
  expect(net.chainOf(member).scd.find(contractOf(3).scId)).toBeDefined();
  for (const [, hashes] of sealedHashes(net)) expect(hashes.size).toBe(1);
  expect(net.seat(member).participant?.stoppedBy).toBeUndefined();
});

test("with nobody to show it a copy waits, however long, and says so", () => {
  const { net, member } = grownNetwork(192);
  net.crash(member);
  net.putBack(net.master, FIRST);
  net.propose(contractOf(3));
  net.run(3_600_000);
  expect(net.chainOf(net.master).height).toBe(FIRST);
  expect(net.seat(net.master).reports.some((line) => line.startsWith("observing"))).toBe(true);
  net.start(member);
  const isSealed = (): boolean => net.chainOf(member).scd.find(contractOf(3).scId) !== undefined;
  expect(net.run(30_000, isSealed)).toBe(true);
});

test("a copy of a ledger with members asks them, as after every start", () => {
  const net = new SmallNetwork(standInKeys(193), 4);
  for (const number of [1, 2, 3]) {
    net.propose(contractOf(number));
    net.run(2000);
  }
  expect(net.chainOf(net.master).height).toBe(3 as Height);
  net.putBack(net.master, FIRST);
  net.propose(contractOf(4));
  expect(net.run(30_000, () => net.chainOf(net.master).height > 3)).toBe(true);
  for (const [, hashes] of sealedHashes(net)) expect(hashes.size).toBe(1);
});
