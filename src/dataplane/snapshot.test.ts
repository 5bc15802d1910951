/** Snapshots: there and back, corrupt input; counters beside them. */
import { expect, test } from "bun:test";
import { Prng, seed } from "../../test/prng.ts";
import { Counters, countersBytes } from "./counters.ts";
import { DROP } from "./drop-reasons.ts";
import { packSnapshot, type SnapshotFields, unpackSnapshot } from "./snapshot.ts";

function fieldsOf(random: Prng): SnapshotFields {
  const fields: SnapshotFields = {};
  const kinds = [
    Uint8Array,
    Int8Array,
    Uint16Array,
    Int16Array,
    Uint32Array,
    Int32Array,
    Float32Array,
    Float64Array,
  ];
  const count = random.below(12);
  for (let i = 0; i < count; i++) {
    const kind = kinds[random.below(kinds.length)];
    const values = Array.from({ length: random.below(20) }, () => random.u32() - 2 ** 31);
    fields[random.oneIn(5) ? `größe${i}` : `field${i}`] = new kind(values);
  }
  return fields;
}

test(`unpack(pack(fields)) = fields, anywhere in shared memory (SEED=${seed})`, () => {
  const random = new Prng(seed);
  for (let turn = 0; turn < 500; turn++) {
    const fields = fieldsOf(random);
    const block = packSnapshot(fields);
    const offset = 8 * random.below(4);
    const area = new SharedArrayBuffer(offset + block.length + random.below(50));
    new Uint8Array(area).set(block, offset);
    const back = unpackSnapshot(area, offset);
    expect(Object.keys(back)).toEqual(Object.keys(fields));
    for (const name of Object.keys(fields)) {
      expect(back[name].constructor).toBe(fields[name].constructor);
      expect([...back[name]]).toEqual([...fields[name]]);
      expect(back[name].buffer as ArrayBufferLike).toBe(area);
    }
  }
});

test("a view of part of an array is packed as that part; no fields and empty fields work", () => {
  const whole = new Uint32Array([1, 2, 3, 4]);
  const block = packSnapshot({ part: whole.subarray(1, 3), none: new Float64Array(0) });
  const back = unpackSnapshot(block.buffer, 0);
  expect([...back["part"]]).toEqual([2, 3]);
  expect(back["none"].length).toBe(0);
  const empty = packSnapshot({});
  expect(Object.keys(unpackSnapshot(empty.buffer, 0))).toEqual([]);
  const odd = packSnapshot({ ["__proto__"]: whole });
  expect(Object.keys(unpackSnapshot(odd.buffer, 0)).length).toBeLessThanOrEqual(1);
});

test(`any change of any bit, and any cut, is refused (SEED=${seed})`, () => {
  const block = packSnapshot({ a: new Uint32Array([1, 2]), b: new Uint8Array([3]) });
  const copy = new Uint8Array(block.length);
  for (let bit = 0; bit < 8 * block.length; bit++) {
    copy.set(block);
    copy[bit >> 3] ^= 1 << (bit & 7);
    expect(() => unpackSnapshot(copy.buffer, 0)).toThrow("snapshot");
  }
  for (let size = 0; size < block.length; size++) {
    expect(() => unpackSnapshot(block.buffer.slice(0, size), 0)).toThrow("snapshot");
  }
  for (const offset of [-8, 4, Number.NaN, block.length, block.length + 8]) {
    expect(() => unpackSnapshot(block.buffer, offset)).toThrow("snapshot");
  }
});

test(`rows that lie, with a right checksum, are refused or stay inside (SEED=${seed})`, () => {
  const random = new Prng(seed);
  const block = packSnapshot({ a: new Uint32Array([1, 2]), b: new Float64Array([3]) });
  const copy = new Uint8Array(block.length);
  const memory = new DataView(copy.buffer);
  let refused = 0;
  for (let turn = 0; turn < 20_000; turn++) {
    copy.set(block);
    const at = 4 + 4 * random.below(11);
    if (at === 8 || at === 12) continue;
    memory.setUint32(at, random.oneIn(2) ? random.below(120) : random.u32(), true);
    memory.setUint32(12, checksumOf(copy), true);
    try {
      const fields = unpackSnapshot(copy.buffer, 0);
      for (const field of Object.values(fields)) {
        expect(field.byteOffset + field.byteLength).toBeLessThanOrEqual(block.length);
      }
    } catch (error) {
      expect(String(error)).toContain("snapshot");
      refused++;
    }
  }
  expect(refused).toBeGreaterThan(1000);
});

function checksumOf(block: Uint8Array): number {
  const words = new Uint32Array(block.buffer);
  let hash = 0x811c9dc5;
  for (let i = 0; i < words.length; i++) {
    if (i !== 3) hash = Math.imul(hash ^ words[i], 0x01000193);
  }
  return (hash ^ block.length) >>> 0;
}

test("counters: both threads' views are one, drops are named, unknown names stop", () => {
  const names = ["forwarded", "bytes"];
  const writer = new Counters(names);
  const reader = new Counters(names, writer.buffer);
  writer.values[writer.index("bytes")] += 2 ** 40;
  writer.dropsIn[DROP.counterReplayed]++;
  writer.dropsOut[DROP.flowTableFull] += 2;
  writer.dropsIn[127]++;
  expect(Object.fromEntries(reader.read())).toEqual({
    forwarded: 0,
    bytes: 2 ** 40,
    "in:counter-replayed": 1,
    "out:flow-table-full": 2,
    "in:code-127": 1,
  });
  expect(() => writer.index("nothing")).toThrow("no such counter");
  expect(() => new Counters(names, new SharedArrayBuffer(countersBytes(1)))).toThrow("memory");
});
