/** What an agent hears of the SCD: contracts as they are, and the commitments they had before. */
import { expect, test } from "bun:test";
import type { BlockHash, Hash, Height } from "../../src/chain/ledger-units.ts";
import type { ScUpdateRecord } from "../../src/chain/record-types.ts";
import { ScdWatch } from "../../src/node/scd-watch.ts";
import { ChainBuilder, contractOf, scIdOf, standInKeys } from "../chain/chain-builder.ts";

const WATCHED = [1, 2, 9].map(scIdOf);

function commitment(number: number): Hash {
  return number.toString(16).padStart(64, "0") as Hash;
}

function update(number: number, change: Partial<ScUpdateRecord>): ScUpdateRecord {
  const { scId, active, generation, secretCommitment, keyregen } = contractOf(number);
  return {
    ...{ kind: "SC_UPDATE", scId, seq: 1, active, generation, secretCommitment, keyregen },
    ...change,
  };
}

function historyOf(chain: ChainBuilder, asked: number[] = []) {
  const at = (height: Height) => {
    asked.push(height);
    return chain.blocks[height - 1];
  };
  return { at, find: (_: BlockHash) => undefined };
}

/** Contracts 1, 2 and 3; then the second generations of 1 and 3; then 2 expires. */
function play(chain: ChainBuilder, watch: ScdWatch): boolean[] {
  const second = { generation: 2, secretCommitment: commitment(2) };
  const bodies = [
    { contracts: [contractOf(1), contractOf(2), contractOf(3)] },
    { records: [update(1, second)] },
    { records: [update(3, second)] },
    { contracts: [contractOf(4)], records: [update(2, { active: "expired" })] },
  ];
  return bodies.map((body) => watch.note(chain.add(body)));
}

test("blocks that are about watched contracts are told from others", () => {
  const chain = new ChainBuilder(standInKeys(1), 1);
  const watch = new ScdWatch(WATCHED, chain.state, historyOf(chain));
  expect(play(chain, watch)).toEqual([true, true, false, true]);
  const [one, two, nine] = watch.contracts(chain.state);
  expect(one?.entry).toMatchObject({ generation: 2, secretCommitment: commitment(2) });
  expect(one?.generations).toEqual([
    {
      generation: 1,
      commitment: contractOf(1).secretCommitment,
      since: chain.blocks[0]?.core.timestamp as never,
    },
    { generation: 2, commitment: commitment(2), since: chain.blocks[1]?.core.timestamp as never },
  ]);
  expect(two?.entry).toBeUndefined();
  expect(nine).toEqual({ scId: scIdOf(9), entry: undefined, generations: [] });
});

test("a watch that begins later finds the same in the blocks", () => {
  const chain = new ChainBuilder(standInKeys(2), 1);
  const early = new ScdWatch(WATCHED, chain.state, historyOf(chain));
  play(chain, early);
  const late = new ScdWatch(WATCHED, chain.state, historyOf(chain));
  expect(late.contracts(chain.state)[0]).toEqual(early.contracts(chain.state)[0] as never);
});

test("the blocks are only read where a contract has had another generation", () => {
  const chain = new ChainBuilder(standInKeys(3), 1);
  chain.add({ contracts: [contractOf(1)] });
  const asked: number[] = [];
  const watch = new ScdWatch([scIdOf(1)], chain.state, historyOf(chain, asked));
  const [one] = watch.contracts(chain.state);
  expect(one?.generations).toMatchObject([
    { generation: 1, commitment: contractOf(1).secretCommitment },
  ]);
  expect(asked).toEqual([]);
});
