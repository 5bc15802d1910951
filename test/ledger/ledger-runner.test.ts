/** The runner: what is written before it is sent, one event at a time, a disk that fails. */
import { afterEach, expect, setSystemTime, test } from "bun:test";
import type { ChainState } from "../../src/chain/chain-state.ts";
import { KeyRing } from "../../src/chain/key-ring.ts";
import type { NodeId } from "../../src/chain/ledger-units.ts";
import { createValidator } from "../../src/chain/participant.ts";
import { LedgerRunner } from "../../src/node/ledger-runner.ts";
import { contractOf, NobleKeys, START } from "../chain/chain-builder.ts";
import { SmallNetwork } from "../chain/small-network.ts";
import { MemoryJournal } from "./memory-journal.ts";

afterEach(() => {
  setSystemTime();
});

/** A validator under a real runner, and the messages that a small network sent it. */
function setUp() {
  // The wall clock of the recording, or no vote would be cast on it.
  setSystemTime((START + 1000) * 1000);
  const network = new SmallNetwork(new NobleKeys(7), 4);
  network.propose(contractOf(1));
  network.run(5000);
  const self = network.members[0] as NodeId;
  const inbox = network.sent.filter(({ to }) => to === self);
  const genesis = network.builder.states[0] as ChainState;
  const journal = new MemoryJournal(genesis);
  const trace: string[] = [];
  journal.onSave = (outputs) => {
    for (const output of outputs) {
      if (output.kind !== "write") trace.push(`saved ${output.kind}`);
      else if (output.entry.kind === "sent") trace.push(`saved ${output.entry.message.kind}`);
      else trace.push(`saved ${output.entry.kind}`);
    }
  };
  journal.onSync = () => trace.push("synced");
  const participant = createValidator({
    ...{
      keys: KeyRing.of(network.seat(self).keys),
      crypto: network.builder.crypto,
      history: journal.history,
    },
    ...{ ...journal.contents(), checkpoint: undefined, wasWiped: false, checkPeriodMs: 60_000 },
  });
  const failures: unknown[] = [];
  const runner = new LedgerRunner(participant, {
    journal,
    send: (_, { kind }) => trace.push(`sent ${kind}`),
    onReport: () => {},
    onBlock: ({ next }) => trace.push(`block ${next.height}`),
    onFailure: (thrown) => failures.push(thrown),
    onBroken: () => true,
  });
  const hear = (isHeard: (kind: string) => boolean = () => true): void => {
    for (const { from, message } of inbox) {
      if (isHeard(message.kind)) runner.take({ kind: "message", from, message });
    }
  };
  return { runner, journal, trace, failures, hear };
}

/** Not a question whose answer tells of the tip. */
function isOfTheHeight(kind: string): boolean {
  return ["CANDIDATE", "PRE_PREPARE", "PREPARE", "COMMIT", "SEAL"].includes(kind);
}

test("a vote is synced before it is sent, and a block before anybody hears of the tip", () => {
  const { runner, trace, failures, hear } = setUp();
  runner.start();
  hear();
  runner.close();
  expect(failures).toEqual([]);
  const sent = trace.filter((line) => /^sent (PRE_PREPARE|PREPARE|COMMIT)$/.test(line));
  for (const line of sent) {
    const saved = trace.indexOf(line.replace("sent", "saved"));
    const synced = trace.indexOf("synced", saved);
    expect(saved).toBeGreaterThanOrEqual(0);
    expect(synced).toBeGreaterThan(saved);
    expect(synced).toBeLessThan(trace.indexOf(line));
  }
  expect(sent).toContain("sent COMMIT");
  expect(sent.some((line) => line === "sent PREPARE" || line === "sent PRE_PREPARE")).toBe(true);
  const told = trace.indexOf("sent HEADERS_RESP", trace.indexOf("saved block"));
  expect(trace.slice(trace.indexOf("saved block"), told)).toEqual([
    "saved block",
    "synced",
    "block 1",
  ]);
});

test("a block that nothing is sent after is synced a moment later, and told then", async () => {
  const { runner, trace, hear } = setUp();
  runner.start();
  hear(isOfTheHeight);
  const before = trace.length;
  await new Promise((resolve) => setTimeout(resolve, 100));
  runner.close();
  expect(trace.slice(before)).toEqual(["synced", "block 1"]);
});

test("what a step writes costs one sync, and what no step sends after none", () => {
  const { runner, trace, hear } = setUp();
  runner.start();
  hear(isOfTheHeight);
  runner.close();
  const saves = trace.filter((line) => line.startsWith("saved")).length;
  // PREPARE or PRE_PREPARE with its candidate, COMMIT with its lock; the block is not synced yet.
  expect([saves, trace.filter((line) => line === "synced").length]).toEqual([5, 2]);
});

test("a disk that fails ends the runner at once: nothing is sent, no timer rings, no event counts", () => {
  const { runner, journal, trace, failures, hear } = setUp();
  runner.start();
  trace.length = 0;
  journal.failure = new Error("no space left on device");
  hear();
  expect(failures).toEqual([journal.failure]);
  expect(trace.filter((line) => /PREPARE|COMMIT|synced|block/.test(line))).toEqual([]);
  const { height } = runner.participant.chain;
  journal.failure = undefined;
  hear();
  expect([
    runner.participant.chain.height,
    trace.filter((line) => line.startsWith("saved")),
  ]).toEqual([height, []]);
});
