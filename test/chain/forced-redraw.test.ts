/**
 * FORCED_REDRAW: master and recovery key open an attempt without q ABANDONs. docs/ledger.md
 * "Recovery". What a message must be, what a survey makes of the answers, and networks that come
 * back no other way: three with one gone, four with two gone, a master that crashes in between.
 */
import { describe, expect, test } from "bun:test";
import { encodeBlockJson } from "../../src/chain/block-json.ts";
import { committeeOf, eligibleAt } from "../../src/chain/chain-state.ts";
import type { NodeKeys } from "../../src/chain/crypto-interface.ts";
import { encodeGenesis } from "../../src/chain/genesis-file.ts";
import {
  type Attempt,
  type BlockHash,
  type ChainId,
  type Height,
  NO_HASH,
  type NodeId,
  type Term,
} from "../../src/chain/ledger-units.ts";
import type { Master } from "../../src/chain/master-state.ts";
import { signMasterTerm } from "../../src/chain/master-term.ts";
import { nodeIdOf } from "../../src/chain/message-signing.ts";
import type { Draft, ForcedRedrawMessage } from "../../src/chain/message-types.ts";
import { encodeRecord } from "../../src/chain/record-schema.ts";
import {
  planRedraw,
  type RedrawPlan,
  signForRecovery,
  signRedraw,
} from "../../src/chain/redraw-plan.ts";
import { redrawFault } from "../../src/chain/seal-check.ts";
import { hashOf } from "../../src/chain/sha256.ts";
import { exportLine, verifyChain } from "../../src/chain/verify-chain.ts";
import { contractOf, standInKeys } from "./chain-builder.ts";
import { SmallNetwork } from "./small-network.ts";

const HOLD_MS = 60_000;
const NONCE = hashOf(Buffer.from("survey"));

function network(members: number): SmallNetwork {
  const net = new SmallNetwork(standInKeys(71), members);
  net.propose(contractOf(1));
  expect(net.run(5000, () => net.heights().every((height) => height === 1))).toBe(true);
  return net;
}

/** What the operator is shown: everybody is asked first. */
function survey(
  net: SmallNetwork,
  wanted?: readonly NodeId[],
  master = net.master,
): RedrawPlan | { readonly refusal: string } {
  net.push(master, { kind: "survey", nonce: NONCE, holdMs: HOLD_MS }, 0);
  net.run(500);
  return planRedraw(net.seat(master).participant as Master, wanted);
}

function planOf(net: SmallNetwork, wanted?: readonly NodeId[], master = net.master): RedrawPlan {
  const plan = survey(net, wanted, master);
  if ("refusal" in plan) throw new Error(plan.refusal);
  return plan;
}

/** Both keys sign, and the master gets it. `mayFork`: whoever does it has read the dangers. */
function force(net: SmallNetwork, plan: RedrawPlan, master = net.master, mayFork = false): void {
  const redraw = signedBy(plan.words, net.seat(master).keys, net.builder.recovery);
  net.redraw(master, redraw, mayFork);
}

/** Two of four cannot show that nothing was decided without them. */
function forceAllTheSame(net: SmallNetwork, plan: RedrawPlan, master = net.master): void {
  expect(plan.dangers.length).toBeGreaterThan(0);
  force(net, plan, master, true);
}

function signedBy(words: Draft<ForcedRedrawMessage>, master: NodeKeys, recovery: NodeKeys) {
  return signRedraw(master.signer, words, signForRecovery(recovery.signer, words));
}

function isAt(net: SmallNetwork, height: number): () => boolean {
  return () => net.heights().every((other) => other >= height);
}

async function expectVerifies(net: SmallNetwork): Promise<void> {
  const blocks = [...net.seat(net.master).disk.blocks].sort(([one], [other]) => one - other);
  const lines = [
    encodeGenesis(net.builder.file),
    ...blocks.map(([, block]) => encodeBlockJson(block)),
  ].map(exportLine);
  expect(await verifyChain(lines, net.builder.crypto)).toMatchObject({ isValid: true });
}

