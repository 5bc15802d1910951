/** Address pairs, the address table and bindings against Maps; full tables. */
import { expect, test } from "bun:test";
import { Prng, seed } from "../../test/prng.ts";
import { AddressPairs, PAIR_NOBODY } from "./address-pairs.ts";
import { AddressTable } from "./address-table.ts";
import { BINDING_NO_SESSION, BindingTable } from "./binding-table.ts";

type Words = [number, number, number, number];

function address(random: Prng): Words {
  const last = 0xfffffffe + random.below(2);
  if (random.oneIn(2)) return [0, 0, 0, last];
  return [random.below(2), 0x80000000 + random.below(2), random.below(2), last];
}

test(`pairs agree with a Map, and ::a.b.c.d is not a.b.c.d (SEED=${seed})`, () => {
  const random = new Prng(seed);
  const pairs = new AddressPairs(200);
  const oracle = new Map<string, number>();
  for (let turn = 0; turn < 20_000; turn++) {
    const local = address(random);
    const remote = address(random);
    const isIpv4 = random.oneIn(2);
    const name = isIpv4 ? `4 ${local[3]} ${remote[3]}` : `6 ${local} ${remote}`;
    const key = [
      local[3],
      remote[3],
      local[0],
      local[1],
      local[2],
      remote[0],
      remote[1],
      remote[2],
    ];
    const six = key as [number, number, number, number, number, number, number, number];
    const known = oracle.get(name) ?? -1;
    expect(isIpv4 ? pairs.find4(local[3], remote[3]) : pairs.find6(...six)).toBe(known);
    if (!random.oneIn(4)) continue;
    const peer = random.below(100);
    const added = isIpv4 ? pairs.add4(local[3], remote[3], peer) : pairs.add6(...six, peer);
    if (known >= 0) expect(added).toBe(known);
    else if (oracle.size === 200) expect(added).toBe(-1);
    else expect(added).toBe(oracle.size);
    if (added < 0) continue;
    oracle.set(name, added);
    expect(pairs.peer[added]).toBe(peer);
  }
  expect(pairs.count).toBe(oracle.size);
});

test("a full pair table refuses new pairs, and disowned pairs keep index and hashes", () => {
  const pairs = new AddressPairs(2);
  expect(pairs.add4(1, 2, 7)).toBe(0);
  pairs.setHashes(0, 1, 2, 0xffffffff, 4, 5, 6);
  expect(pairs.add4(2, 1, 8)).toBe(1);
  expect(pairs.add4(1, 3, 9)).toBe(-1);
  expect(pairs.find4(1, 3)).toBe(-1);
  pairs.disownAll();
  expect([...pairs.peer]).toEqual([PAIR_NOBODY, PAIR_NOBODY]);
  expect(pairs.add4(1, 2, 3)).toBe(0);
  expect(pairs.peer[0]).toBe(3);
  expect([...pairs.hashOut.slice(0, 3)]).toEqual([1, 2, 0xffffffff]);
  expect([...pairs.hashIn.slice(0, 3)]).toEqual([4, 5, 6]);
  expect(() => new AddressPairs(0)).toThrow("capacity");
});

test(`the address table agrees with a Map, full and after clearing (SEED=${seed})`, () => {
  const random = new Prng(seed);
  const table = new AddressTable(20);
  for (let round = 0; round < 5; round++) {
    table.clear();
    const oracle = new Map<string, number>();
    for (let turn = 0; turn < 3000; turn++) {
      const words = address(random);
      const isIpv4 = random.oneIn(2);
      const name = isIpv4 ? `4 ${words[3]}` : `6 ${words}`;
      const known = oracle.get(name) ?? -1;
      expect(isIpv4 ? table.find4(words[3]) : table.find6(...words)).toBe(known);
      if (!random.oneIn(4)) continue;
      const value = random.below(1000);
      const fits = known >= 0 || oracle.size < 20;
      expect(isIpv4 ? table.set4(words[3], value) : table.set6(...words, value)).toBe(fits);
      if (fits) oracle.set(name, value);
    }
    expect(table.count).toBe(oracle.size);
  }
});

test("the address table loads rows, and says when there are too many", () => {
  const table = new AddressTable(2);
  const words = new Uint32Array([0, 0, 0, 5, 1, 2, 3, 0xffffffff, 0, 0, 0, 6]);
  expect(table.load(words, new Uint8Array([4, 6, 4]), new Int32Array([10, 11, 12]), 2)).toBe(true);
  expect(table.find4(5)).toBe(10);
  expect(table.find6(1, 2, 3, 0xffffffff)).toBe(11);
  expect(table.find4(6)).toBe(-1);
  expect(table.load(words, new Uint8Array([4, 6, 4]), new Int32Array([20, 11, 12]), 3)).toBe(false);
  expect(table.find4(5)).toBe(20);
  expect(table.find4(6)).toBe(-1);
});

test(`bindings are one number each, for ever (SEED=${seed})`, () => {
  const random = new Prng(seed);
  const bindings = new BindingTable(400);
  const rows = new Map<string, number>();
  for (let turn = 0; turn < 20_000; turn++) {
    const peer = random.oneIn(2) ? random.below(20) : 0xffff - random.below(3);
    const tag = random.oneIn(2) ? random.below(20) : 0xffff - random.below(3);
    const role = random.below(2);
    const name = `${peer} ${tag}`;
    const row = rows.get(name);
    expect(bindings.find(peer, tag, role)).toBe(row === undefined ? -1 : 2 * row + role);
    const binding = bindings.of(peer, tag, role);
    if (row === undefined && rows.size === 200) {
      expect(binding).toBe(-1);
      continue;
    }
    if (row === undefined) rows.set(name, rows.size);
    expect(binding).toBe(2 * (rows.get(name) ?? 0) + role);
    expect(bindings.peerOf(binding)).toBe(peer);
    expect(bindings.tagOf(binding)).toBe(tag);
    expect(bindings.roleOf(binding)).toBe(role);
  }
  expect(bindings.count).toBe(2 * rows.size);
  for (const [peer, tag] of [
    [-1, 0],
    [0, -1],
    [0x10000, 0],
    [0, 0x10000],
  ]) {
    expect(bindings.of(peer, tag, 0)).toBe(-1);
    expect(bindings.find(peer, tag, 0)).toBe(-1);
  }
});

test("bindings start without a session; unbind only takes the session named", () => {
  const bindings = new BindingTable(4);
  const binding = bindings.of(1, 2, 1);
  expect(bindings.sendSession[binding]).toBe(BINDING_NO_SESSION);
  bindings.sendSession[binding] = 9;
  bindings.unbind(binding, 8);
  expect(bindings.sendSession[binding]).toBe(9);
  bindings.unbind(binding, 9);
  expect(bindings.sendSession[binding]).toBe(BINDING_NO_SESSION);
  bindings.sendSession[binding] = 0;
  bindings.waiting[binding] = 1;
  bindings.forgetSessions();
  expect(bindings.sendSession[binding]).toBe(BINDING_NO_SESSION);
  expect(bindings.waiting[binding]).toBe(0);
  expect(bindings.find(1, 2, 1)).toBe(binding);
});
