/** Medians and tables of the benches. */
import { expect, test } from "bun:test";
import { median, rounded } from "./machine.ts";
import { formatTable } from "./table.ts";

const medians = [
  { name: "one value", values: [4], result: 4 },
  { name: "odd, unsorted", values: [9, 1, 5], result: 5 },
  { name: "even: the lower of the middle two", values: [4, 1, 3, 2], result: 2 },
  { name: "numbers, not words", values: [10, 9, 100], result: 10 },
];
test.each(medians)("median: $name", ({ values, result }) => {
  expect(median(values)).toBe(result);
});

test("median of nothing is no number", () => {
  expect(median([])).toBeNaN();
});

test("rounded keeps so many decimals", () => {
  expect([rounded(1.2345, 2), rounded(1.5, 0), rounded(7, 3)]).toEqual([1.23, 2, 7]);
});

test("formatTable: names to the left, numbers to the right", () => {
  expect(
    formatTable(
      ["path", "Mbit/s"],
      [
        ["bare", "3200"],
        ["wireguard-go", "9"],
      ],
    ),
  ).toBe(
    "path          Mbit/s\n------------  ------\nbare            3200\nwireguard-go       9\n",
  );
});
