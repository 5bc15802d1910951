/** Which refusals count, one by one; what is kept while nobody is told. */
import { expect, test } from "bun:test";
import type { Violations } from "../channel/violation-report.ts";
import { EVENT, OUTCOME } from "../dataplane/control-records.ts";
import { DROP, DROP_NAMES } from "../dataplane/drop-reasons.ts";
import type { Peer } from "./provisioning-fields.ts";
import { ViolationCounts } from "./violation-counts.ts";

const KEY = new Uint8Array(32).fill(7);
const peers = [{ id: "web", staticPublic: KEY } as Peer];
const NONE = 0xffffffff;
type Held = { outcome: number; direction: number; reason: number; peer: number; tag: number };
const HELD: Held = {
  outcome: OUTCOME.dropped,
  direction: 0,
  reason: DROP.policyDenied,
  peer: 0,
  tag: 0,
};

function countsOf(...records: Partial<Held>[]): Violations[] {
  const counts = new ViolationCounts();
  for (const record of records) note(counts, record);
  return flushed(counts);
}

function note(counts: ViolationCounts, record: Partial<Held>, nowMs = 0): void {
  const memory = new DataView(new ArrayBuffer(EVENT.sizeBytes));
  for (const [name, value] of Object.entries({ ...HELD, ...record })) {
    memory.setUint32(EVENT[name as keyof Held], value, true);
  }
  counts.note(memory, 0, { peers }, nowMs);
}

function flushed(counts: ViolationCounts, nowMs = 0): Violations[] {
  let all: readonly Violations[] = [];
  counts.flush((list) => {
    all = list;
    return true;
  }, nowMs);
  return [...all];
}

test("a refusal after the proof counts", () => {
  expect(countsOf({}, { reason: DROP.tenantPayload })).toEqual([
    { sessionPub: "07".repeat(32), count: 2, reason: "tenant-payload" },
  ]);
});

const nothing: { name: string; record: Partial<Held> }[] = [
  { name: "of a guessed peer: no session, hence no tag", record: { tag: NONE } },
  { name: "let through in observe and warn", record: { outcome: OUTCOME.wouldDrop } },
  { name: "of the VM's own packet", record: { direction: 1 } },
  { name: "of nobody", record: { peer: NONE } },
];
test.each(nothing)("a refusal $name does not count", ({ record }) => {
  expect(countsOf(record)).toEqual([]);
});

test("of all reasons only those that no forged packet is refused for count", () => {
  const counted = Object.values(DROP).filter((reason) => countsOf({ reason }).length > 0);
  expect(counted.map((reason) => DROP_NAMES[reason] ?? "").sort()).toEqual([
    ...["flow-binding", "policy-denied", "role-mismatch", "tenant-payload"],
  ]);
});

test("what nobody was told of is kept for a minute", () => {
  const counts = new ViolationCounts();
  note(counts, {}, 0);
  counts.flush(() => false, 1000);
  note(counts, {}, 2000);
  expect(flushed(counts, 59_000)[0]?.count).toBe(2);
  expect(flushed(counts, 59_000)).toEqual([]);
  note(counts, {}, 60_000);
  expect(flushed(counts, 121_000)).toEqual([]);
});
