/**
 * What an update changes, by the digests of what is enforced and of what shall be: entries by id.
 * Some of it cannot change while an agent runs: who it is, and what all its tenant must agree on.
 */
import { AbsError } from "../errors.ts";
import { PARTS, type Part, type PartDigest, type PartDigests } from "./part-digests.ts";

export interface PartChanges {
  readonly added: readonly string[];
  readonly removed: readonly string[];
  readonly changed: readonly string[];
  /** The same entries in another order, which decides for rules. */
  readonly reordered: boolean;
}

/** Parts without a change are left out. */
export type Changes = Partial<Readonly<Record<Part, PartChanges>>>;

/** Of `node`: sessions, flows or the takeover stand on them. */
const FIXED = ["id", "key", "tenant", "carriers", "onStop", "ledger"];

export function changesOf(before: PartDigests, after: PartDigests): Changes {
  const changes: Partial<Record<Part, PartChanges>> = {};
  for (const part of PARTS) {
    const found = partChanges(before[part], after[part]);
    if (found !== undefined) changes[part] = found;
  }
  return changes;
}

function partChanges(before: PartDigest, after: PartDigest): PartChanges | undefined {
  const added = [...after.entries.keys()].filter((id) => !before.entries.has(id));
  const removed = [...before.entries.keys()].filter((id) => !after.entries.has(id));
  const changed = [...after.entries].flatMap(([id, digest]) => {
    const known = before.entries.get(id);
    return known === undefined || known === digest ? [] : [id];
  });
  const isSame = added.length + removed.length + changed.length === 0;
  const reordered = isSame && before.whole !== after.whole;
  return isSame && !reordered ? undefined : { added, removed, changed, reordered };
}

/**
 * Throws AbsError `UPDATE_NEEDS_RESTART` when a change cannot be made in a running agent.
 * @param keepsKey one of its keys stays while another comes or goes
 */
export function requireChangeable({ node }: Changes, keepsKey: boolean): void {
  if (node === undefined) return;
  const touched = [...node.added, ...node.removed, ...node.changed];
  const fixed = FIXED.filter((name) => touched.includes(name) && !(name === "key" && keepsKey));
  if (fixed.length === 0) return;
  const names = fixed.map((name) => (name === "key" ? "staticKey" : name)).join(", ");
  throw new AbsError(
    "UPDATE_NEEDS_RESTART",
    `A running agent cannot change its ${names}; nothing was changed.`,
    "Restart the agent, or take that change back.",
  );
}
