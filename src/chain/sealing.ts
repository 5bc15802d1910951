/**
 * The SEAL, and the chain that grows by it: only here does the SCD change. A block is linked to the
 * tip when all about it is recomputed (apply-block.ts) and its quorum, VRF proof and the master's
 * signature hold (seal-check.ts). Two different sealed hashes at one height stop a node: it keeps
 * its data, changes nothing any more, and raises the alarm. Used by validators and by the master.
 */
import type { Block, BlockCore, SealProof } from "./block.ts";
import { blockHashOf } from "./block-core.ts";
import { type Refusal, refuse } from "./block-fault.ts";
import type { ChainState, TipSeal } from "./chain-state.ts";
import { checkpointFault } from "./checkpoint.ts";
import { accuseOfConflict } from "./conflict.ts";
import {
  type LedgerNode,
  openHeight,
  report,
  settleTerm,
  takeMasterTerm,
  write,
} from "./ledger-node.ts";
import { checkSeal } from "./seal-check.ts";

export type Judged = { readonly next: ChainState; readonly seal: TipSeal };

/** Whether a block is the next of the chain; `tried` is the state after it, if known already. */
export function judgeBlock(
  node: LedgerNode,
  block: Block,
  tried: ChainState | undefined,
): Judged | Refusal {
  const { chain, crypto, rules } = node;
  const misfit = checkpointFault(node.catchUp.checkpoint, block.core);
  if (misfit !== undefined) return misfit;
  const next = tried ?? rules.applyBlock(chain, block.core, block.body, crypto);
  return judgeOn(node, chain, block, next);
}

/** The same on a state above the tip. */
export function judgeOn(
  { crypto, rules }: LedgerNode,
  chain: ChainState,
  { proof }: Block,
  next: ChainState | Refusal,
): Judged | Refusal {
  if ("fault" in next) return next;
  const seal = rules.checkSeal(chain, next, proof, crypto);
  return "fault" in seal ? seal : { next, seal };
}

/** The new tip, written before anything that follows from it is sent. */
export function extendChain(node: LedgerNode, block: Block, { next, seal }: Judged): void {
  node.below = node.chain;
  node.chain = node.rules.withSeal(next, seal);
  node.tipProof = block.proof;
  node.tipBody = block.body;
  if (block.proof.masterTerm !== undefined) takeMasterTerm(node, block.proof.masterTerm);
  settleTerm(node);
  node.outputs.push({ kind: "block", block, next: node.chain });
}

/** Whether another seal of the tip's height is valid: judged by the state below. */
function judgeRival(node: LedgerNode, core: BlockCore, proof: SealProof): TipSeal | Refusal {
  const { below, crypto } = node;
  if (below === undefined) return refuse("height", "nothing is below the tip");
  const isTip = core.height === node.chain.height;
  if (!isTip || core.previousBlockHash !== below.blockHash) return refuse("parent-hash");
  // Its body is not needed: quorum and seal are judged by the parent's members.
  const words = { core, blockHash: blockHashOf(core), height: core.height };
  return checkSeal(below, { ...below, ...words }, proof, crypto);
}

/**
 * A seal of the tip's height. Of another hash: stop. Of the same hash by another quorum: which one
 * counts is what the next core repeats, so the newest is taken.
 */
export function takeRival(node: LedgerNode, core: BlockCore, proof: SealProof): boolean {
  const blockHash = blockHashOf(core);
  if (blockHash === node.chain.blockHash) return takeOtherQuorum(node, proof);
  if (node.stoppedBy !== undefined || core.height !== node.chain.height) return false;
  const seal = judgeRival(node, core, proof);
  const isSealed = !("fault" in seal);
  const { chain, tipProof } = node;
  if (tipProof !== undefined && chain.seal !== undefined) {
    const tip = { core: chain.core, proof: tipProof, committee: chain.seal.committee };
    // On another parent its quorum cannot be judged here; two words of one master can.
    accuseOfConflict(node, tip, { core, proof, committee: isSealed ? seal.committee : [] });
  }
  if (!isSealed) return false;
  stop(node, `two sealed blocks at height ${core.height}: ${node.chain.blockHash}, ${blockHash}`);
  return true;
}

function takeOtherQuorum(node: LedgerNode, proof: SealProof): boolean {
  const { below, chain, crypto, rules, tipProof } = node;
  if (below === undefined || tipProof === undefined) return false;
  const { attempt, view } = proof.quorum;
  if (attempt === tipProof.quorum.attempt && view === tipProof.quorum.view) return false;
  const seal = rules.checkSeal(below, chain, proof, crypto);
  if ("fault" in seal) return false;
  node.chain = rules.withSeal(chain, seal);
  node.tipProof = proof;
  // The disk too: an export must hold the quorum that the next core repeats.
  const stored = node.history.at(chain.height);
  if (stored !== undefined) node.outputs.push({ kind: "restore", block: { ...stored, proof } });
  return true;
}

export function stop(node: LedgerNode, reason: string): void {
  if (node.stoppedBy !== undefined) return;
  node.stoppedBy = reason;
  write(node, { kind: "stopped", reason });
  report(node, "conflict", reason);
}

/** Whether a header or seal is of the height that comes next. */
export function isNext(node: LedgerNode, core: BlockCore): boolean {
  return core.height === openHeight(node) && core.previousBlockHash === node.chain.blockHash;
}
