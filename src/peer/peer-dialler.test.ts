import { expect, test } from "bun:test";
import { pauseLimitMs } from "./peer-dialler.ts";

test("pauses grow past five seconds only where refusals last, and never past thirty", () => {
  expect([0, 15_000, 30_000, 90_000, 3_600_000].map(pauseLimitMs)).toEqual([
    5000, 5000, 10_000, 30_000, 30_000,
  ]);
});
