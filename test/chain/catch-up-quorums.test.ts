/**
 * Catching up from a peer that lies: which quorums are verified, and that nothing is linked which
 * no verified quorum stands above. design/ledger.md "Spreading and checking".
 */
import { expect, test } from "bun:test";
import type { Block, SealProof } from "../../src/chain/block.ts";
import type { ChainState } from "../../src/chain/chain-state.ts";
import { KeyRing } from "../../src/chain/key-ring.ts";
import type {
  Attempt,
  Hash,
  Height,
  NodeId,
  Signature,
  View,
} from "../../src/chain/ledger-units.ts";
import type { LedgerMessage } from "../../src/chain/message-types.ts";
import { createValidator, step } from "../../src/chain/participant.ts";
import type { Output } from "../../src/chain/step-types.ts";
import { ChainBuilder, contractOf, START, standInKeys, TERM_1 } from "./chain-builder.ts";

const BLOCKS = 12;
/** Changes the TNL: its quorum is verified for itself. */
const CHANGE = 6;

const builder = new ChainBuilder(standInKeys(3), 4);
const [self, peer] = [...builder.nodes.keys()].sort() as [NodeId, NodeId];
for (let height = 1; height <= BLOCKS; height++) {
  const [stake] = builder.state.tnl.at(-1)?.value ?? [];
  if (stake === undefined) throw new Error("nobody is on the TNL");
  const set = [{ ...stake, securityScore: 51, weight: stake.weight }];
  const records = height === CHANGE ? [{ kind: "TNL" as const, set, remove: [] }] : [];
  builder.add({ contracts: [contractOf(height)], records });
}

function newcomer() {
  const chain = builder.states[0] as ChainState;
  let verified = 0;
  const { signatures, vrf } = builder.crypto;
  const crypto = {
    vrf,
    signatures: {
      ...signatures,
      verify: (check: Parameters<typeof signatures.verify>[0]) => {
        verified++;
        return signatures.verify(check);
      },
      verifyMany: (checks: Parameters<typeof signatures.verifyMany>[0]) => {
        verified += checks.length;
        return signatures.verifyMany(checks);
      },
    },
  };
  const keys = builder.keysOf(self);
  const history = { at: () => undefined, find: () => undefined };
  const validator = createValidator({
    ...{
      keys: KeyRing.of(keys),
      crypto,
      chain,
      below: undefined,
      tipProof: undefined,
      history,
      log: [],
    },
    ...{ checkpoint: undefined, wasWiped: false, checkPeriodMs: 60_000 },
  });
  const hear = (message: LedgerMessage): Output[] => {
    const at = { ms: 0, epoch: START } as never;
    return step(validator, { kind: "message", from: peer, message, at });
  };
  /** Headers and all bodies, as one peer gives them. */
  const pull = (blocks: readonly Block[]): string[] => {
    const { chainId } = validator.chain;
    const place = { chainId, term: TERM_1, attempt: 0 as Attempt, view: 0 as View, signer: peer };
    const head = { ...place, height: BLOCKS as Height };
    const [nonce = ""] = validator.catchUp.nonces;
    hear({ kind: "HEADERS_RESP", ...head, nonce: nonce as Hash, headers: blocks });
    const outputs = hear({ kind: "BODY_RESP", ...head, blocks });
    return outputs.flatMap((output) => (output.kind === "report" ? [output.detail] : []));
  };
  return { pull, height: () => validator.chain.height as number, verified: () => verified };
}

/** The chain with one block's seal replaced. */
function changed(height: number, change: (proof: SealProof) => SealProof): Block[] {
  return builder.blocks.map((block) =>
    block.core.height === height ? { ...block, proof: change(block.proof) } : block,
  );
}

function withBrokenVote(proof: SealProof): SealProof {
  const [first, ...rest] = proof.quorum.signatures;
  const broken = Uint8Array.from(first as Signature, (byte) => byte ^ 1) as Signature;
  return { ...proof, quorum: { ...proof.quorum, signatures: [broken, ...rest] } };
}

/** As a master that lies would sign it. */
function signedAnew(height: number, proof: SealProof): SealProof {
  const next = builder.states[height] as ChainState;
  return { ...proof, blockSignature: builder.sealSignature(next, proof) };
}

test("a chain is linked whole, with two quorums verified: the change's and the last", () => {
  const node = newcomer();
  expect(node.pull(builder.blocks)).toEqual([]);
  expect(node.height()).toBe(BLOCKS);
  // Three votes each, and the master's signature of every block.
  expect(node.verified()).toBe(2 * 3 + BLOCKS);
});

const lies = [
  { name: "the last block's vote is broken", height: BLOCKS, reached: CHANGE },
  { name: "a vote of the block that changes the TNL is broken", height: CHANGE, reached: 0 },
];

test.each(lies)("$name, and the master signed it all the same: $reached is reached", (lie) => {
  const node = newcomer();
  const { height, reached } = lie;
  const blocks = changed(height, (proof) => signedAnew(height, withBrokenVote(proof)));
  const [complaint] = node.pull(blocks);
  expect(complaint).toContain("vote-signature");
  expect(node.height()).toBe(reached);
});

test("a peer that exchanges a quorum in the middle is found by the master's signature", () => {
  const node = newcomer();
  const [complaint] = node.pull(changed(3, withBrokenVote));
  expect(complaint).toContain("seal-signature");
  expect(node.height()).toBe(0);
});

test("a view in the middle that the next core does not repeat is refused", () => {
  const node = newcomer();
  const blocks = changed(3, (proof) =>
    signedAnew(3, { ...proof, quorum: { ...proof.quorum, view: 1 as View } }),
  );
  const [complaint] = node.pull(blocks);
  expect(complaint).toContain("parent-quorum");
  expect(node.height()).toBe(0);
});

test("what was linked is gone on with after a lie", () => {
  const node = newcomer();
  node.pull(changed(BLOCKS, withBrokenVote));
  expect(node.height()).toBe(CHANGE);
  expect(node.pull(builder.blocks.slice(CHANGE))).toEqual([]);
  expect(node.height()).toBe(BLOCKS);
});
