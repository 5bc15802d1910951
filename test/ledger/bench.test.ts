/** `abs bench ledger` with one validator and short times: its JSON, and that nothing stays. */
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { LedgerBenchResult } from "../../src/bench/ledger.ts";
import { abs } from "./ledger-site.ts";

const dir = mkdtempSync(join(tmpdir(), "abs-bench-test-"));
afterAll(() => rmSync(dir, { recursive: true }));

/** Fixed by issue 4. */
const NAMES = [
  "validators",
  "blocks_per_s",
  "latency_ms_p50",
  "latency_ms_p99",
  "bound_share",
  "verifications_per_block",
  "signatures_per_block",
  "contracts_per_s",
  "catchup_blocks_per_s",
];

test("abs bench ledger measures real processes and leaves nothing behind", async () => {
  const times = ["--turns", "1", "--seconds", "1", "--warm", "1"];
  const short = [...times, "--catch-up", "50", "--start", "100"];
  const words = ["bench", "ledger", "--validators", "1", ...short, "--dir", dir];
  const ran = await abs(...words, "--output", "json");
  expect([ran.exitCode, ran.exitCode === 0 ? "" : ran.stderr]).toEqual([0, ""]);
  const { runs, start } = JSON.parse(ran.stdout) as LedgerBenchResult;
  const [run] = runs as unknown as Record<string, number>[];
  for (const name of NAMES) expect(run?.[name]).toBeGreaterThan(0);
  // n = q = 1: CANDIDATE, PRE_PREPARE, COMMIT, RESULT and SEAL are signed.
  expect(run?.["signatures_per_block"]).toBeCloseTo(5, 0);
  expect(start?.seconds).toBeGreaterThan(0);
  expect(readdirSync(dir)).toEqual([]);
}, 180_000);
