/**
 * Expressions that make backtracking engines explode, on payloads that come closest: no match, and
 * the largest payload there is takes milliseconds. Times are in docs/benchmarks.md.
 */
import { expect, test } from "bun:test";
import { benchHostile, HOSTILE, HOSTILE_BYTES, payloadOf } from "../../src/bench/dpi-hostile.ts";
import { openShim } from "../../src/dataplane/shim.ts";

/** Backtracking takes minutes for the first 64 bytes of some; this machine takes 0.5 ms. */
const LIMIT_NS = 50e6;

test("payloads have their sizes", () => {
  for (const hostile of HOSTILE) {
    for (const bytes of HOSTILE_BYTES) expect(payloadOf(hostile, bytes)).toHaveLength(bytes);
  }
});

test("hostile expressions take linear time", () => {
  const results = benchHostile(openShim());
  expect(results).toHaveLength(HOSTILE.length);
  for (const { expr, ns } of results) {
    for (const bytes of HOSTILE_BYTES) {
      expect([expr, bytes, (ns[bytes] ?? Infinity) < LIMIT_NS]).toEqual([expr, bytes, true]);
    }
  }
});