describe("the message", () => {
  const net = network(4);
  const { words } = planOf(net);
  const { master, recovery, crypto } = net.builder;
  const state = net.chainOf(net.master);
  const good = signedBy(words, master, recovery);
  const [one, two] = net.members as [NodeId, NodeId];
  const stranger = net.builder.keys.makeKeys();
  const with_ = (change: object) => signedBy({ ...words, ...change }, master, recovery);
  test.each([
    ["signed by both keys", good, undefined],
    ["of a smaller committee", with_({ committee: [two, one] }), undefined],
    ["of one", with_({ committee: [one] }), undefined],
    ["of nobody", with_({ committee: [] }), "committee"],
    ["of one twice", with_({ committee: [one, one] }), "committee"],
    [
      "of a stranger",
      with_({ committee: [one, nodeIdOf(stranger.signer.publicKey)] }),
      "committee",
    ],
    ["of the sealed height", with_({ height: 1 as Height }), "elsewhere"],
    ["of the height after next", with_({ height: 3 as Height }), "elsewhere"],
    ["of another chain", with_({ chainId: NO_HASH as string as ChainId }), "elsewhere"],
    ["in another's name", with_({ signer: one }), "not by the master"],
    ["without the master's signature", signedBy(words, recovery, recovery), "both keys"],
    ["without the recovery key's signature", signedBy(words, master, master), "both keys"],
    ["signed by strangers", signedBy(words, stranger, stranger), "both keys"],
    ["with another committee than signed", { ...good, committee: [one, two] }, "both keys"],
    ["with another attempt than signed", { ...good, attempt: 2 as Attempt }, "both keys"],
    [
      "with another hash than signed",
      { ...good, carriedHash: hashOf(Buffer.from("x")) as string as BlockHash },
      "both keys",
    ],
    ["with the signatures swapped", swapped(good), "both keys"],
  ] as const)("%s", (_, redraw, fault) => {
    const found = redrawFault(state, redraw, master.signer.publicKey, crypto);
    if (fault === undefined) expect(found).toBeUndefined();
    else expect(found).toMatchObject({ fault: "redraw", detail: expect.stringContaining(fault) });
  });

  test("the master does not open an attempt that is open, nor one of another term", () => {
    const lone = network(4);
    for (const change of [{ attempt: 0 as Attempt }, { term: 2 as Term }]) {
      lone.redraw(lone.master, with_(change));
    }
    lone.run(50);
    const refused = lone.seat(lone.master).reports.filter((line) => line.startsWith("refused"));
    expect(refused.length).toBe(2);
    expect((lone.seat(lone.master).participant as Master).redraws.size).toBe(0);
  });
});

function swapped(redraw: ForcedRedrawMessage): ForcedRedrawMessage {
  const { signature, recoverySignature } = redraw;
  return { ...redraw, signature: recoverySignature, recoverySignature: signature };
}

describe("a survey", () => {
  test("names who answered in the order of the draw, and an attempt that is new to all", () => {
    const net = network(4);
    const [gone] = net.members as [NodeId];
    net.crash(gone);
    const plan = planOf(net);
    const drawn = committeeOf(net.chainOf(net.master), 0 as Attempt);
    expect(plan.words).toMatchObject({ height: 2, attempt: 1, term: 1, carriedHash: undefined });
    expect(plan.words.committee).toEqual(drawn.filter((nodeId) => nodeId !== gone));
    expect(plan.silent).toEqual([gone]);
    expect(plan.answered).toEqual(plan.words.committee);
  });

  test("carries on what one of those who answered has prepared", () => {
    const net = network(4);
    net.tamper = (_from, _to, message) => (message.kind === "COMMIT" ? undefined : message);
    net.propose(contractOf(2));
    net.run(100);
    const offered = (net.seat(net.master).participant as Master).offered;
    const [one, two] = net.members as [NodeId, NodeId];
    net.crash(one);
    net.crash(two);
    const { words } = planOf(net);
    expect(words.carriedHash).toBeDefined();
    expect(words.carried?.blockHash).toBe(words.carriedHash as BlockHash);
    expect(words.carried?.committeeHash).toBeDefined();
    expect(offered).toBeDefined();
  });

  test("takes the committee that the operator names, of members only, each once", () => {
    const net = network(4);
    const [one, two] = net.members as [NodeId, NodeId];
    expect(planOf(net, [two, one]).words.committee).toEqual([two, one]);
    expect(survey(net, [one, one])).toMatchObject({ refusal: "a node is named twice" });
    expect(survey(net, [net.master])).toMatchObject({
      refusal: expect.stringContaining("is no member"),
    });
    for (const nodeId of net.members) net.crash(nodeId);
    expect(survey(net)).toMatchObject({ refusal: "no member has answered" });
  });

  test("names no more than a committee may have", () => {
    const net = network(21);
    expect(planOf(net).words.committee.length).toBe(20);
    expect(survey(net, net.members)).toMatchObject({
      refusal: "a committee has at most 20: name fewer",
    });
  });

  test("an answer that was not asked for, or that another signed, is none", () => {
    const net = network(4);
    const [liar] = net.members as [NodeId];
    net.tamper = (from, _to, message) => {
      if (message.kind !== "QC_STATE" || from !== liar) return message;
      return { ...message, signature: new Uint8Array(64) as never };
    };
    expect(planOf(net).silent).toEqual([liar]);
  });
});

