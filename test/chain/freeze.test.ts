/**
 * docs/ledger.md "The freeze": who has answered the survey before a FORCED_REDRAW votes no more,
 * whatever comes and whatever crashes, until the redraw, the release or a block; and how many
 * answers show that no block can contradict the redraw.
 */
import { describe, expect, test } from "bun:test";
import { faultsOf, quorumOf } from "../../src/chain/certificate.ts";
import type { Attempt, Height, NodeId, View } from "../../src/chain/ledger-units.ts";
import type { Master } from "../../src/chain/master-state.ts";
import { signMessage } from "../../src/chain/message-signing.ts";
import type { LedgerMessage, QcFetchMessage } from "../../src/chain/message-types.ts";
import {
  planRedraw,
  type RedrawPlan,
  redrawComplaint,
  signForRecovery,
  signRedraw,
} from "../../src/chain/redraw-plan.ts";
import { hashOf } from "../../src/chain/sha256.ts";
import type { Validator } from "../../src/chain/validator-state.ts";
import { contractOf, standInKeys } from "./chain-builder.ts";
import { SmallNetwork } from "./small-network.ts";

const HOLD_MS = 30_000;
const VOTES = ["PRE_PREPARE", "PREPARE", "COMMIT", "ROUND_CHANGE", "ABANDON"];
let surveys = 0;

function network(members: number): SmallNetwork {
  const net = new SmallNetwork(standInKeys(72), members);
  net.propose(contractOf(1));
  expect(net.run(5000, isAt(net, 1))).toBe(true);
  return net;
}

function isAt(net: SmallNetwork, height: number): () => boolean {
  return () => net.heights().every((other) => other >= height);
}

function ask(net: SmallNetwork): void {
  const nonce = hashOf(Buffer.from(`survey ${surveys++}`));
  net.push(net.master, { kind: "survey", nonce, holdMs: HOLD_MS }, 0);
  net.run(500);
}

function master(net: SmallNetwork): Master {
  return net.seat(net.master).participant as Master;
}

function planOf(net: SmallNetwork, wanted?: readonly NodeId[]): RedrawPlan {
  const plan = planRedraw(master(net), wanted);
  if ("refusal" in plan) throw new Error(plan.refusal);
  return plan;
}

function signed(net: SmallNetwork, { words }: RedrawPlan) {
  const { recovery } = net.builder;
  return signRedraw(
    net.seat(net.master).keys.signer,
    words,
    signForRecovery(recovery.signer, words),
  );
}

/** Signed from now on, not repeated; of one height. */
function newVotes(net: SmallNetwork, act: () => void, height = 2): LedgerMessage[] {
  const logs = net.members.map((nodeId) => net.seat(nodeId).disk.log);
  const before = logs.map((log) => log.length);
  act();
  return net.members.flatMap((nodeId, i) =>
    net
      .seat(nodeId)
      .disk.log.slice(before[i])
      .flatMap((entry) => (entry.kind === "sent" ? [entry.message] : []))
      .filter((message) => VOTES.includes(message.kind) && message.height === height),
  );
}

/** The master's word of a survey, sent late or by a copy of it. */
function fetchBy(
  net: SmallNetwork,
  purpose: "survey" | "release",
  survey: number,
  words: Partial<QcFetchMessage> = {},
): QcFetchMessage {
  const { chainId } = net.chainOf(net.master);
  const { signer } = net.seat(net.master).keys;
  return signMessage<QcFetchMessage>(signer, {
    ...{ kind: "QC_FETCH", chainId, term: master(net).term, height: 2 as Height },
    ...{ attempt: survey as Attempt, view: 0 as View, signer: net.master },
    ...{ nonce: hashOf(Buffer.from(`late ${survey}`)), purpose, redrawn: 0 as Attempt },
    ...words,
  });
}

function tell(net: SmallNetwork, message: LedgerMessage): void {
  for (const nodeId of net.members) {
    net.push(nodeId, { kind: "message", from: net.master, message }, 0);
  }
  net.run(10);
}

