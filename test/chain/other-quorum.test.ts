/**
 * Two quorums may seal the same hash, in different views. Which one counts is what the next core
 * repeats (docs/ledger.md): a node that takes the other one must have it on its disk too, or its
 * export and the headers it serves would not verify.
 */
import { expect, test } from "bun:test";
import { KeyRing } from "../../src/chain/key-ring.ts";
import type { View } from "../../src/chain/ledger-units.ts";
import { createValidator } from "../../src/chain/participant.ts";
import { takeRival } from "../../src/chain/sealing.ts";
import { ChainBuilder, contractOf, standInKeys } from "./chain-builder.ts";

const builder = new ChainBuilder(standInKeys(3), 4);
const genesis = builder.state;
const block = builder.add({ contracts: [contractOf(1)] });
const tip = builder.state;

/** Of the same block, by a quorum of another view. */
function proofOfView(view: number) {
  builder.states.pop();
  const proof = builder.prove(tip, view as View);
  builder.states.push(tip);
  return proof;
}

function validatorAtTip() {
  const [keys] = builder.nodes.values();
  if (keys === undefined) throw new Error("the chain has members");
  return createValidator({
    ...{
      keys: KeyRing.of(keys),
      crypto: builder.crypto,
      chain: tip,
      below: genesis,
      tipProof: block.proof,
    },
    history: { at: () => block, find: () => block },
    ...{ log: [], checkpoint: undefined, wasWiped: false, checkPeriodMs: 60_000 },
  });
}

test("the other quorum is taken, and saved with the block", () => {
  const validator = validatorAtTip();
  const proof = proofOfView(1);
  expect(takeRival(validator, block.core, proof)).toBe(true);
  expect(validator.tipProof).toEqual(proof);
  expect(validator.outputs).toEqual([{ kind: "restore", block: { ...block, proof } }]);
});

test("the same quorum again, or one whose signatures do not hold, changes nothing", () => {
  const validator = validatorAtTip();
  const other = proofOfView(1);
  const forged = { ...other.quorum, view: 2 as View };
  for (const proof of [proofOfView(0), { ...other, quorum: forged }]) {
    expect(takeRival(validator, block.core, proof)).toBe(false);
  }
  expect(validator.tipProof).toEqual(block.proof);
  expect(validator.outputs).toEqual([]);
});
