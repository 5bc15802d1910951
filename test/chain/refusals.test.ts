/**
 * What happens to a block that is not agreed at once: items that spoil it, clocks that refuse it,
 * time that makes it old, members that never saw it. docs/ledger.md "Reasons"; rules 1, 4 and 7.
 */
import { describe, expect, test } from "bun:test";
import { type ChainState, committeeOf, newest } from "../../src/chain/chain-state.ts";
import type { Attempt, NodeId } from "../../src/chain/ledger-units.ts";
import type { Master } from "../../src/chain/master-state.ts";
import { nodeIdOf } from "../../src/chain/message-signing.ts";
import type { CandidateMessage } from "../../src/chain/message-types.ts";
import { decodeRecord, encodeRecord } from "../../src/chain/record-schema.ts";
import type { LedgerRecord } from "../../src/chain/record-types.ts";
import { stakeOf } from "../../src/chain/stake.ts";
import { contractOf, standInKeys } from "./chain-builder.ts";
import { SmallNetwork } from "./small-network.ts";

const FIRST = 0 as Attempt;

function reached(net: SmallNetwork, height: number): () => boolean {
  return () => net.heights().every((other) => other >= height);
}

function leaderOf(net: SmallNetwork): NodeId {
  return committeeOf(net.chainOf(net.master), FIRST)[0] as NodeId;
}

function candidatesOf(net: SmallNetwork): CandidateMessage[] {
  const found = new Map<string, CandidateMessage>();
  for (const { message } of net.sent) {
    if (message.kind === "CANDIDATE") found.set(message.signature.toHex(), message);
  }
  return [...found.values()];
}

function reportsOf(net: SmallNetwork, nodeId: NodeId, code: string): string[] {
  return net.seat(nodeId).reports.filter((line) => line.startsWith(`${code} `));
}

function kindsIn(net: SmallNetwork, height: number): string[] {
  const block = net.seat(net.master).disk.at(height as never);
  return (block?.body.records ?? []).map((bytes) => {
    const read = decodeRecord(bytes);
    return "record" in read ? read.record.kind : "?";
  });
}

describe("items that spoil a block", () => {
  const signature = (id: string, seq: number): LedgerRecord => ({
    ...{ kind: "SIGNATURE", signatureId: id, seq, status: "published" },
    ...{ version: 1, commitment: "11".repeat(32) as never },
  });

  test("one bad record among good ones and contracts leaves alone", () => {
    const net = new SmallNetwork(standInKeys(101), 4);
    const records = [signature("a", 1), signature("b", 5), signature("c", 1)].map(encodeRecord);
    net.proposeTo(net.master, [contractOf(1), contractOf(2)], records);
    expect(net.run(5000, reached(net, 1))).toBe(true);
    expect(kindsIn(net, 1)).toEqual(["SIGNATURE", "SIGNATURE"]);
    expect(net.chainOf(net.master).core.scReal).toBe(2);
    expect(reportsOf(net, net.master, "refused").length).toBe(1);
    expect(reportsOf(net, net.master, "refused")[0]).toContain('"signature_id":"b"');
  });

  test("of a thousand contracts the three bad ones leave, wherever they are", () => {
    const net = new SmallNetwork(standInKeys(102), 1);
    const contracts = Array.from({ length: 1000 }, (_, i) => contractOf(i));
    for (const at of [0, 500, 999]) contracts[at] = contractOf(at, { generation: 0 });
    net.proposeTo(net.master, contracts);
    expect(net.run(5000, reached(net, 1))).toBe(true);
    expect(net.chainOf(net.master).core.scReal).toBe(997);
    expect(reportsOf(net, net.master, "refused").length).toBe(3);
  });

  test("what only an earlier record of the block makes right is right beside a wrong one", () => {
    const net = new SmallNetwork(standInKeys(103), 4);
    const { ledgerPub, vrfPub, certificate, possession, ...resources } = net.builder.member(9);
    const nodeId = nodeIdOf(ledgerPub);
    const add = { kind: "NODE_ADD", nodeId, ledgerPub, vrfPub, certificate, possession } as const;
    const tnl = { kind: "TNL", set: [stakeOf({ nodeId, ...resources })], remove: [] } as const;
    const records = [add, signature("b", 5), tnl].map((record) => encodeRecord(record));
    net.proposeTo(net.master, [], records);
    expect(net.run(5000, reached(net, 1))).toBe(true);
    expect(kindsIn(net, 1)).toEqual(["NODE_ADD", "TNL"]);
    expect(newest(net.chainOf(net.master).tnl)?.length).toBe(5);
  });

  test("of two that contradict each other one stays", () => {
    const net = new SmallNetwork(standInKeys(104), 2);
    const records = net.members.map((nodeId) =>
      encodeRecord({ kind: "NODE_REVOKE", nodeId, reason: "both" }),
    );
    net.proposeTo(net.master, [], records);
    expect(net.run(5000, reached(net, 1))).toBe(true);
    expect(kindsIn(net, 1)).toEqual(["NODE_REVOKE"]);
    expect(reportsOf(net, net.master, "refused").length).toBe(1);
  });

  test("where nothing is right nothing is proposed, and what comes then is", () => {
    const net = new SmallNetwork(standInKeys(105), 4);
    net.proposeTo(net.master, [contractOf(1, { seq: 3 })], [encodeRecord(signature("b", 5))]);
    net.run(5000);
    expect(candidatesOf(net)).toEqual([]);
    expect((net.seat(net.master).participant as Master).contracts).toEqual([]);
    net.propose(contractOf(2));
    expect(net.run(5000, reached(net, 1))).toBe(true);
  });
});

