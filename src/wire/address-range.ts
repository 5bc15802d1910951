/**
 * Address ranges as packed words, and whether an address lies in one. Hot path.
 * A range is RANGE_WORDS unsigned words: IP version (4 or 6), lowest address, highest address, four
 * words each; IPv4 sits in the last of the four, as in the packet parser.
 */

export const RANGE_WORDS = 9;

/** Whether the address (unsigned words) lies in the range that starts at `ranges[at]`. */
export function rangeHolds(
  ranges: Uint32Array,
  at: number,
  ipVersion: number,
  address0: number,
  address1: number,
  address2: number,
  address3: number,
): boolean {
  if (ranges[at] !== ipVersion) return false;
  return (
    compare(ranges, at + 1, address0, address1, address2, address3) >= 0 &&
    compare(ranges, at + 5, address0, address1, address2, address3) <= 0
  );
}

/** The address against the four words at `at`: -1, 0 or 1. */
function compare(
  words: Uint32Array,
  at: number,
  address0: number,
  address1: number,
  address2: number,
  address3: number,
): number {
  const word0 = words[at];
  if (address0 !== word0) return address0 < word0 ? -1 : 1;
  const word1 = words[at + 1];
  if (address1 !== word1) return address1 < word1 ? -1 : 1;
  const word2 = words[at + 2];
  if (address2 !== word2) return address2 < word2 ? -1 : 1;
  const word3 = words[at + 3];
  if (address3 !== word3) return address3 < word3 ? -1 : 1;
  return 0;
}
