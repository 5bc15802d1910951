/** `abs bench flood` for a second at a rate that any machine reaches: nothing is lost or missed. */
import { expect, test } from "bun:test";
import { join } from "node:path";

const MAIN = join(import.meta.dir, "../../src/cli/main.ts");

test("every refused packet is counted, and other security events arrive", () => {
  const options = ["--seconds", "1", "--rate", "6000", "--output", "json"];
  const run = Bun.spawnSync([process.execPath, MAIN, "bench", "flood", ...options]);
  expect([run.exitCode, run.stderr.toString()]).toEqual([0, expect.any(String)]);
  const result = JSON.parse(run.stdout.toString());
  expect(result).toMatchObject({ counted: true, security_events_lost: 0 });
  for (const name of ["refused_pps", "offered_pps", "established_ratio", "seconds"]) {
    expect(result[name]).toBeGreaterThan(0);
  }
  expect(result.rss_growth_bytes).toBeGreaterThanOrEqual(0);
  expect(result.security_events).toBeGreaterThan(0);
  const { drops } = result;
  const sum = drops["in:untagged"] + drops["in:proof"];
  const denied = drops["in:policy-denied"] + (drops["in:refused-flow"] ?? 0);
  // 40 % without a header, 30 % with a bad proof, 30 % that no rule lets in.
  expect([drops["in:untagged"] / 24, sum / 42]).toEqual([denied / 18, denied / 18]);
}, 60_000);
