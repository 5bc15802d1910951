/**
 * One participant after another on a disk that is damaged: who lacks a block only catches up, be it
 * the master; a master that may have forgotten numbers its candidates above all that it may have
 * sent; what waits for the next blocks is not lost when the journal is opened anew.
 */
import { expect, test } from "bun:test";
import type { ChainState } from "../../src/chain/chain-state.ts";
import { encodeContract } from "../../src/chain/contract-entry.ts";
import { KeyRing } from "../../src/chain/key-ring.ts";
import type { Height, NodeId } from "../../src/chain/ledger-units.ts";
import type { Master } from "../../src/chain/master-state.ts";
import { type JournalCondition, SOUND } from "../../src/node/ledger-journal.ts";
import { epochNow } from "../../src/node/ledger-runner.ts";
import { NodeEvents } from "../../src/node/node-events.ts";
import { NodeLife } from "../../src/node/node-life.ts";
import { contractOf, NobleKeys } from "../chain/chain-builder.ts";
import { SmallNetwork } from "../chain/small-network.ts";
import { MemoryJournal } from "./memory-journal.ts";

const network = new SmallNetwork(new NobleKeys(8), 4);
const genesis = network.builder.states[0] as ChainState;
network.propose(contractOf(1));
network.run(1000);

/** A life on journals that are found in these conditions, one opening after another. */
function lifeOf(role: "master" | "validator", conditions: readonly JournalCondition[]) {
  const nodeId = role === "master" ? network.master : (network.members[0] as NodeId);
  const events: string[] = [];
  const journals: MemoryJournal[] = [];
  const life = new NodeLife({
    ...{ role, genesis, crypto: network.builder.crypto, file: "none", checkPeriodMs: 50 },
    ...{
      keys: KeyRing.of(network.seat(nodeId).keys),
      masterTerm: undefined,
      checkpoint: undefined,
    },
    hasRun: () => true,
    openJournal: () => {
      const journal = new MemoryJournal(genesis);
      const condition = conditions[journals.length] ?? SOUND;
      journals.push(journal);
      return { journal, contents: journal.contents(), condition };
    },
    events: new NodeEvents({ write: ({ event }) => events.push(event) }),
    send: () => {},
    onBlock: () => {},
    onBeginning: () => events.push("beginning"),
    onFailure: (thrown) => events.push(`failed: ${thrown}`),
  });
  return { life, events, journals };
}

async function until(condition: () => boolean): Promise<void> {
  const endMs = performance.now() + 5000;
  while (!condition()) {
    if (performance.now() > endMs) throw new Error("it did not come true in 5 s");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const LACKS: JournalCondition = { ...SOUND, findings: ["block 1"], lacks: 1 as Height };

test.each(["master", "validator"] as const)(
  "a %s that lacks a block only catches up, and takes its part when it has it",
  async (role) => {
    const { life, events, journals } = lifeOf(role, [LACKS]);
    expect(life.runner.participant).toMatchObject({ kind: "validator", onlyCatchesUp: true });
    life.start();
    const { disk } = network.seat(network.members[1] as NodeId);
    const block = disk.at(1 as Height);
    if (block === undefined) throw new Error("no block");
    const from = network.members[1] as NodeId;
    const header = { core: block.core, proof: block.proof };
    const words = {
      chainId: genesis.chainId,
      term: 1,
      height: 1,
      attempt: 0,
      view: 0,
      signer: from,
    };
    const say = (message: object): void =>
      life.runner.take({ kind: "message", from, message: { ...words, ...message } as never });
    const [nonce] = life.runner.participant.catchUp.nonces;
    say({ kind: "HEADERS_RESP", nonce, headers: [header] });
    say({ kind: "BODY_RESP", blocks: [{ core: block.core, body: block.body }] });
    await until(() => journals.length === 2);
    await until(() => events.includes("beginning"));
    expect(events.slice(0, 3)).toEqual(["ledger-damage", "ledger-repaired", "beginning"]);
    expect(life.runner.participant.kind).toBe(role);
    expect(life.isRepairing).toBe(false);
    life.stop();
  },
);

test("a master that may have forgotten begins its sequences above all that it may have sent", () => {
  const { life } = lifeOf("master", [{ ...SOUND, mayHaveForgotten: true }]);
  const master = life.runner.participant as Master;
  expect(master.nextSequence).toBeGreaterThan(epochNow() - 10);
  life.stop();
  const sound = lifeOf("master", [SOUND]);
  expect((sound.life.runner.participant as Master).nextSequence as number).toBe(0);
  sound.life.stop();
});

test("a master whose disk is damaged is opened anew, and proposes what waited", async () => {
  const { life, events, journals } = lifeOf("master", []);
  life.start();
  const contract = encodeContract(contractOf(5));
  life.runner.take({ kind: "propose", contracts: [contract], records: [] });
  const [first] = journals;
  if (first === undefined) throw new Error("no journal");
  first.recompute = async () => {
    return { height: 0 as Height, scdRoot: genesis.scd.root, damaged: [], broken: "a header" };
  };
  await until(() => events.includes("beginning"));
  expect(events).toEqual(["ledger-damage", "beginning"]);
  expect((life.runner.participant as Master).contracts).toEqual([contract]);
  life.stop();
});

test("a failure that is no disk's ends the node", () => {
  const { life, events, journals } = lifeOf("master", []);
  const [journal] = journals;
  if (journal === undefined) throw new Error("no journal");
  journal.recompute = async () => {
    throw new Error("a fault of the program");
  };
  return until(() => events.length > 0).then(() => {
    expect(events).toEqual(["failed: Error: a fault of the program"]);
    life.stop();
  });
});
