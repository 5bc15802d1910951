/**
 * The state at the tip, from the blocks of a node's own disk: hash links, all roots and the
 * signatures of records are recomputed (design/ledger.md, integrity check at start). Quorums and
 * VRF proofs were verified before a block was saved, and digests show that they are the same; here
 * only the tip's are verified, which nothing after it repeats.
 */
import { applyBlock, withSeal } from "../chain/apply-block.ts";
import type { Block, BlockCore, SealProof } from "../chain/block.ts";
import { type ChainState, committeeOf, nextHeight, type TipSeal } from "../chain/chain-state.ts";
import type { LedgerCrypto } from "../chain/crypto-interface.ts";
import type { Height } from "../chain/ledger-units.ts";
import { checkSeal } from "../chain/seal-check.ts";
import { AbsError } from "../errors.ts";

export type Replayed = {
  readonly chain: ChainState;
  readonly below: ChainState | undefined;
  readonly tipProof: SealProof | undefined;
  /** The first block that does not fit; the state is the one below it. */
  readonly fault: BlockFault | undefined;
};

export type BlockFault = { readonly height: Height; readonly why: string };

type Step = ChainState | { readonly why: string };

/** From height 1 on; undefined stands for a block that cannot be read. */
export function replayChain(
  genesis: ChainState,
  blocks: Iterable<Block | undefined>,
  crypto: LedgerCrypto,
): Replayed {
  let chain = genesis;
  let below: ChainState | undefined;
  let tipProof: SealProof | undefined;
  let held: Block | undefined;
  const stopped = (why: string): Replayed => {
    return { chain, below, tipProof, fault: { height: nextHeight(chain), why } };
  };
  const grow = (child: BlockCore | undefined): string | undefined => {
    if (held === undefined) return undefined;
    const next: Step = extend(chain, held, child, crypto);
    if ("why" in next) return next.why;
    [below, chain, tipProof] = [chain, next, held.proof];
    return undefined;
  };
  for (const block of blocks) {
    const why = grow(block?.core);
    if (why !== undefined) return stopped(why);
    if (block === undefined) return stopped("it is missing, or its bits have changed");
    held = block;
  }
  const why = grow(undefined);
  return why === undefined ? { chain, below, tipProof, fault: undefined } : stopped(why);
}

function extend(
  chain: ChainState,
  { core, body, proof }: Block,
  child: BlockCore | undefined,
  crypto: LedgerCrypto,
): Step {
  const next = applyBlock(chain, core, body, crypto);
  if ("fault" in next) return { why: `${next.fault} ${next.detail}` };
  if (child !== undefined) return withSeal(next, sealBelow(chain, proof, child));
  const seal = checkSeal(chain, next, proof, crypto);
  return "fault" in seal ? { why: `${seal.fault} ${seal.detail}` } : withSeal(next, seal);
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

/** For commands that only read, and must not show half a chain. */
export function damaged({ height, why }: BlockFault): AbsError {
  return new AbsError(
    "LEDGER_DAMAGED",
    `The chain on this disk does not hold at block ${height}: ${why}.`,
    "Start its node: it fetches that block from its peers, and reports it.",
  );
}
