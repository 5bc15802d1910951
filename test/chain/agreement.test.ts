import { describe, expect, test } from "bun:test";
import { committeeOf } from "../../src/chain/chain-state.ts";
import type { Attempt, BlockHash, NodeId } from "../../src/chain/ledger-units.ts";
import { contractOf, standInKeys } from "./chain-builder.ts";
import { SmallNetwork } from "./small-network.ts";

const FIRST = 0 as Attempt;

function network(members: number): SmallNetwork {
  return new SmallNetwork(standInKeys(7), members);
}

/** Whether all that run stand at a height or above. */
function reached(net: SmallNetwork, height: number): () => boolean {
  return () => net.heights().every((other) => other >= height);
}

function leaderOf(net: SmallNetwork): NodeId {
  return committeeOf(net.chainOf(net.master), FIRST)[0] as NodeId;
}

/** One hash a height, on all disks. */
function expectOneChain(net: SmallNetwork): void {
  const hashes = new Map<number, string>();
  for (const seat of net.seats.values()) {
    for (const [height, state] of seat.disk.states) {
      expect(hashes.get(height) ?? state.blockHash).toBe(state.blockHash);
      hashes.set(height, state.blockHash);
    }
  }
}

describe.each([1, 2, 3, 4, 5, 6, 7, 20])("%d validators", (members) => {
  test("agree on ten blocks without a fault, and nobody is refused", () => {
    const net = network(members);
    for (let height = 1; height <= 10; height++) {
      net.propose(contractOf(height));
      expect(net.run(5000, reached(net, height))).toBe(true);
    }
    expectOneChain(net);
    for (const seat of net.seats.values()) expect(seat.reports).toEqual([]);
    expect(net.sent.some(({ message }) => message.kind === "ROUND_CHANGE")).toBe(false);
  });
});

describe.each([4, 7])("%d validators with one that is faulty", (members) => {
  test("a silent leader is replaced, and the block is sealed in view 1", () => {
    const net = network(members);
    const leader = leaderOf(net);
    net.tamper = (from, _to, message) => (from === leader ? undefined : message);
    net.propose(contractOf(1));
    expect(net.run(5000, reached(net, 1))).toBe(true);
    expect(net.chainOf(net.master).seal?.view as number).toBe(1);
    expectOneChain(net);
  });

  test("a leader whose hash differs from the candidate's is not followed", () => {
    const net = network(members);
    const leader = leaderOf(net);
    net.tamper = (from, _to, message) =>
      from === leader && message.kind === "PRE_PREPARE"
        ? { ...message, blockHash: "ab".repeat(32) as BlockHash }
        : message;
    net.propose(contractOf(1));
    expect(net.run(8000, reached(net, 1))).toBe(true);
    expect(net.chainOf(net.master).seal?.view as number).toBe(1);
  });

  test("a validator that crashed and comes back catches up and votes", () => {
    const net = network(members);
    const gone = net.members[0] as NodeId;
    net.crash(gone);
    for (let i = 1; i <= 3; i++) {
      net.propose(contractOf(i));
      const height = i;
      expect(net.run(40_000, reached(net, height))).toBe(true);
    }
    net.start(gone);
    expect(net.run(10_000, reached(net, 3))).toBe(true);
    net.propose(contractOf(9));
    expect(net.run(20_000, reached(net, 4))).toBe(true);
    expectOneChain(net);
  });
});

test("all crash in the middle of a block, and finish it after the restart", () => {
  const net = network(4);
  net.tamper = (_from, _to, message) => (message.kind === "COMMIT" ? undefined : message);
  net.propose(contractOf(1));
  net.run(500);
  for (const nodeId of net.seats.keys()) net.crash(nodeId);
  net.tamper = (_from, _to, message) => message;
  for (const nodeId of net.seats.keys()) net.start(nodeId);
  expect(net.run(20_000, reached(net, 1))).toBe(true);
  expectOneChain(net);
});

test("a master that crashes after the RESULT seals the same block again", () => {
  const net = network(4);
  let isDown = false;
  net.tamper = (from, _to, message) => {
    if (message.kind === "SEAL" && from === net.master && !isDown) return undefined;
    return message;
  };
  net.propose(contractOf(1));
  expect(net.run(3000, () => net.chainOf(net.master).height === 1)).toBe(true);
  isDown = true;
  net.crash(net.master);
  net.run(1000);
  net.start(net.master);
  expect(net.run(10_000, reached(net, 1))).toBe(true);
  expectOneChain(net);
});

test("two silent of four stop agreement; back again, it goes on", () => {
  const net = network(4);
  const silent = new Set(net.members.slice(0, 2));
  net.tamper = (from, to, message) => (silent.has(from) || silent.has(to) ? undefined : message);
  net.propose(contractOf(1));
  expect(net.run(60_000, () => net.heights().some((height) => height > 0))).toBe(false);
  net.tamper = (_from, _to, message) => message;
  expect(net.run(60_000, reached(net, 1))).toBe(true);
  expectOneChain(net);
});

test("when every view of an attempt fails, ABANDONs open the next", () => {
  const net = network(4);
  net.tamper = (_from, _to, message) =>
    message.kind === "PREPARE" && message.attempt === FIRST ? undefined : message;
  net.propose(contractOf(1));
  expect(net.run(120_000, reached(net, 1))).toBe(true);
  expect(net.chainOf(net.master).seal?.attempt as number).toBe(1);
  expectOneChain(net);
});

test("a prepared hash is carried into the next attempt", () => {
  const net = network(4);
  net.tamper = (_from, _to, message) =>
    message.kind === "COMMIT" && message.attempt === FIRST ? undefined : message;
  net.propose(contractOf(1));
  net.run(100);
  const first = net.sent.find(({ message }) => message.kind === "COMMIT") ?? net.sent[0];
  expect(first).toBeDefined();
  net.propose(contractOf(2));
  expect(net.run(120_000, reached(net, 1))).toBe(true);
  const state = net.chainOf(net.master);
  expect(state.seal?.attempt as number).toBe(1);
  expect(state.core.scReal).toBe(1);
});

test("a dead node in the line is skipped after three tries, within a second", () => {
  const net = network(4);
  const gone = net.members[1] as NodeId;
  net.crash(gone);
  net.propose(contractOf(1));
  expect(net.run(40_000, reached(net, 1))).toBe(true);
  net.run(2000);
  expect(net.seat(net.master).reports.some((words) => words.startsWith("link-down"))).toBe(true);
});

test("a wiped disk observes until two heights above what the others told are sealed", () => {
  const net = network(4);
  net.propose(contractOf(1));
  expect(net.run(3000, reached(net, 1))).toBe(true);
  const wiped = net.members[2] as NodeId;
  net.wipe(wiped);
  net.start(wiped, true);
  net.run(5000, reached(net, 1));
  const votes = (): number =>
    net.sent.filter(({ from, message }) => from === wiped && message.kind === "COMMIT").length;
  const before = votes();
  net.propose(contractOf(2));
  expect(net.run(20_000, reached(net, 2))).toBe(true);
  expect(votes()).toBe(before);
  net.run(40_000);
  net.propose(contractOf(3));
  expect(net.run(20_000, reached(net, 3))).toBe(true);
  net.propose(contractOf(4));
  expect(net.run(20_000, reached(net, 4))).toBe(true);
  // All have told height 2 meanwhile: forgotten votes can be at 4, not above.
  expect(votes()).toBe(before);
  net.propose(contractOf(5));
  expect(net.run(20_000, reached(net, 5))).toBe(true);
  expect(votes()).toBeGreaterThan(before);
});