describe("three members with one gone", () => {
  /** Revokes who is gone: the list alone may not shrink below a quorum. */
  function orphan() {
    const net = network(3);
    const [gone] = net.members as [NodeId];
    net.crash(gone);
    net.propose(contractOf(2));
    net.run(120_000);
    expect(net.heights()).toEqual([1, 1, 1]);
    return { net, gone };
  }

  test("agree again by two redraws and a revocation, loud on every node; then by themselves", async () => {
    const { net, gone } = orphan();
    const record = { kind: "NODE_REVOKE", nodeId: gone, reason: "burnt" } as const;
    net.proposeTo(net.master, [], [encodeRecord(record)]);
    force(net, planOf(net));
    expect(net.run(20_000, isAt(net, 2))).toBe(true);
    expect(net.chainOf(net.master).core.scReal).toBe(1);
    // The revocation holds from height 4 on: height 3 needs another one.
    net.run(60_000);
    expect(net.heights()).toEqual([2, 2, 2]);
    force(net, planOf(net));
    expect(net.run(20_000, isAt(net, 3))).toBe(true);
    for (const height of [4, 5]) {
      net.propose(contractOf(height));
      expect(net.run(20_000, isAt(net, height))).toBe(true);
    }
    const present = net.members.filter((nodeId) => nodeId !== gone);
    for (const nodeId of [net.master, ...present]) {
      const loud = net.seat(nodeId).reports.filter((line) => line.startsWith("forced-redraw"));
      expect(loud.length).toBe(2);
    }
    const redraw = net.seat(net.master).disk.blocks.get(2 as Height)?.proof.redraw;
    expect([...(redraw?.committee ?? [])].sort()).toEqual(present);
    expect(eligibleAt(net.chainOf(net.master), 4 as Height).length).toBe(2);
    await expectVerifies(net);
  });

  test("a wiped disk votes again only where a redraw names it", () => {
    const net = network(3);
    const [wiped] = net.members as [NodeId];
    net.wipe(wiped);
    net.start(wiped, true);
    net.propose(contractOf(2));
    net.run(120_000);
    expect(net.heights()).toEqual([1, 1, 1, 1]);
    force(net, planOf(net, net.members));
    expect(net.run(20_000, isAt(net, 2))).toBe(true);
    expect(net.seat(wiped).reports.some((line) => line.startsWith("voting-again"))).toBe(true);
    net.propose(contractOf(3));
    expect(net.run(20_000, isAt(net, 3))).toBe(true);
  });
});

