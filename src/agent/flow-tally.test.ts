/** What is counted together, what is kept while nobody is told, and how much at the most. */
import { expect, test } from "bun:test";
import { FLOWS_MAX, type FlowRow } from "../channel/flow-report.ts";
import { FlowTally } from "./flow-tally.ts";

const REFUSED = {
  ...{ event: "refused", reason: "policy-denied", direction: "in", source: "10.0.0.1" },
  ...{ sourcePort: 40_000, destination: "10.0.0.2", destinationPort: 5432, protocol: "tcp" },
  ...{ peer: "web1", app: "app1", rule: "default-inbound" },
} as const;

function flushed(tally: FlowTally, nowMs = 0, isThere = true): readonly FlowRow[] {
  let told: readonly FlowRow[] = [];
  tally.flush((rows) => {
    told = rows;
    return isThere;
  }, nowMs);
  return told;
}

test("the application of a refused flow is the proven one, or what its own VM recognised", () => {
  const { app, ...unproven } = REFUSED;
  for (const [event, told] of [
    [REFUSED, app],
    [{ ...unproven, direction: "out", signature: "http" }, "http"],
    [{ ...unproven, signature: "http" }, ""],
  ] as const) {
    const tally = new FlowTally();
    tally.note(event, 0);
    expect(flushed(tally)[0]?.app).toBe(told);
  }
});

test("flows that ask the same are one row; who begins from another port asks the same", () => {
  const tally = new FlowTally();
  tally.note(REFUSED, 0);
  tally.note({ ...REFUSED, sourcePort: 40_001, suppressed: 4 }, 0);
  tally.note({ ...REFUSED, enforced: false }, 0);
  tally.note({ ...REFUSED, event: "flow-allowed", reason: undefined, rule: "web-to-db" }, 0);
  tally.note({ event: "refused", reason: "not-ip", direction: "in" }, 0);
  const rows = flushed(tally).map(({ verdict, count, rule }) => ({ verdict, count, rule }));
  expect(rows).toEqual([
    { verdict: "refused", count: 6, rule: "default-inbound" },
    { verdict: "would-refuse", count: 1, rule: "default-inbound" },
    { verdict: "allowed", count: 1, rule: "web-to-db" },
  ]);
  expect(flushed(tally)).toEqual([]);
});

test("a flood of different flows is bounded, and what nobody heard is forgotten in a minute", () => {
  const tally = new FlowTally();
  for (let port = 0; port < 10 * FLOWS_MAX; port++) {
    tally.note({ ...REFUSED, destinationPort: port }, 0);
  }
  expect(flushed(tally, 1000, false).length).toBe(FLOWS_MAX);
  expect(flushed(tally, 2000, false).length).toBe(FLOWS_MAX);
  expect(flushed(tally, 60_001)).toEqual([]);
});
