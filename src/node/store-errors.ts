/**
 * What SQLite says, and what it means to a node: a file that is damaged is repaired, a disk without
 * room is waited for, all else is an operating error with its remedy. docs/ledger.md "Disk".
 */
import { SQLiteError } from "bun:sqlite";
import { AbsError, messageOf } from "../errors.ts";

export type StoreFault = "damaged" | "full";

const DAMAGED_CODE = "LEDGER_STORE_DAMAGED";
const DAMAGED = /^SQLITE_(CORRUPT|NOTADB)/;
/** Out of room, or the disk refuses: SQLite reports a failed write by what it tried. */
const FULL = /^SQLITE_(FULL|IOERR)/;

const REMEDIES = {
  damaged: "Start the node: it sets the file aside, observes, and fetches all from its peers.",
  full: "Make room on its disk, or look at the disk's health.",
};

/** Undefined: neither, or not SQLite's. */
export function storeFault(thrown: unknown): StoreFault | undefined {
  if (thrown instanceof AbsError && thrown.code === DAMAGED_CODE) return "damaged";
  const cause = thrown instanceof AbsError ? thrown.cause : thrown;
  if (!(cause instanceof SQLiteError)) return undefined;
  const code = cause.code ?? "";
  if (DAMAGED.test(code)) return "damaged";
  return FULL.test(code) ? "full" : undefined;
}

export function storeDamaged(file: string, what: string): AbsError {
  return new AbsError(DAMAGED_CODE, `${file} cannot be used: ${what}.`, REMEDIES.damaged);
}

/** With what was thrown as its cause, unless that says all already. */
export function unusable(file: string, cause: unknown): AbsError {
  if (cause instanceof AbsError) return cause;
  const fault = storeFault(cause);
  return new AbsError(
    "LEDGER_STORE_UNUSABLE",
    `${file} cannot be used: ${messageOf(cause)}.`,
    fault === undefined ? "Look at the path and its permissions." : REMEDIES[fault],
    cause,
  );
}

/** @throws AbsError LEDGER_STORE_VERSION where a file is not of this program's version */
export function requireVersion(file: string, version: number, known: number): void {
  if (version === known) return;
  throw new AbsError(
    "LEDGER_STORE_VERSION",
    `${file} has version ${version}, this program reads ${known}.`,
    version > known
      ? "Run the newer program that wrote it; nothing in the file was changed."
      : "Start its node once: that takes it to the present version.",
  );
}

export function chainOther(file: string, found: string | undefined, wanted: string): AbsError {
  return new AbsError(
    "LEDGER_CHAIN_OTHER",
    `${file} is of chain ${found ?? "?"}, genesis.json of ${wanted}.`,
    "Put the right genesis.json back: every node of the tenant has the same.",
  );
}