describe("who has answered", () => {
  test("casts no vote of any kind, though a candidate comes and time passes", () => {
    const net = network(4);
    ask(net);
    const votes = newVotes(net, () => {
      net.propose(contractOf(2));
      net.run(HOLD_MS - 5000);
    });
    expect(votes).toEqual([]);
    expect(net.heights()).toEqual([1, 1, 1, 1, 1]);
  });

  test("commits nothing by PREPAREs that were under way when it answered", () => {
    const net = network(4);
    const held: [NodeId, NodeId, LedgerMessage][] = [];
    net.tamper = (from, to, message) => {
      if (message.kind !== "PREPARE") return message;
      held.push([from, to, message]);
      return undefined;
    };
    net.propose(contractOf(2));
    net.run(100);
    ask(net);
    expect(planOf(net).words.carriedHash).toBeUndefined();
    const votes = newVotes(net, () => {
      for (const [from, to, message] of held) net.push(to, { kind: "message", from, message }, 0);
      net.run(1000);
    });
    expect(held.length).toBeGreaterThan(0);
    expect(votes).toEqual([]);
  });

  test("neither after a crash: the promise is on the disk before the answer", () => {
    const net = network(4);
    ask(net);
    for (const nodeId of net.members) {
      expect(net.seat(nodeId).disk.log.some(({ kind }) => kind === "freeze")).toBe(true);
      net.crash(nodeId);
    }
    const votes = newVotes(net, () => {
      for (const nodeId of net.members) net.start(nodeId);
      net.propose(contractOf(2));
      net.run(10_000);
    });
    expect(votes).toEqual([]);
  });

  const ends: readonly [string, (net: SmallNetwork) => void][] = [
    ["the operator lets it go", (net) => net.push(net.master, { kind: "release" }, 0)],
    ["the operator forgets it", (net) => net.run(HOLD_MS)],
    [
      "the master crashes",
      (net) => {
        net.crash(net.master);
        net.start(net.master);
      },
    ],
    ["the redraw is there", (net) => net.redraw(net.master, signed(net, planOf(net)))],
  ];
  test.each(ends)("votes again where %s", (_, end) => {
    const net = network(4);
    ask(net);
    net.propose(contractOf(2));
    net.run(5000);
    end(net);
    net.propose(contractOf(3));
    expect(net.run(20_000, isAt(net, 2))).toBe(true);
  });

  test("votes again in the next height without a word", () => {
    const net = network(4);
    net.propose(contractOf(2));
    net.run(3);
    ask(net);
    expect(net.run(HOLD_MS * 2, isAt(net, 2))).toBe(true);
    for (const nodeId of net.members) {
      expect((net.seat(nodeId).participant as Validator).freeze.pending.size).toBe(0);
    }
    net.propose(contractOf(3));
    expect(net.run(20_000, isAt(net, 3))).toBe(true);
  });
});

describe("what comes late or from another", () => {
  /** Nobody hears the master itself any more. */
  function silenced(net: SmallNetwork): void {
    net.tamper = (from, _to, message) =>
      from === net.master && message.kind === "QC_FETCH" ? undefined : message;
  }
  const isFrozen = (net: SmallNetwork) =>
    net.members.map((nodeId) => {
      const { participant } = net.seat(nodeId);
      return participant?.kind === "validator" && participant.freeze.pending.size > 0;
    });
  const ALL = [true, true, true, true];
  const NONE = [false, false, false, false];

  test("a survey that was given back already asks for nothing", () => {
    const net = network(4);
    silenced(net);
    tell(net, fetchBy(net, "release", 1));
    tell(net, fetchBy(net, "survey", 1));
    expect(isFrozen(net)).toEqual(NONE);
    tell(net, fetchBy(net, "survey", 2));
    expect(isFrozen(net)).toEqual(ALL);
  });

  test("each survey is given back by itself, also after a crash", () => {
    const net = network(4);
    silenced(net);
    for (const survey of [1, 3]) tell(net, fetchBy(net, "survey", survey));
    // Of a master that does not know what the other asked for.
    tell(net, fetchBy(net, "release", 3));
    tell(net, fetchBy(net, "release", 4));
    for (const nodeId of net.members) {
      net.crash(nodeId);
      net.start(nodeId);
    }
    net.run(10);
    expect(isFrozen(net)).toEqual(ALL);
    tell(net, fetchBy(net, "release", 1));
    expect(isFrozen(net)).toEqual(NONE);
  });

  test("another master's survey of the same number is no promise, and tells of the first", () => {
    const net = network(4);
    ask(net);
    const net2 = network(4);
    tell(net2, fetchBy(net2, "survey", 1));
    ask(net2);
    expect([planOf(net).isBehind, planOf(net).dangers]).toEqual([false, []]);
    expect(planOf(net2).isBehind).toBe(true);
    expect(planOf(net2).dangers).toEqual([expect.stringContaining("only 0 vouch")]);
    ask(net2);
    expect([planOf(net2).words.attempt as number, planOf(net2).dangers]).toEqual([2, []]);
  });

  test("a survey of another height, a release that names an unknown redraw: nothing", () => {
    const net = network(4);
    silenced(net);
    for (const height of [1, 3]) {
      tell(net, fetchBy(net, "survey", 1, { height: height as Height }));
    }
    expect(isFrozen(net)).toEqual(NONE);
    tell(net, fetchBy(net, "survey", 2));
    tell(net, fetchBy(net, "release", 2, { redrawn: 1 as Attempt }));
    expect(isFrozen(net)).toEqual(ALL);
  });

  test("who lost its disk is not readmitted by a redraw that is older than its return", () => {
    const net = network(3);
    const [wiped] = net.members as [NodeId];
    net.tamper = (_from, _to, message) => (message.kind === "COMMIT" ? undefined : message);
    net.propose(contractOf(2));
    net.run(50);
    ask(net);
    net.redraw(net.master, signed(net, planOf(net)));
    net.run(2000);
    expect(net.seat(wiped).disk.log.some(({ kind }) => kind === "lock")).toBe(true);
    net.wipe(wiped);
    net.tamper = (_from, _to, message) => message;
    const votes = newVotes(net, () => {
      net.start(wiped, true);
      net.run(20_000);
    });
    expect(votes.filter(({ signer }) => signer === wiped)).toEqual([]);
    ask(net);
    net.redraw(net.master, signed(net, planOf(net)));
    expect(net.run(20_000, isAt(net, 2))).toBe(true);
  });
});

