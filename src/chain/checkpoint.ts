/**
 * A checkpoint: a height and its block hash that a node was told at its enrolment or at the renewal
 * of its certificate. design "Spreading and checking": nothing that conflicts with it is accepted,
 * so keys of members long revoked cannot write another history for a newcomer.
 */
import type { BlockCore } from "./block.ts";
import { blockHashOf } from "./block-core.ts";
import { type Refusal, refuse } from "./block-fault.ts";
import type { ChainState } from "./chain-state.ts";
import type { BlockHistory, Checkpoint } from "./step-types.ts";

/** What a block of another history is refused with; undefined: no conflict. */
export function checkpointFault(
  checkpoint: Checkpoint | undefined,
  core: BlockCore,
): Refusal | undefined {
  if (core.height !== checkpoint?.height) return undefined;
  const blockHash = blockHashOf(core);
  if (blockHash === checkpoint.blockHash) return undefined;
  return refuse("checkpoint", `block ${core.height} is ${blockHash}, not ${checkpoint.blockHash}`);
}

/** Why the chain of this disk is another history than the one that was vouched for. */
export function chainConflict(
  checkpoint: Checkpoint | undefined,
  chain: ChainState,
  history: BlockHistory,
): string | undefined {
  if (checkpoint === undefined || checkpoint.height > chain.height) return undefined;
  const isTip = checkpoint.height === chain.height;
  const core = isTip ? chain.core : history.at(checkpoint.height)?.core;
  const fault = core === undefined ? undefined : checkpointFault(checkpoint, core);
  return fault === undefined ? undefined : `checkpoint: ${fault.detail}`;
}
