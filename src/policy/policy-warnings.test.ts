import { expect, test } from "bun:test";
import { policyWarnings } from "./policy-warnings.ts";
import { parsePolicy } from "./schema.ts";

const AGENTS = [
  { id: "web", groups: ["front"] },
  { id: "db", groups: ["back"] },
];
const deny = { direction: "in", action: "deny" };

function warnings(...rules: readonly object[]): string[] {
  const named = rules.map((rule, i) => ({ id: `r${i}`, ...deny, ...rule }));
  const text = JSON.stringify({ version: 1, rules: named });
  return policyWarnings(parsePolicy(text, "p.json"), AGENTS);
}

test("a rule that decides at one agent is not warned of", () => {
  expect(warnings({ to: { agent: "web" } }, {})).toEqual([]);
  expect(warnings({ to: { group: ["front", "back"] } }, { to: { agent: "db" } })).toEqual([
    expect.stringContaining('rule "r1" never decides: "r0"'),
  ]);
});

test("a rule about nobody is warned of once, at whichever end", () => {
  for (const end of [{ from: { agent: "jobs" } }, { to: { group: ["jobs", "mail"] } }]) {
    const words = 'rule "r0" decides nothing now: at one end it means no enrolled agent.';
    expect(warnings(end)).toEqual([expect.stringMatching(/^p\.json:1:\d+: /)]);
    expect(warnings(end)[0]).toContain(words);
  }
  expect(warnings({ from: { agent: ["jobs", "web"] } }, { from: { cidr: "10.0.0.0/8" } })).toEqual(
    [],
  );
});

test("100,000 rules about nobody are counted", () => {
  const rules = Array.from({ length: 100_000 }, () => ({ from: { agent: "jobs" } }));
  const said = warnings(...rules);
  expect(said.length).toBe(21);
  expect(said.at(-1)).toMatch(/^\d+ more\.$/);
});