describe("how many answers", () => {
  const sizes = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
  test.each(sizes)("of %d: n - q + f + 1, or it says what can happen", (n) => {
    const needed = n - quorumOf(n) + faultsOf(n) + 1;
    for (const count of [needed - 1, needed]) {
      if (count === 0) continue;
      const net = network(n);
      for (const nodeId of net.members.slice(count)) net.crash(nodeId);
      ask(net);
      const { dangers } = planOf(net);
      const isHidden = dangers.some((danger) => danger.includes("WOULD FORK"));
      expect([count, isHidden]).toEqual([count, count < needed]);
    }
  });

  test("an answer of a member that lost its disk shows nothing of what it signed", () => {
    const net = network(4);
    const [wiped, gone] = net.members as [NodeId, NodeId];
    net.wipe(wiped);
    net.start(wiped, true);
    net.run(10_000);
    ask(net);
    expect(planOf(net).dangers).toEqual([]);
    net.crash(gone);
    ask(net);
    const { dangers, silent } = planOf(net);
    expect(silent).toEqual([gone]);
    expect(dangers).toEqual([expect.stringContaining("only 2 vouch")]);
  });

  test("a committee too small for the liars there may be is one of the dangers", () => {
    const net = network(7);
    ask(net);
    expect(planOf(net).dangers).toEqual([]);
    const { dangers } = planOf(net, net.members.slice(0, 4));
    expect(dangers).toEqual([expect.stringContaining("2 liars among the 4 named")]);
  });

  test("silent members are named where those who answered would be too few for the liars", () => {
    const net = network(11);
    for (const nodeId of net.members.slice(0, 4)) net.crash(nodeId);
    ask(net);
    const { words, silent, dangers } = planOf(net);
    expect([silent.length, words.committee.length, dangers]).toEqual([4, 9, []]);
  });

  test("what a redraw's committee may have decided counts like the draw's", () => {
    const net = network(4);
    ask(net);
    const [one, two, three] = net.members as [NodeId, NodeId, NodeId];
    net.tamper = (_from, _to, message) => (message.kind === "COMMIT" ? undefined : message);
    net.redraw(net.master, signed(net, planOf(net, [one, two, three])));
    net.run(1000);
    net.crash(one);
    ask(net);
    expect(planOf(net).dangers).toEqual([]);
    net.crash(two);
    ask(net);
    expect(planOf(net).dangers.some((danger) => danger.includes("attempt 1 only"))).toBe(true);
  });
});

describe("the master refuses a redraw", () => {
  const complaint = (net: SmallNetwork, plan: RedrawPlan, mayFork = false) =>
    redrawComplaint(master(net), signed(net, plan), mayFork);

  test("that could fork the chain, unless whoever orders it says so", () => {
    const net = network(4);
    for (const nodeId of net.members.slice(2)) net.crash(nodeId);
    ask(net);
    const plan = planOf(net);
    expect(complaint(net, plan)).toContain("WOULD FORK");
    expect(complaint(net, plan, true)).toBeUndefined();
    net.propose(contractOf(2));
    net.redraw(net.master, signed(net, plan));
    net.run(1000);
    expect(master(net).redraws.size).toBe(0);
    expect(net.seat(net.master).reports.at(-1)).toContain("WOULD FORK");
    net.redraw(net.master, signed(net, plan), true);
    expect(net.run(20_000, isAt(net, 2))).toBe(true);
  });

  test("whose survey is over, was replaced or never was", () => {
    const net = network(4);
    ask(net);
    const first = planOf(net);
    ask(net);
    expect(complaint(net, first)).toContain("its survey is over");
    const second = planOf(net);
    expect(complaint(net, second)).toBeUndefined();
    net.run(HOLD_MS + 2000);
    expect(complaint(net, second, true)).toContain("its survey is over");
  });

  test("that does not carry on what an answer since then shows", () => {
    const net = network(4);
    const [late] = net.members as [NodeId];
    const isLate = (from: NodeId, message: LedgerMessage) =>
      from === late && (message.kind === "QC_STATE" || message.kind === "COMMIT");
    net.tamper = (from, to, message) => {
      if (isLate(from, message)) return undefined;
      // Only one of them becomes prepared.
      return message.kind === "PREPARE" && to !== late ? undefined : message;
    };
    net.propose(contractOf(2));
    net.run(100);
    ask(net);
    const plan = planOf(net);
    expect(plan.words.carriedHash).toBeUndefined();
    net.tamper = (_from, _to, message) => message;
    net.run(2000);
    expect(complaint(net, plan)).toContain("answers have come since");
    expect(planOf(net).words.carriedHash).toBeDefined();
  });
});
