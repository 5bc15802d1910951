/**
 * The master keeps the Trusted Nodes List to those who are there: design "Choosing", docs/ledger.md
 * "Members and stake". A simulated clock; ten minutes are ten minutes of it.
 */
import { expect, test } from "bun:test";
import { committeeOf, newest } from "../../src/chain/chain-state.ts";
import type { Attempt, NodeId } from "../../src/chain/ledger-units.ts";
import { UNSEEN_MS } from "../../src/chain/master-list.ts";
import type { Stake } from "../../src/chain/member.ts";
import { encodeRecord } from "../../src/chain/record-schema.ts";
import { contractOf, standInKeys } from "./chain-builder.ts";
import { SmallNetwork } from "./small-network.ts";

const MINUTE_MS = 60_000;

function listOf(net: SmallNetwork): readonly Stake[] {
  return newest(net.chainOf(net.master).tnl) ?? [];
}

function idsOf(net: SmallNetwork): NodeId[] {
  return listOf(net).map(({ nodeId }) => nodeId);
}

function without(net: SmallNetwork, ...gone: NodeId[]): NodeId[] {
  return net.members.filter((nodeId) => !gone.includes(nodeId));
}

function reportsOf(net: SmallNetwork, code: string): string[] {
  return net.seat(net.master).reports.filter((line) => line.startsWith(`${code} `));
}

test("one unseen for ten minutes leaves the list, not sooner, and the others agree without it", () => {
  const net = new SmallNetwork(standInKeys(91), 4);
  const [gone] = net.members as [NodeId];
  net.run(MINUTE_MS);
  net.crash(gone);
  net.run(UNSEEN_MS - 5000);
  expect(idsOf(net)).toEqual([...net.members]);
  expect(net.run(30_000, () => idsOf(net).length === 3)).toBe(true);
  expect(idsOf(net)).toEqual(without(net, gone));
  expect(reportsOf(net, "unseen")).toEqual([`unseen ${gone} leaves the list`]);
  net.run(MINUTE_MS);
  expect([...committeeOf(net.chainOf(net.master), 0 as Attempt)].sort()).toEqual(
    without(net, gone),
  );
  // It is a member still, and nobody waits for its turn to lead any more.
  expect(net.chainOf(net.master).members.get(gone)?.revokedFrom).toBeUndefined();
  net.sent = [];
  net.propose(contractOf(1));
  const { height } = net.chainOf(net.master);
  expect(net.run(900, () => net.chainOf(net.master).height > height)).toBe(true);
  expect(net.sent.some(({ message }) => message.kind === "ROUND_CHANGE")).toBe(false);
});

test("it returns with its own stake when it is heard of, and sits in committees again", () => {
  const net = new SmallNetwork(standInKeys(92), 4);
  const [gone] = net.members as [NodeId];
  const before = listOf(net);
  net.crash(gone);
  expect(net.run(UNSEEN_MS + 60_000, () => idsOf(net).length === 3)).toBe(true);
  net.run(5 * MINUTE_MS);
  net.start(gone);
  expect(net.run(60_000, () => idsOf(net).length === 4)).toBe(true);
  expect(listOf(net)).toEqual(before);
  expect(reportsOf(net, "seen-again").length).toBe(1);
  net.run(10_000);
  expect(committeeOf(net.chainOf(net.master), 0 as Attempt)).toContain(gone);
  const { height } = net.chainOf(net.master);
  net.run(5 * MINUTE_MS);
  expect(net.chainOf(net.master).height).toBe(height);
});

test("of ten with three gone all three leave in one block, since seven are a quorum", () => {
  const net = new SmallNetwork(standInKeys(93), 10);
  const gone = net.members.slice(0, 3);
  for (const nodeId of gone) net.crash(nodeId);
  expect(net.run(UNSEEN_MS + 120_000, () => idsOf(net).length === 7)).toBe(true);
  expect(idsOf(net)).toEqual(without(net, ...gone));
});

test("nobody leaves below a quorum of those on the list, however long they are away", () => {
  const net = new SmallNetwork(standInKeys(94), 3);
  const [gone] = net.members as [NodeId];
  net.crash(gone);
  net.run(2 * UNSEEN_MS);
  expect(idsOf(net)).toEqual([...net.members]);
  expect(reportsOf(net, "unseen")).toEqual([]);
});

test("a master that was away itself gives everybody ten minutes anew, and still knows whom it owes", () => {
  const net = new SmallNetwork(standInKeys(95), 4);
  const [gone, other] = net.members as [NodeId, NodeId];
  net.crash(gone);
  expect(net.run(UNSEEN_MS + 60_000, () => idsOf(net).length === 3)).toBe(true);
  net.run(MINUTE_MS);
  net.crash(net.master);
  net.run(30 * MINUTE_MS);
  net.start(net.master);
  net.run(5000);
  expect(idsOf(net)).toEqual(without(net, gone));
  net.start(gone);
  expect(net.run(60_000, () => idsOf(net).includes(gone))).toBe(true);
  net.run(MINUTE_MS);
  // And one it has never heard of since its start.
  net.crash(net.master);
  net.crash(other);
  net.start(net.master);
  net.run(UNSEEN_MS - 10_000);
  expect(idsOf(net)).toContain(other);
  expect(net.run(60_000, () => !idsOf(net).includes(other))).toBe(true);
});

test("what an operator took off stays off, and one revoked meanwhile does not return", () => {
  const net = new SmallNetwork(standInKeys(96), 7);
  const [untrusted, gone] = net.members as [NodeId, NodeId];
  const records = [encodeRecord({ kind: "TNL", set: [], remove: [untrusted] })];
  net.proposeTo(net.master, [], records);
  expect(net.run(60_000, () => idsOf(net).length === 6)).toBe(true);
  net.crash(gone);
  expect(net.run(UNSEEN_MS + 60_000, () => idsOf(net).length === 5)).toBe(true);
  net.run(MINUTE_MS);
  const revoke = { kind: "NODE_REVOKE", nodeId: gone, reason: "sold" } as const;
  net.proposeTo(net.master, [], [encodeRecord(revoke)]);
  net.run(MINUTE_MS);
  net.start(gone);
  net.run(5 * MINUTE_MS);
  expect(idsOf(net)).toEqual(without(net, untrusted, gone));
  expect(reportsOf(net, "seen-again")).toEqual([]);
});

test("all who are there stay: hours without a block bring none", () => {
  const net = new SmallNetwork(standInKeys(97), 4);
  net.run(60 * MINUTE_MS);
  expect(net.chainOf(net.master).height as number).toBe(0);
  expect(net.seat(net.master).reports).toEqual([]);
});
