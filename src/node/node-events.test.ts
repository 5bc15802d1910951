/** What a stranger can write into the event log. */
import { expect, test } from "bun:test";
import { NodeEvents } from "./node-events.ts";

test("a flood of one code is cut and counted, other codes are not touched", () => {
  const lines: Record<string, unknown>[] = [];
  const log = { write: (line: Record<string, unknown>) => void lines.push(line) };
  let nowMs = 0;
  const events = new NodeEvents(log, () => nowMs);
  for (let i = 0; i < 1000; i++) events.writeLimited("peer-refused", `${i}`);
  expect(lines.length).toBe(51);
  events.writeLimited("peer-lost", "x");
  events.write("ledger-block", { height: 1 });
  expect(lines.slice(51).map(({ event }) => event)).toEqual(["peer-lost", "ledger-block"]);
  nowMs = 10_000;
  events.writeLimited("peer-refused", "later");
  expect(lines.at(-1)).toEqual({ event: "peer-refused", detail: "later", left_out: 949 });
});
