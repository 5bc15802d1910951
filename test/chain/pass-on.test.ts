/**
 * A node that has a block by another way than the line (gossip, or the next CANDIDATE) passes it on
 * when the line comes to it, once, and with its own body: those behind it would wait for gossip.
 */
import { expect, test } from "bun:test";
import type { ChainState } from "../../src/chain/chain-state.ts";
import { KeyRing } from "../../src/chain/key-ring.ts";
import type { Height, NodeId, Signature } from "../../src/chain/ledger-units.ts";
import type { LedgerMessage, SealMessage } from "../../src/chain/message-types.ts";
import { createValidator, step } from "../../src/chain/participant.ts";
import type { Output, StepEvent } from "../../src/chain/step-types.ts";
import { contractOf, NobleKeys } from "./chain-builder.ts";
import { SmallNetwork } from "./small-network.ts";

const network = new SmallNetwork(new NobleKeys(11), 4);
network.propose(contractOf(1));
network.run(1000);
const genesis = network.builder.states[0] as ChainState;
// Height 1 is odd: the line goes by descending ids.
const [last, third, second, first] = network.members as [NodeId, NodeId, NodeId, NodeId];
const seal = network.sent.find(({ to, message }) => to === second && message.kind === "SEAL")
  ?.message as SealMessage;
const { disk } = network.seat(first);

/** The second of the line, which has heard nothing yet; what it is told, and what it then sends. */
function secondNode() {
  const validator = createValidator({
    ...{
      keys: KeyRing.of(network.seat(second).keys),
      crypto: network.builder.crypto,
      chain: genesis,
    },
    ...{ below: undefined, tipProof: undefined, history: disk, log: [], checkpoint: undefined },
    ...{ wasWiped: false, checkPeriodMs: 60_000 },
  });
  const hear = (message: object): readonly (readonly [string, readonly NodeId[]])[] => {
    const words = { chainId: genesis.chainId, term: 1, height: 1, attempt: 0, view: 0 };
    const whole = { ...words, signer: first, ...message } as LedgerMessage;
    const event: StepEvent = { kind: "message", at: network.at, from: first, message: whole };
    return sends(step(validator, event));
  };
  return { validator, hear };
}

function sends(outputs: readonly Output[]): (readonly [string, readonly NodeId[]])[] {
  return outputs.flatMap((output) =>
    output.kind === "send" ? [[output.message.kind, output.to] as const] : [],
  );
}

/** As gossip brings it. */
function pulled() {
  const node = secondNode();
  const block = disk.at(1 as Height);
  if (block === undefined) throw new Error("no block");
  const [nonce] = node.validator.catchUp.nonces;
  const headers = [{ core: block.core, proof: block.proof }];
  node.hear({ kind: "HEADERS_RESP", nonce, headers });
  node.hear({ kind: "BODY_RESP", blocks: [{ core: block.core, body: block.body }] });
  expect(node.validator.chain.height).toBe(1 as Height);
  return node;
}

test("along the line it is forwarded and acknowledged", () => {
  expect(secondNode().hear(seal)).toEqual([
    ["SEAL", [third]],
    ["REPL_ACK", [first]],
  ]);
});

test("what it has already it passes on once, and acknowledges as often as it comes", () => {
  const { hear } = pulled();
  expect(hear(seal)).toEqual([
    ["REPL_ACK", [first]],
    ["SEAL", [third]],
  ]);
  expect(hear(seal)).toEqual([["REPL_ACK", [first]]]);
  expect(last).not.toBe(third);
});

test("a seal that does not hold is passed on to nobody", () => {
  const { hear } = pulled();
  const blockSignature = new Uint8Array(64).fill(1) as Signature;
  expect(hear({ ...seal, signature: blockSignature })).toEqual([["REPL_ACK", [first]]]);
});
