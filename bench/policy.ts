/**
 * What a policy lookup costs with 10 and with 10,000 rules: answered by the cache, and not (a new
 * flow's first packet). Prints ns a lookup, medians of 5 interleaved turns. Run: bun
 * bench/policy.ts
 */
import { cpus } from "node:os";
import { compilePolicy } from "../src/policy/compile.ts";
import { DIRECTION_IN, PolicyDecision } from "../src/policy/decision.ts";
import type { PolicyNames } from "../src/policy/policy.ts";
import { PolicyView } from "../src/policy/policy-view.ts";
import { parsePolicy } from "../src/policy/schema.ts";

const TURNS = 5;
const LOOKUPS = 1_000_000;
const PEERS = 200;
const APPS = 50;

const names: PolicyNames = {
  own: { id: "own", groups: [], mode: "full" },
  peers: Array.from({ length: PEERS }, (_, i) => ({ id: `vm-${i}`, groups: [], mode: "full" })),
  apps: ["", ...Array.from({ length: APPS }, (_, i) => `app-${i}`)],
  otherTenants: [],
};

function viewWith(rules: number): PolicyView {
  const list = Array.from({ length: rules }, (_, i) => ({
    id: `rule-${i}`,
    direction: "in",
    from: { agent: `vm-${i % PEERS}` },
    app: `app-${i % APPS}`,
    to: { protocol: "tcp", port: 1024 + ((i * 37) % 60_000) },
    action: "allow",
  }));
  const policy = parsePolicy(JSON.stringify({ version: 1, rules: list }), "bench.json");
  return new PolicyView(compilePolicy(policy, names).snapshot);
}

/** ns a lookup; `distinct` questions asked in turn: few are cached, many are not. */
function nanosecondsPer(view: PolicyView, distinct: number): number {
  const out = new PolicyDecision();
  let allowed = 0;
  const start = Bun.nanoseconds();
  for (let i = 0; i < LOOKUPS; i++) {
    const question = i % distinct;
    const port = 1024 + ((question * 37) % 60_000);
    view.decide(DIRECTION_IN, question % PEERS, 0, 0, 0, question, 4, 1, 6, port, out);
    allowed += out.action;
  }
  if (allowed < 0) throw new Error("unreachable: keeps the loop alive");
  return (Bun.nanoseconds() - start) / LOOKUPS;
}

const CASES = [
  { name: "cached", rules: 10, distinct: 200 },
  { name: "cached", rules: 10_000, distinct: 200 },
  { name: "not cached", rules: 10, distinct: 500_000 },
  { name: "not cached", rules: 10_000, distinct: 500_000 },
] as const;

const views = new Map([10, 10_000].map((rules) => [rules, viewWith(rules)]));
const turns = CASES.map((): number[] => []);
for (let turn = 0; turn < TURNS; turn++) {
  for (const [i, { rules, distinct }] of CASES.entries()) {
    const view = views.get(rules);
    if (view !== undefined) turns[i]?.push(nanosecondsPer(view, distinct));
  }
}
console.log(`policy lookup, ns, median of ${TURNS} (${cpus()[0]?.model}, Bun ${Bun.version})`);
for (const [i, { name, rules }] of CASES.entries()) {
  const sorted = (turns[i] ?? []).sort((left, right) => left - right);
  const median = sorted[TURNS >> 1] ?? Number.NaN;
  console.log(
    `${name.padEnd(12)} ${String(rules).padStart(6)} rules ${median.toFixed(1).padStart(8)}`,
  );
}