describe("four members with two gone", () => {
  test("what the two have prepared is sealed, by the two, and nothing else", async () => {
    const net = network(4);
    net.tamper = (_from, _to, message) => (message.kind === "COMMIT" ? undefined : message);
    net.propose(contractOf(2));
    net.run(100);
    net.tamper = (_from, _to, message) => message;
    const [one, two] = net.members as [NodeId, NodeId];
    net.crash(one);
    net.crash(two);
    const plan = planOf(net);
    forceAllTheSame(net, plan);
    expect(net.run(20_000, isAt(net, 2))).toBe(true);
    expect(net.chainOf(net.master).blockHash).toBe(plan.words.carriedHash as BlockHash);
    // Those who were gone come back, and take it as it is.
    net.start(one);
    net.start(two);
    expect(net.run(20_000, isAt(net, 2))).toBe(true);
    await expectVerifies(net);
  });

  test("an older attempt's votes do not count any more: nobody votes below a redraw", () => {
    const net = network(4);
    const [one, two] = net.members as [NodeId, NodeId];
    net.crash(one);
    net.crash(two);
    net.propose(contractOf(2));
    net.run(50);
    forceAllTheSame(net, planOf(net));
    expect(net.run(20_000, isAt(net, 2))).toBe(true);
    const late = net.sent.filter(({ message }) => {
      return message.height === 2 && message.kind === "COMMIT" && message.attempt === 0;
    });
    expect(late).toEqual([]);
    expect(net.chainOf(net.master).seal?.attempt as number).toBe(1);
  });

  test("a second redraw of one attempt is refused by whoever knows the first", () => {
    const net = network(4);
    const [one, two, three] = net.members as [NodeId, NodeId, NodeId];
    const first = planOf(net, [one, two]);
    const other = planOf(net, [two, three]);
    const second = { ...other, words: { ...other.words, attempt: first.words.attempt } };
    const { master, recovery } = net.builder;
    const at = (plan: RedrawPlan) => signedBy(plan.words, master, recovery);
    net.tamper = (_from, _to, message) => (message.kind === "CANDIDATE" ? undefined : message);
    for (const plan of [first, second]) {
      net.push(two, { kind: "message", from: net.master, message: at(plan) }, 0);
      net.run(10);
    }
    const known = net.seat(two).participant;
    const redraws = known?.kind === "validator" ? [...known.redraws.values()] : [];
    expect(redraws.map(({ committee }) => committee)).toEqual([[one, two]]);
  });
});

describe("a master that crashes in between", () => {
  test("opens the attempt after its start: the redraw was on its disk, no candidate was", () => {
    const net = network(4);
    const [one, two] = net.members as [NodeId, NodeId];
    net.crash(one);
    net.crash(two);
    net.propose(contractOf(2));
    net.run(50);
    forceAllTheSame(net, planOf(net));
    net.run(1);
    const { disk } = net.seat(net.master);
    const written = disk.log.findIndex(({ kind }) => kind === "redraw");
    expect(written).toBeGreaterThan(0);
    net.crash(net.master);
    disk.log = disk.log.slice(0, written + 1);
    net.start(net.master);
    expect(net.run(30_000, isAt(net, 2))).toBe(true);
    expect(net.chainOf(net.master).seal?.attempt as number).toBe(1);
  });

  test("offers again what it had offered where its queue was lost with it", () => {
    const net = network(4);
    const [one, two] = net.members as [NodeId, NodeId];
    net.crash(one);
    net.crash(two);
    net.propose(contractOf(2));
    net.run(50);
    net.crash(net.master);
    net.start(net.master);
    net.run(2000);
    net.propose(contractOf(3));
    forceAllTheSame(net, planOf(net));
    expect(net.run(30_000, isAt(net, 2))).toBe(true);
    expect(net.chainOf(net.master).core.scReal).toBe(2);
  });
});

test("a new term's master fetches the body of the hash that its redraw carries", async () => {
  const net = network(4);
  net.tamper = (_from, _to, message) => (message.kind === "COMMIT" ? undefined : message);
  net.propose(contractOf(2));
  net.run(100);
  const [one, two] = net.members as [NodeId, NodeId];
  for (const nodeId of [one, two, net.master]) net.crash(nodeId);
  net.tamper = (_from, _to, message) => message;
  const { recovery } = net.builder;
  const keys = net.builder.keys.makeKeys();
  const { chainId } = net.builder.state;
  const masterPub = keys.signer.publicKey;
  const term = signMasterTerm(recovery.signer, { chainId, term: 2 as Term, masterPub });
  const heir = net.addMaster(keys, term);
  // It has no block yet and catches up first; two of four are no n - f.
  net.run(10_000);
  const plan = planOf(net, undefined, heir);
  expect(plan.words.carriedHash).toBeDefined();
  forceAllTheSame(net, plan, heir);
  expect(net.run(20_000, isAt(net, 2))).toBe(true);
  expect(net.chainOf(heir).blockHash).toBe(plan.words.carriedHash as BlockHash);
  expect(net.chainOf(heir).core.term as number).toBe(1);
});
