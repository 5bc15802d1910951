/**
 * The session table: finding by receiver index, its slots' life, proofs, and two threads' views.
 */
import { expect, test } from "bun:test";
import { Prng, seed } from "../../test/prng.ts";
import {
  SESSION_CAPACITY_MAX,
  SESSION_FREE,
  SESSION_LANES,
  SESSION_LIVE,
  SESSION_RETIRING,
  SESSION_SLOT_BITS,
  SESSION_UNCONFIRMED,
  SessionTable,
  sessionTableBytes,
} from "./session-table.ts";

function indexOf(generation: number, slot: number): number {
  return ((generation << SESSION_SLOT_BITS) | slot) >>> 0;
}

test(`agrees with a Map (SEED=${seed})`, () => {
  const random = new Prng(seed);
  const table = new SessionTable(64);
  const oracle = new Map<number, number>();
  const taken = new Set<number>();
  for (let turn = 0; turn < 50_000; turn++) {
    const index = indexOf(random.below(4), random.below(70));
    const slot = index % SESSION_CAPACITY_MAX;
    expect(table.find(index)).toBe(oracle.get(index) ?? -1);
    if (random.oneIn(2)) {
      const opened = table.open(index, SESSION_LIVE, turn);
      if (index === 0 || slot >= 64 || taken.has(slot)) expect(opened).toBe(-1);
      else {
        expect(opened).toBe(slot);
        oracle.set(index, slot);
        taken.add(slot);
      }
    } else if (slot < 64) {
      table.close(slot);
      taken.delete(slot);
      for (const [known, at] of oracle) if (at === slot) oracle.delete(known);
    }
  }
});

test("no index finds a free slot, whatever its generation", () => {
  const table = new SessionTable(SESSION_CAPACITY_MAX);
  for (let slot = 0; slot < SESSION_CAPACITY_MAX; slot++) {
    for (let bit = -1; bit < 20; bit++) {
      const index = indexOf(bit < 0 ? 0 : 1 << bit, slot);
      expect(table.find(index)).toBe(-1);
    }
  }
  expect(table.find(0xffffffff)).toBe(-1);
});

test("the greatest index and slot work; 0 and slots beyond the capacity are refused", () => {
  const table = new SessionTable();
  expect(table.open(0xffffffff, SESSION_UNCONFIRMED, 5)).toBe(SESSION_CAPACITY_MAX - 1);
  expect(table.find(0xffffffff)).toBe(SESSION_CAPACITY_MAX - 1);
  expect(table.state[SESSION_CAPACITY_MAX - 1]).toBe(SESSION_UNCONFIRMED);
  expect(table.lastReceivedUs[SESSION_CAPACITY_MAX - 1]).toBe(5);
  expect(table.open(0, SESSION_LIVE, 0)).toBe(-1);
  const small = new SessionTable(2);
  expect(small.open(indexOf(1, 2), SESSION_LIVE, 0)).toBe(-1);
  expect(small.open(indexOf(1, 1), SESSION_LIVE, 0)).toBe(1);
  expect(() => new SessionTable(0)).toThrow("capacity");
  expect(() => new SessionTable(SESSION_CAPACITY_MAX + 1)).toThrow("capacity");
  expect(() => new SessionTable(4, new SharedArrayBuffer(sessionTableBytes(4) - 8))).toThrow(
    "memory",
  );
});

test("a slot used again starts from counter 0 in every lane and as no quick session", () => {
  const table = new SessionTable(4);
  const slot = table.open(indexOf(7, 3), SESSION_LIVE, 1);
  for (let lane = 0; lane < SESSION_LANES; lane++) {
    table.counters[slot * SESSION_LANES + lane] = lane + 1;
  }
  expect(table.sent(slot)).toBe((SESSION_LANES * (SESSION_LANES + 1)) / 2);
  table.quickIn[slot] = 1;
  table.quickOut[slot] = 1;
  table.received[slot] = 9;
  table.state[slot] = SESSION_RETIRING;
  expect(table.find(indexOf(7, 3))).toBe(slot);
  table.close(slot);
  expect(table.state[slot]).toBe(SESSION_FREE);
  expect(table.find(indexOf(7, 3))).toBe(-1);
  expect(table.open(indexOf(8, 3), SESSION_LIVE, 2)).toBe(slot);
  expect(table.sent(slot)).toBe(0);
  expect([table.quickIn[slot], table.quickOut[slot], table.received[slot]]).toEqual([0, 0, 0]);
  expect(table.find(indexOf(7, 3))).toBe(-1);
});

test("constant proofs: written as set, and every bit of a received one counts", () => {
  const table = new SessionTable(8);
  const bytes = crypto.getRandomValues(new Uint8Array(40));
  const memory = new DataView(bytes.buffer);
  table.setQuickProofs(5, memory, 3, 20);
  const out = new DataView(new ArrayBuffer(24));
  table.writeQuickProof(out, 4, 5);
  expect(new Uint8Array(out.buffer, 4, 16)).toEqual(bytes.slice(3, 19));
  expect(table.isQuickProof(memory, 20, 5)).toBe(true);
  expect(table.isQuickProof(memory, 3, 5)).toBe(false);
  expect(table.isQuickProof(memory, 20, 4)).toBe(false);
  for (let bit = 0; bit < 128; bit++) {
    bytes[20 + (bit >> 3)] ^= 1 << (bit & 7);
    expect(table.isQuickProof(memory, 20, 5)).toBe(false);
    bytes[20 + (bit >> 3)] ^= 1 << (bit & 7);
  }
});

test("columns do not overlap, and a second table over the buffer sees the first's", () => {
  const capacity = 3;
  const table = new SessionTable(capacity);
  const columns = Object.values(table).filter((column) => ArrayBuffer.isView(column));
  expect(columns.length).toBeGreaterThanOrEqual(19);
  const taken = new Uint8Array(table.buffer.byteLength);
  for (const column of columns) {
    expect(column.byteLength).toBeGreaterThan(0);
    for (let i = 0; i < column.byteLength; i++) {
      expect(taken[column.byteOffset + i]).toBe(0);
      taken[column.byteOffset + i] = 1;
    }
  }
  table.open(indexOf(5, 2), SESSION_LIVE, 11);
  const other = new SessionTable(capacity, table.buffer);
  expect(other.find(indexOf(5, 2))).toBe(2);
  expect(other.lastSentUs[2]).toBe(11);
});
