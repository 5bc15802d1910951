/** What a node remembers while it catches up with its peers; catch-up.ts does it. */
import type { SealedHeader } from "./block.ts";
import type { Hash, NodeId } from "./ledger-units.ts";
import type { Checkpoint } from "./step-types.ts";

export type CatchUp = {
  /** From enrolment or renewal. */
  readonly checkpoint: Checkpoint | undefined;
  /**
   * Of the questions whose answers are heard, the newest first: this gossip's and the one before.
   * None after an `observe` until the next: what was asked before a copy says nothing after it.
   */
  nonces: readonly Hash[];
  /** Linked headers above the tip whose bodies are on their way. */
  headers: readonly SealedHeader[];
  /** Who gave them. */
  peer: NodeId | undefined;
  /** When the last of it came. */
  sinceMs: number;
};

export function createCatchUp(checkpoint: Checkpoint | undefined, nonce: Hash): CatchUp {
  return { checkpoint, nonces: [nonce], headers: [], peer: undefined, sinceMs: 0 };
}
