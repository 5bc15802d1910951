/** The runner: what is written before it is sent, one event at a time, a disk that fails. */
import { afterEach, expect, setSystemTime, test } from "bun:test";
import type { ChainState } from "../../src/chain/chain-state.ts";
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
  const participant = createValidator({
    ...{ keys: network.seat(self).keys, crypto: network.builder.crypto, history: journal.history },
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
  const hear = (): void => {
    for (const { from, message } of inbox) runner.take({ kind: "message", from, message });
  };
  return { runner, journal, trace, failures, hear };
}

test("a vote and a block are saved before what follows from them is sent", () => {
  const { runner, trace, failures, hear } = setUp();
  runner.start();
  hear();
  runner.close();
  expect(failures).toEqual([]);
  const sent = trace.filter((line) => /^sent (PRE_PREPARE|PREPARE|COMMIT|REPL_ACK)$/.test(line));
  for (const line of sent) {
    const kind = line.slice("sent ".length);
    const wanted = kind === "REPL_ACK" ? "saved block" : `saved ${kind}`;
    expect(trace.indexOf(wanted)).toBeGreaterThanOrEqual(0);
    expect(trace.indexOf(wanted)).toBeLessThan(trace.indexOf(line));
  }
  expect(sent).toContain("sent COMMIT");
  expect(sent).toContain("sent REPL_ACK");
  expect(sent.some((line) => line === "sent PREPARE" || line === "sent PRE_PREPARE")).toBe(true);
  expect(trace.indexOf("saved block")).toBeLessThan(trace.indexOf("block 1"));
});

test("a disk that fails ends the runner at once: nothing is sent, no timer rings, no event counts", () => {
  const { runner, journal, trace, failures, hear } = setUp();
  runner.start();
  trace.length = 0;
  journal.failure = new Error("no space left on device");
  hear();
  expect(failures).toEqual([journal.failure]);
  expect(trace.filter((line) => /PREPARE|COMMIT|REPL_ACK|block/.test(line))).toEqual([]);
  const { height } = runner.participant.chain;
  journal.failure = undefined;
  hear();
  expect([
    runner.participant.chain.height,
    trace.filter((line) => line.startsWith("saved")),
  ]).toEqual([height, []]);
});
