/**
 * Can a FORCED_REDRAW contradict a block that members have decided, or still can? docs/ledger.md
 * "How many answers" has the argument. With n, q of a committee and f, the liars that the draw's
 * committee bears, of which every committee may hold that many:
 *
 * - A voice is an answer of a member that waits (freeze.ts) and remembers all it signed. n - q + f
 *   + 1 of a committee meet every quorum of it in an honest member: what that quorum decided is
 *   among the answers, and it decides nothing more. Of the draw's committee that is 2f + 1.
 * - That holds of each committee that may vote below the redraw: attempt 0, those of redraws, and
 *   one above another while its members may have left the lower one.
 * - The committee named needs a quorum of 2f + 1 too. Two quorums of it meet in an honest member
 *   then; and where f of it stay silent the others are enough for another redraw.
 */
import { type Committee, faultsOf, quorumOf } from "./certificate.ts";
import { committeeOf } from "./chain-state.ts";
import type { Attempt, NodeId } from "./ledger-units.ts";
import { committeeAt, type Master } from "./master-state.ts";
import type { QcStateMessage } from "./message-types.ts";

export type Voices = ReadonlyMap<NodeId, QcStateMessage>;

/** What could happen, in words for who holds the recovery key; empty: the redraw is safe. */
export function redrawDangers(
  master: Master,
  words: { readonly attempt: Attempt; readonly committee: Committee },
  voices: Voices,
): string[] {
  const { attempt, committee } = words;
  const f = faultsInDraw(master);
  const begins = [0 as Attempt, ...master.redraws.keys()];
  const dangers = begins.flatMap((begin) => hiddenFrom(master, begin, attempt, voices) ?? []);
  if (!isStrong(committee.length, f)) {
    dangers.push(
      `${f} liars among the ${committee.length} named could agree on two blocks, or on none for ` +
        `ever: name so many that ${2 * f + 1} must agree.`,
    );
  }
  return [...new Set(dangers)];
}

function faultsInDraw({ chain }: Master): number {
  return faultsOf(committeeOf(chain, 0 as Attempt).length);
}

function isStrong(size: number, faults: number): boolean {
  return quorumOf(size) >= 2 * faults + 1;
}

/** From an attempt that was opened up to the first that nobody can have left; undefined: safe. */
function hiddenFrom(
  master: Master,
  begin: Attempt,
  redrawn: Attempt,
  voices: Voices,
): string | undefined {
  const f = faultsInDraw(master);
  for (let attempt = begin; attempt < redrawn; attempt++) {
    const committee = committeeAt(master, attempt);
    const size = committee.length;
    const needed = size - quorumOf(size) + f + 1;
    const heard = committee.flatMap((nodeId) => voices.get(nodeId) ?? []);
    if (heard.length < needed) {
      const silent = committee.filter((nodeId) => !voices.has(nodeId));
      return (
        `Of the ${size} of attempt ${attempt} only ${heard.length} vouch for what they signed ` +
        `and wait; it takes ${needed}. If ${silent.join(", ")} agreed on a block with others, ` +
        "or still do, the chain WOULD FORK here."
      );
    }
    if (heard.filter((answer) => !hasLeft(answer, attempt)).length >= needed) return undefined;
  }
  return `Attempt ${redrawn} may have been opened by the committee itself: ask again.`;
}

function hasLeft(answer: QcStateMessage, attempt: Attempt): boolean {
  return answer.attempt > attempt || (answer.attempt === attempt && answer.abandoned);
}

/**
 * Those who answered, and as many of the draw's others as make the committee bear the liars, if
 * those who answered can be a quorum of it then.
 */
export function committeeToName(
  master: Master,
  able: Committee,
  others: Committee,
  sizeMax: number,
): Committee {
  const f = faultsInDraw(master);
  const sizeEnd = Math.min(sizeMax, able.length + others.length);
  for (let size = able.length; size <= sizeEnd && quorumOf(size) <= able.length; size++) {
    if (isStrong(size, f)) return [...able, ...others.slice(0, size - able.length)];
  }
  return able;
}
