/**
 * Compiled signatures as the workers read them: typed arrays only, so that they can lie in shared
 * memory. compile.ts writes them, matcher.ts reads them. Signatures stand in winning order: of two
 * that match, the one with the smaller index wins. "CSR" means: list i of `items` is
 * items[starts[i] .. starts[i + 1]).
 */

import { AbsError } from "../errors.ts";

/** Whose first payload: of the flow's initiator, or of its responder. */
export const REQUEST = 0;
export const RESPONSE = 1;

/** A bit for each of 256 protocols or byte values. */
export const SET_WORDS = 8;

/** Larger than any payload: "to the end". */
export const NO_END = 0xffff_ffff;

export const SETTING_SIGNATURES = 0;
export const SETTING_CONTENTS = 1;
/** Most bytes any signature needs before it can be judged, for requests and for responses. */
export const SETTING_NEED_REQUEST = 2;
export const SETTING_NEED_RESPONSE = 3;
/** Bytes of a payload worth scanning. */
export const SETTING_SCAN_BYTES = 4;
export const SETTINGS = 5;

/** What a scan says of a content: nothing, that it may be there, or that it is. */
export const SCAN_NONE = 0;
export const SCAN_CANDIDATE = 1;
export const SCAN_EXACT = 2;
/** These three; the next bit is the direction of the content. */
export const SCAN_MASK = 3;

/** Lists of a row of waiters: by the value of a byte, and all of them. */
export const WAIT_ANY = 256;
export const WAIT_LISTS = 257;

export type SignatureSnapshot = {
  settings: Uint32Array;

  /** Tag index of the application; 0: no tag is issued for it. */
  tag: Uint32Array;
  /** SET_WORDS a signature. */
  protocols: Uint32Array;
  /** CSR over `ports` (low << 16 | high); an empty list is any port. */
  sourcePortStart: Uint32Array;
  destinationPortStart: Uint32Array;
  ports: Uint32Array;
  /** CSR over `ranges` (src/wire/address-range.ts), counted in ranges; empty is any address. */
  sourceRangeStart: Uint32Array;
  destinationRangeStart: Uint32Array;
  ranges: Uint32Array;
  /** Of the initiator's first payload. */
  lengthMin: Uint32Array;
  lengthMax: Uint32Array;
  /** Equal for signatures of equal rank, smaller for a better one. */
  rank: Uint32Array;
  /** CSR over `ports`: where the application usually is; of equals, the one at home wins. */
  usualPortStart: Uint32Array;

  /** By 2 * signature + direction: whether the signature judges payloads of that direction. */
  judges: Uint8Array;
  /** By 2 * signature + direction: CSR over `checks` (content << 1 | must not be there). */
  checkStart: Uint32Array;
  checks: Uint32Array;
  /** By 2 * signature + direction: bytes without which it cannot match. */
  need: Uint32Array;
  /** By 2 * signature + direction: CSR over `pinned` (position << 16 | row of `sets`). */
  pinnedStart: Uint32Array;
  pinned: Uint32Array;
  sets: Uint32Array;

  /** Signatures found by the value of a byte: rows as of waiters, CSR over `places`. */
  placeRowStart: Uint32Array;
  placePosition: Uint32Array;
  placeStart: Uint32Array;
  places: Uint32Array;

  /** By content: CSR over `uses` (2 * signature + direction), who is looked for by it. */
  useStart: Uint32Array;
  uses: Uint32Array;
  /** By content: SCAN_NONE, SCAN_CANDIDATE or SCAN_EXACT, | direction << 2. */
  scanKind: Uint32Array;

  /** Per direction: signatures that look for no content in it, in winning order (CSR). */
  plainStart: Uint32Array;
  plain: Uint32Array;
  /**
   * Signatures that need bytes, found by a payload that is still short: those whose bytes at
   * `waitPosition[row]` are pinned are listed by value, at row * WAIT_LISTS + value, and all of
   * them at row * WAIT_LISTS + WAIT_ANY; CSR over `waiters` (2 * signature + direction). Rows
   * [waitRowStart[direction], waitRowStart[direction + 1]).
   */
  waitRowStart: Uint32Array;
  waitPosition: Uint32Array;
  waiterStart: Uint32Array;
  waiters: Uint32Array;

  /**
   * Signatures that judge requests by what numbers they fit: rows of one kind of protocol
   * (number-index.ts), each the ports from `portRowLow` to the next row's; CSR over `possible`,
   * fewest pinned numbers first.
   */
  portRowStart: Uint32Array;
  portRowLow: Uint32Array;
  possibleStart: Uint32Array;
  possible: Uint32Array;
};

const FIELDS = [
  "settings",
  "tag",
  "protocols",
  "sourcePortStart",
  "destinationPortStart",
  "ports",
  "sourceRangeStart",
  "destinationRangeStart",
  "ranges",
  "lengthMin",
  "lengthMax",
  "rank",
  "usualPortStart",
  "checkStart",
  "checks",
  "need",
  "pinnedStart",
  "pinned",
  "sets",
  "placeRowStart",
  "placePosition",
  "placeStart",
  "places",
  "useStart",
  "uses",
  "scanKind",
  "plainStart",
  "plain",
  "waitRowStart",
  "waitPosition",
  "waiterStart",
  "waiters",
  "portRowStart",
  "portRowLow",
  "possibleStart",
  "possible",
] as const satisfies readonly Exclude<keyof SignatureSnapshot, "judges">[];

/** The snapshot whose fields another thread packed; a missing or mistyped field is refused. */
export function signatureSnapshotFrom(
  fields: Readonly<Record<string, Uint8Array | Uint32Array | Float64Array>>,
): SignatureSnapshot {
  const judges = fields["judges"];
  if (!(judges instanceof Uint8Array)) throw malformed("judges");
  const found: Partial<Record<(typeof FIELDS)[number], Uint32Array>> = {};
  for (const name of FIELDS) {
    const field = fields[name];
    if (!(field instanceof Uint32Array)) throw malformed(name);
    found[name] = field;
  }
  return { ...(found as Record<(typeof FIELDS)[number], Uint32Array>), judges };
}

function malformed(name: string): AbsError {
  const message = `The signature snapshot has no usable field "${name}".`;
  return new AbsError("SNAPSHOT_MALFORMED", message, "Restart the agent: its threads disagree.");
}
