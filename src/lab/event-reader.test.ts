import { afterAll, expect, test } from "bun:test";
import { appendFileSync, mkdtempSync, rmSync } from "node:fs";
import { EventReader, eventWords, namesFlow } from "./event-reader.ts";

const directory = mkdtempSync("/tmp/abst-events-");
afterAll(() => rmSync(directory, { recursive: true }));

const refused = {
  time: "2026-01-01T00:00:00.000Z",
  event: "flow-refused",
  reason: "no-signature",
  source: "fd77:ab5::11",
  sourcePort: 40_000,
  destination: "fd77:ab5::12",
  destinationPort: 6_379,
  protocol: 6,
};

test("lines are read as they are appended, also when a write is cut in two", () => {
  const file = `${directory}/events.ndjson`;
  const reader = new EventReader(file);
  expect(reader.all()).toEqual([]);
  const line = JSON.stringify(refused);
  appendFileSync(file, `${line}\n${line.slice(0, 10)}`);
  expect(reader.all()).toHaveLength(1);
  appendFileSync(file, `${line.slice(10)}\nnot an event\n{broken\n`);
  expect(reader.since(1)).toMatchObject([refused, { event: "unreadable" }]);
});

const patterns = [
  { name: "everything", pattern: {}, result: true },
  { name: "the address in another spelling", pattern: { source: "fd77:0ab5::0011" }, result: true },
  { name: "another source port", pattern: { sourcePort: 40_001 }, result: false },
  { name: "another destination", pattern: { destination: "fd77:ab5::13" }, result: false },
  { name: "its reason", pattern: { reasons: ["untagged", "no-signature"] }, result: true },
  { name: "another reason", pattern: { reasons: ["untagged"] }, result: false },
];
test.each(patterns)("namesFlow: $name", ({ pattern, result }) => {
  expect(namesFlow(refused, pattern)).toBe(result);
});

test("an event without a reason refuses nothing", () => {
  expect(namesFlow({ time: "", event: "agent-ready" }, {})).toBe(false);
});

test("an event in words names its flow", () => {
  expect(eventWords(refused)).toContain("no-signature, fd77:ab5::11:40000 → fd77:ab5::12:6379");
});
