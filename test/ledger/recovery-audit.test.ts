/** The audit beside the recovery key: which redraws of a height a master may have made. */
import { afterAll, expect, test } from "bun:test";
import { appendFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  auditedRedraws,
  auditedTerm,
  auditRecovery,
  REDRAW_REFUSED,
} from "../../src/node/ledger-heir.ts";

const dir = mkdtempSync(join(tmpdir(), "abs-audit-"));
afterAll(() => rmSync(dir, { recursive: true }));

test("a redraw counts until the master refused it; other heights, chains and torn lines do not", () => {
  const file = join(dir, "recoveries.jsonl");
  const place = { chainId: "a", height: 7 };
  expect(auditedRedraws(file, place)).toEqual([]);
  const write = (attempt: number, more: object = {}) =>
    auditRecovery(file, {
      ...{ action: "redraw", chain_id: "a", term: 2, height: 7, attempt },
      ...more,
    });
  write(1);
  write(2);
  write(2, { action: REDRAW_REFUSED });
  write(3, { height: 8 });
  write(4, { chain_id: "b", term: 9 });
  write(5, { action: "master-term" });
  appendFileSync(file, '{"action":"redraw","chain_id":"a","hei');
  expect(auditedRedraws(file, place)).toEqual([1]);
  expect(auditedRedraws(file, { ...place, height: 8 })).toEqual([3]);
  expect(auditedTerm(file, "a")).toBe(2);
});
