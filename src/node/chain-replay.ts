/**
 * The state at the tip, from the blocks of a node's own disk: hash links, all roots and the
 * signatures of records are recomputed (design/ledger.md, integrity check at start). Quorums and
 * VRF proofs were verified before a block was saved; here only the tip's are, which nothing after
 * it repeats.
 */
import { applyBlock, withSeal } from "../chain/apply-block.ts";
import type { Block, BlockCore, SealProof } from "../chain/block.ts";
import { type ChainState, committeeOf, type TipSeal } from "../chain/chain-state.ts";
import type { LedgerCrypto } from "../chain/crypto-interface.ts";
import { checkSeal } from "../chain/seal-check.ts";
import { AbsError } from "../errors.ts";

export type Replayed = {
  readonly chain: ChainState;
  readonly below: ChainState | undefined;
  readonly tipProof: SealProof | undefined;
};

/** @throws AbsError LEDGER_DAMAGED, which names the first block that does not fit */
export function replayChain(
  genesis: ChainState,
  blocks: Iterable<Block>,
  crypto: LedgerCrypto,
): Replayed {
  let chain = genesis;
  let below: ChainState | undefined;
  let held: Block | undefined;
  for (const block of blocks) {
    if (held !== undefined) {
      const next = extend(chain, held, block.core, crypto);
      below = chain;
      chain = next;
    }
    held = block;
  }
  if (held === undefined) return { chain, below, tipProof: undefined };
  const next = extend(chain, held, undefined, crypto);
  return { chain: next, below: chain, tipProof: held.proof };
}

function extend(
  chain: ChainState,
  { core, body, proof }: Block,
  child: BlockCore | undefined,
  crypto: LedgerCrypto,
): ChainState {
  const next = applyBlock(chain, core, body, crypto);
  if ("fault" in next) throw damaged(core, `${next.fault} ${next.detail}`);
  if (child !== undefined) return withSeal(next, sealBelow(chain, proof, child));
  const seal = checkSeal(chain, next, proof, crypto);
  if ("fault" in seal) throw damaged(core, `${seal.fault} ${seal.detail}`);
  return withSeal(next, seal);
}

/** The next core repeats the quorum that counts, which may be another than the one stored. */
function sealBelow(chain: ChainState, proof: SealProof, child: BlockCore): TipSeal {
  return {
    attempt: child.parentAttempt,
    view: child.parentView,
    beta: child.parentBeta,
    committee: proof.redraw?.committee ?? committeeOf(chain, child.parentAttempt),
  };
}

export function damaged(core: Pick<BlockCore, "height">, why: string): AbsError {
  return new AbsError(
    "LEDGER_DAMAGED",
    `The chain on this disk does not hold at block ${core.height}: ${why}.`,
    "Move scd.sqlite aside and start again: the node observes, and fetches all from its peers.",
  );
}
