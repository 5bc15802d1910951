import { expect, test } from "bun:test";
import { benchPolicy } from "./policy.ts";

test("a result has every size, the noise and the ratios", () => {
  const progress = () => {};
  const result = benchPolicy({ turns: 3, lookups: 2_000, rules: [10, 20, 300], progress });
  expect(Object.keys(result.rules)).toEqual(["10", "20", "300"]);
  for (const { cached_ns, new_flow_ns } of Object.values(result.rules)) {
    expect(cached_ns).toBeGreaterThan(0);
    expect(new_flow_ns).toBeGreaterThan(0);
  }
  expect(Math.min(result.noise.cached, result.noise.new_flow)).toBeGreaterThanOrEqual(1);
  const isNoisy = Math.max(result.noise.cached, result.noise.new_flow) > 1.03;
  expect(result.too_noisy).toBe(isNoisy);
});
