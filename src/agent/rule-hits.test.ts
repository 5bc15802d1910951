/** What counts as a hit of a rule, and as which. */
import { expect, test } from "bun:test";
import { RuleHitCounts } from "./rule-hits.ts";

const REFUSED = { event: "refused", reason: "policy-denied", rule: "no-telnet" } as const;

test("each verdict is counted for its rule, what was suppressed too, and when it was last", () => {
  const counts = new RuleHitCounts();
  counts.note(REFUSED, 1000);
  counts.note({ ...REFUSED, suppressed: 9 }, 2000);
  counts.note({ ...REFUSED, enforced: false }, 3000);
  counts.note({ event: "flow-allowed", rule: "web-to-db" }, 4000);
  counts.note({ event: "refused", reason: "untagged" }, 5000);
  expect(counts.all).toEqual({
    "no-telnet": { allowed: 0, refused: 11, "would-refuse": 1, last_ms: 3000 },
    "web-to-db": { allowed: 1, refused: 0, "would-refuse": 0, last_ms: 4000 },
  });
});

test("rules of one policy after another are bounded; those that are known are counted on", () => {
  const counts = new RuleHitCounts();
  for (let i = 0; i < 100_010; i++) counts.note({ ...REFUSED, rule: `rule-${i}` }, i);
  counts.note({ ...REFUSED, rule: "rule-1" }, 7);
  const { all } = counts;
  expect(Object.keys(all)).toHaveLength(100_000);
  expect(all["rule-1"]?.refused).toBe(2);
});
