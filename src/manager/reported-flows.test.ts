/** What is joined, what is bounded, and whose reports are not read. */
import { expect, test } from "bun:test";
import type { FlowRow } from "../channel/flow-report.ts";
import type { EpochSeconds } from "../units.ts";
import type { MappedNode } from "./mapping-service.ts";
import { ReportedFlows } from "./reported-flows.ts";

const ROW: FlowRow = {
  ...{ direction: "in", address: "10.0.0.1", peer: "web", app: "", protocol: "tcp", port: 1 },
  ...{ verdict: "refused", rule: "default-inbound", reason: "policy-denied", count: 2 },
};
const db = { name: "db", tenant: "t1" } as MappedNode;
const at = (second: number) => second as EpochSeconds;

test("the same question again adds up; another verdict on it is another row; newest first", () => {
  const flows = new ReportedFlows();
  const channel = {};
  flows.take(db, [ROW, { ...ROW, verdict: "allowed" }], at(1), channel);
  flows.take(db, [ROW], at(9), channel);
  const shown = flows.list("t1").map(({ verdict, count, first, last }) => {
    return [verdict, count, Number(first), Number(last)];
  });
  expect(shown).toEqual([
    ["refused", 4, 1, 9],
    ["allowed", 2, 1, 1],
  ]);
  expect(flows.list("t2")).toEqual([]);
});

test("a tenant has 10,000 at most, and the longest unseen go", () => {
  const flows = new ReportedFlows();
  for (let i = 0; i < 101; i++) {
    const rows = Array.from({ length: 100 }, (_, j) => ({ ...ROW, port: i * 100 + j }));
    flows.take(db, rows, at(i), {});
  }
  const ports = flows.list("t1").map(({ port }) => port);
  expect(ports.length).toBe(10_000);
  expect(Math.min(...ports)).toBe(100);
});

test("an agent that reports all the time is read four times a second", () => {
  const flows = new ReportedFlows();
  const channel = {};
  for (let i = 0; i < 100; i++) flows.take(db, [ROW], at(5), channel);
  expect(flows.list("t1")[0]?.count).toBe(8);
  flows.take(db, [ROW], at(6), channel);
  expect(flows.list("t1")[0]?.count).toBe(10);
});
