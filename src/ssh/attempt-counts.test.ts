import { expect, test } from "bun:test";
import { AttemptCounts } from "./attempt-counts.ts";

test("so many a minute, each by itself, and again in the next one", () => {
  const counts = new AttemptCounts(2);
  const answers = [0, 1, 2].map((nowMs) => counts.add("a", nowMs));
  expect(answers).toEqual([true, true, false]);
  expect(counts.add("b", 3)).toBe(true);
  expect(counts.add("a", 59_999)).toBe(false);
  expect(counts.add("a", 60_000)).toBe(true);
});

test("a crowd of names is forgotten, not kept", () => {
  const counts = new AttemptCounts(1);
  for (let i = 0; i < 65_536; i++) expect(counts.add(`${i}`, 0)).toBe(true);
  expect(counts.add("0", 0)).toBe(true);
});
