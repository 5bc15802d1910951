/** Pairs of addresses are counted once, and refused when they do not fit. */
import { expect, test } from "bun:test";
import { PairCensus } from "./pair-census.ts";
import { PAIR_WORDS } from "./snapshot-fields.ts";

/** Rows that differ in the peer's address; the words after it do not count. */
function pairs(...addresses: readonly number[]) {
  const rows = new Uint32Array(PAIR_WORDS * addresses.length);
  addresses.forEach((address, i) => {
    rows.set([4, 0, 0, 0, 7, 0, 0, 0, address, i], PAIR_WORDS * i);
  });
  return { pairs: rows };
}

test("known pairs count once, too many are refused and count for nothing", () => {
  const census = new PairCensus(3);
  census.add(pairs(1, 2));
  census.add(pairs(2, 1));
  census.add({});
  expect(() => census.add(pairs(3, 4))).toThrow("4 pairs of addresses; 3 fit");
  census.add(pairs(4, 1));
  expect(() => census.add(pairs(3))).toThrow("3 fit");
});
