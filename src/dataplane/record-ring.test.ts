/**
 * Record rings: one thread against an array, two Workers at full speed, waking, and corrupt memory.
 */
import { expect, test } from "bun:test";
import { Prng, seed } from "../../test/prng.ts";
import { byteOf, type RingJob, type RingReport } from "../../test/ring-worker.ts";
import { untilRecord } from "./doorbell.ts";
import { newRing, RecordRing } from "./record-ring.ts";

function inWorker(job: RingJob): Promise<RingReport> {
  const worker = new Worker(new URL("../../test/ring-worker.ts", import.meta.url));
  return new Promise((resolve, reject) => {
    worker.onmessage = (event: MessageEvent<RingReport>) => {
      worker.terminate();
      resolve(event.data);
    };
    worker.onerror = (event) => reject(event.error ?? event);
    worker.postMessage(job);
  });
}

test(`agrees with an array, and counts what it had no room for (SEED=${seed})`, () => {
  const random = new Prng(seed);
  const buffer = newRing(512);
  const writer = new RecordRing(buffer);
  const reader = new RecordRing(buffer);
  const oracle: { type: number; bytes: number[] }[] = [];
  let lost = 0;
  for (let turn = 0; turn < 50_000; turn++) {
    if (random.oneIn(2)) {
      const length = random.below(80);
      const type = random.u32() % 1000;
      const at = writer.begin(type, length);
      const used = oracle.reduce((sum, record) => sum + 8 + ((record.bytes.length + 7) & ~7), 0);
      if (at < 0) {
        lost++;
        expect(used + 2 * (8 + 80)).toBeGreaterThan(512); // a record and the filler before it
      } else {
        const bytes = Array.from({ length }, () => random.below(256));
        writer.bytes.set(bytes, at);
        if (random.oneIn(10)) continue; // given up: never committed
        writer.commit();
        writer.commit(); // a second time publishes nothing
        oracle.push({ type, bytes });
      }
    } else {
      const at = reader.peek();
      expect(reader.isEmpty).toBe(oracle.length === 0);
      const expected = oracle.shift();
      expect(at >= 0).toBe(expected !== undefined);
      if (expected === undefined) continue;
      expect(reader.peek()).toBe(at); // looking again finds the same record
      expect(reader.type).toBe(expected.type);
      expect(reader.length).toBe(expected.bytes.length);
      expect([...reader.bytes.subarray(at, at + reader.length)]).toEqual(expected.bytes);
      reader.release();
    }
  }
  expect(writer.lost).toBe(lost);
  expect(reader.corruptions).toBe(0);
});

const LENGTHS = [
  { name: "empty record", length: 0, fits: true },
  { name: "the longest", length: 256 - 8, fits: true },
  { name: "one longer", length: 256 - 7, fits: false },
  { name: "negative", length: -1, fits: false },
  { name: "not a number", length: Number.NaN, fits: false },
];
test.each(LENGTHS)("begin: $name", ({ length, fits }) => {
  for (let position = 0; position < 512; position += 8) {
    const ring = new RecordRing(newRing(512));
    for (let moved = 0; moved < position; moved += 8) {
      ring.begin(1, 0);
      ring.commit();
      ring.peek();
      ring.release();
    }
    expect(ring.begin(2, length) >= 0).toBe(fits);
    ring.commit();
    expect(ring.peek() >= 0).toBe(fits);
    if (fits) expect(ring.length).toBe(length);
    expect(ring.lost).toBe(fits ? 0 : 1);
  }
});

test("the positions' wrap at 2^32 is not noticed", () => {
  const buffer = newRing(64);
  const control = new Int32Array(buffer, 0, 17);
  control[0] = -32;
  control[16] = -32;
  const ring = new RecordRing(buffer);
  for (let number = 0; number < 100; number++) {
    const at = ring.begin(number, 8);
    ring.memory.setFloat64(at, number, true);
    ring.commit();
    expect(ring.memory.getFloat64(ring.peek(), true)).toBe(number);
    expect(ring.type).toBe(number);
    ring.release();
  }
});

test(`two Workers: every record arrives once, in order, whole (SEED=${seed})`, async () => {
  for (const [sizeBytes, lengthMax, records] of [
    [64, 24, 5000],
    [1024, 200, 20_000],
    [65_536, 2000, 20_000],
  ]) {
    const job = { buffer: newRing(sizeBytes), seed, records, lengthMax, pauseMs: 0 };
    const [written, read] = await Promise.all([
      inWorker({ ...job, end: "writer" }),
      inWorker({ ...job, end: "reader" }),
    ]);
    expect(read).toEqual({ received: records, mistakes: 0, refused: 0 });
    expect(new RecordRing(job.buffer).lost).toBe(written.refused);
  }
}, 60_000);

test(`a sleeping main thread is woken for every record (SEED=${seed})`, async () => {
  const buffer = newRing(4096);
  const ring = new RecordRing(buffer);
  const records = 200;
  const writer = inWorker({ buffer, end: "writer", seed, records, lengthMax: 40, pauseMs: 1 });
  let received = 0;
  let timeouts = 0;
  while (received < records) {
    if (!(await untilRecord(ring, 20_000))) timeouts++;
    for (let at = ring.peek(); at >= 0; at = ring.peek()) {
      expect(ring.type).toBe(received);
      for (let i = 0; i < ring.length; i++) {
        expect(ring.memory.getUint8(at + i)).toBe(byteOf(received, i));
      }
      ring.release();
      received++;
    }
  }
  expect(timeouts).toBe(0);
  await writer;
}, 60_000);

test("untilRecord gives up after its time, or returns at once", async () => {
  const ring = new RecordRing(newRing(64));
  expect(await untilRecord(ring, 5)).toBe(false);
  ring.begin(1, 0);
  ring.commit();
  expect(await untilRecord(ring, 60_000)).toBe(true);
});

test(`corrupt memory: no read past the ring, no throw, never stuck (SEED=${seed})`, () => {
  const random = new Prng(seed);
  const buffer = newRing(256);
  const ring = new RecordRing(buffer);
  const control = new Int32Array(buffer, 0, 128);
  let corruptions = 0;
  for (let turn = 0; turn < 50_000; turn++) {
    ring.begin(random.below(10), random.below(40));
    ring.commit();
    const at = 512 + 4 * random.below(64);
    if (random.oneIn(3))
      ring.memory.setUint32(at, random.oneIn(2) ? random.u32() : random.below(300), true);
    if (random.oneIn(50)) control[0] = random.oneIn(2) ? random.u32() : random.below(512);
    if (random.oneIn(50)) control[16] = random.oneIn(2) ? random.u32() : random.below(512);
    let turns = 0;
    for (let found = ring.peek(); found >= 0; found = ring.peek()) {
      expect(found).toBeGreaterThanOrEqual(512);
      expect(found + ring.length).toBeLessThanOrEqual(buffer.byteLength);
      ring.release();
      expect(++turns).toBeLessThanOrEqual(32); // 256 bytes hold no more records
    }
    expect(ring.isEmpty).toBe(true);
    corruptions = ring.corruptions;
  }
  expect(corruptions).toBeGreaterThan(100);
});

test("memory that is no ring is refused", () => {
  expect(() => newRing(100)).toThrow("power of two");
  expect(() => newRing(32)).toThrow("power of two");
  expect(() => new RecordRing(new SharedArrayBuffer(1024))).toThrow("ring");
  const buffer = newRing(64);
  new Int32Array(buffer)[80] = 128;
  expect(() => new RecordRing(buffer)).toThrow("ring");
});
