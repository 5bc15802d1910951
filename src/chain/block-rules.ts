/**
 * What a block makes of a chain and whether it is sealed: three pure functions that a node is given
 * with its configuration. The product's nodes take them as they are. The simulator's nodes judge
 * the same blocks in one process, and remember the answers (src/sim/remembered-rules.ts).
 */
import { applyBlock, withSeal } from "./apply-block.ts";
import { checkSeal } from "./seal-check.ts";

export type BlockRules = {
  readonly applyBlock: typeof applyBlock;
  readonly checkSeal: typeof checkSeal;
  readonly withSeal: typeof withSeal;
};

export const BLOCK_RULES: BlockRules = { applyBlock, checkSeal, withSeal };
