import { expect, test } from "bun:test";
import type { View } from "../../src/chain/ledger-units.ts";
import { viewTimeoutMs } from "../../src/chain/round-change.ts";

test("rule 5: the time-out doubles with each view and stops at its cap", () => {
  const views = Array.from({ length: 8 }, (_, view) => viewTimeoutMs(view as View, 1000, 16_000));
  expect(views).toEqual([1000, 2000, 4000, 8000, 16_000, 16_000, 16_000, 16_000]);
});
