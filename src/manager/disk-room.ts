/** A disk without room, in words. docs/manager.md "Database". Nothing of a transaction is kept. */
import { AbsError, messageOf } from "../errors.ts";
import { storeFault } from "../node/store-errors.ts";

/** What was thrown, or DISK_FULL where SQLite could not write. */
export function roomError(thrown: unknown): unknown {
  if (storeFault(thrown) !== "full") return thrown;
  return new AbsError(
    "DISK_FULL",
    `The manager's disk takes nothing: ${messageOf(thrown)}.`,
    "Make room on the disk of its folder, then ask again.",
    thrown,
  );
}