describe("clocks", () => {
  test("of two members that are minutes off hold up a block of four; the master hears why", () => {
    const net = new SmallNetwork(standInKeys(106), 4);
    const leader = leaderOf(net);
    const wrong = net.members.filter((nodeId) => nodeId !== leader).slice(0, 2);
    for (const nodeId of wrong) net.seat(nodeId).clockOffset = 300;
    net.propose(contractOf(1));
    net.run(900);
    expect(reached(net, 1)()).toBe(false);
    for (const nodeId of wrong) {
      expect(reportsOf(net, nodeId, "refused")[0]).toContain("clock 300 s");
    }
    // Two refusals of four leave no q.
    expect(reportsOf(net, net.master, "no-quorum")).toEqual([
      "no-quorum height 1: reasons clock, clock",
    ]);
    // Set right, they vote on what they refused.
    for (const nodeId of wrong) net.seat(nodeId).clockOffset = 0;
    expect(net.run(60_000, reached(net, 1))).toBe(true);
  });

  test("of one member do not hold up four, nor does it lie behind after", () => {
    const net = new SmallNetwork(standInKeys(107), 4);
    const [late] = net.members.filter((nodeId) => nodeId !== leaderOf(net)) as [NodeId];
    net.seat(late).clockOffset = -3600;
    net.propose(contractOf(1));
    expect(net.run(5000, reached(net, 1))).toBe(true);
    expect(reportsOf(net, net.master, "no-quorum")).toEqual([]);
  });

  test("a candidate that found no quorum in its window is offered again with the present time", () => {
    const net = new SmallNetwork(standInKeys(108), 4);
    net.run(2000);
    const [one, two] = net.members as [NodeId, NodeId];
    net.crash(one);
    net.crash(two);
    net.propose(contractOf(1));
    net.run(120_000);
    const offered = candidatesOf(net);
    expect(offered.length).toBeGreaterThanOrEqual(3);
    const times = offered.map(({ core }) => core.timestamp);
    expect(new Set(times).size).toBe(times.length);
    expect(offered.map(({ sequence }) => sequence as number)).toEqual(offered.map((_, i) => i));
    net.start(one);
    expect(net.run(60_000, () => net.chainOf(one).height === 1)).toBe(true);
    expect(net.chainOf(one).core.scReal).toBe(1);
  });
});

describe("who never saw the candidate", () => {
  /** All but one have the candidate and prepare it; no COMMIT of view 0 arrives. */
  function prepared(seed: number) {
    const net = new SmallNetwork(standInKeys(seed), 4);
    const committee = committeeOf(net.chainOf(net.master), FIRST);
    const next = committee[1] as NodeId;
    net.tamper = (_from, to, message) => {
      if (message.kind === "CANDIDATE" && to === next) return undefined;
      return message.kind === "COMMIT" && message.view === 0 ? undefined : message;
    };
    net.propose(contractOf(1));
    return { net, next };
  }

  test("fetches the body of the hash it must propose as the leader of the next view", () => {
    const { net, next } = prepared(109);
    net.sent = [];
    expect(net.run(20_000, reached(net, 1))).toBe(true);
    const asked = net.sent.filter(({ from, message }) => {
      return from === next && message.kind === "BODY_REQ";
    });
    expect(asked.length).toBeGreaterThan(0);
    expect(net.chainOf(next).seal?.view as number).toBe(1);
    const led = net.sent.filter(({ from, message }) => {
      return from === next && message.kind === "PRE_PREPARE" && message.view === 1;
    });
    expect(led.length).toBeGreaterThan(0);
  });

  test("does not take another body for it, whoever sends it", () => {
    const { net, next } = prepared(110);
    const before = net.tamper;
    const other = new SmallNetwork(standInKeys(110), 4);
    other.propose(contractOf(77));
    expect(other.run(5000, reached(other, 1))).toBe(true);
    const lie = other.seat(other.master).disk.at(1 as never);
    if (lie === undefined) throw new Error("no block");
    net.tamper = (from, to, message) => {
      if (message.kind !== "BODY_RESP" || to !== next) return before(from, to, message);
      return { ...message, blocks: [{ core: lie.core, body: lie.body }] };
    };
    net.run(1900);
    const votes = net.sent.filter(({ from, message }) => {
      return from === next && ["PRE_PREPARE", "PREPARE", "COMMIT"].includes(message.kind);
    });
    expect(votes).toEqual([]);
  });
});

test("before any member the master seals alone; a member it lost is nobody's committee", () => {
  const net = new SmallNetwork(standInKeys(111), 0);
  net.propose(contractOf(1));
  expect(net.run(3000, reached(net, 1))).toBe(true);
  const state: ChainState = net.chainOf(net.master);
  expect(state.seal?.committee).toEqual([]);
  net.crash(net.master);
  net.start(net.master);
  net.propose(contractOf(2));
  expect(net.run(3000, reached(net, 2))).toBe(true);
});
