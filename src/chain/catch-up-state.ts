/** What a node remembers while it catches up with its peers; catch-up.ts does it. */
import type { SealedHeader } from "./block.ts";
import type { NodeId } from "./ledger-units.ts";
import type { Checkpoint } from "./step-types.ts";

export type CatchUp = {
  /** From enrolment or renewal. */
  readonly checkpoint: Checkpoint | undefined;
  /** Linked headers above the tip whose bodies are on their way. */
  headers: readonly SealedHeader[];
  /** Who gave them. */
  peer: NodeId | undefined;
  /** When the last of it came. */
  sinceMs: number;
};

export function createCatchUp(checkpoint: Checkpoint | undefined): CatchUp {
  return { checkpoint, headers: [], peer: undefined, sinceMs: 0 };
}
