/** The flow hash: as good as random on the structured keys that traffic has, under any seed. */
import { expect, test } from "bun:test";
import { Prng, seed } from "../../test/prng.ts";
import { FlowHash } from "./flow-hash.ts";
import { FLOW_IPV6 } from "./flow-record.ts";

const SLOT_BITS = 16;
const KEYS = 30_000;

/** Mean and greatest number of slots looked at, inserting by linear probing at 46 % load. */
function probes(hashOf: (i: number) => number): { mean: number; greatest: number } {
  const taken = new Uint8Array(1 << SLOT_BITS);
  let sum = 0;
  let greatest = 0;
  for (let i = 0; i < KEYS; i++) {
    let slot = hashOf(i) >>> (32 - SLOT_BITS);
    let count = 1;
    for (; taken[slot] !== 0; count++) slot = (slot + 1) & ((1 << SLOT_BITS) - 1);
    taken[slot] = 1;
    sum += count;
    greatest = Math.max(greatest, count);
  }
  return { mean: sum / KEYS, greatest };
}

type KeyMaker = (hash: FlowHash, i: number) => number;
const KEYS_OF: readonly (readonly [string, KeyMaker])[] = [
  ["remote ports in order", (hash, i) => hash.of4(0x0a000001, 0x0a000002, (443 << 16) | i, 6)],
  ["local ports in order", (hash, i) => hash.of4(0x0a000001, 0x0a000002, (i << 16) | 443, 6)],
  ["remote addresses in order", (hash, i) => hash.of4(0x0a000001, 0x0a000000 + i, 443, 6)],
  ["addresses by their high bits", (hash, i) => hash.of4(0x0a000001, i << 16, 443, 6)],
  ["addresses and ports", (hash, i) => hash.of4(1, 0x0a000000 + (i & 255), (i >>> 8) << 16, 6)],
  ["equal ports", (hash, i) => hash.of4(1, 2, (i << 16) | i, 17)],
  ["VLAN and protocol", (hash, i) => hash.of4(1, 2, i >>> 12, ((i & 0xfff) << 16) | 6)],
  [
    "IPv6 low words",
    (hash, i) => hash.of6(1, i, 443, 6 | FLOW_IPV6, 0x20010db8, 0, 0, 0x20010db8, 0, 0),
  ],
  ["IPv6 prefixes", (hash, i) => hash.of6(1, 2, 443, 6 | FLOW_IPV6, 3, 4, 5, 0x20010db8, i, 0)],
];

test.each(KEYS_OF)("%s spread like random numbers", (_, hashOf) => {
  const random = new Prng(seed);
  for (let turn = 0; turn < 12; turn++) {
    const hash = new FlowHash(new Uint32Array(6).map(() => random.u32()));
    const { mean, greatest } = probes((i) => hashOf(hash, i));
    // Random numbers: 1.42 ± 0.01, and about 30.
    expect(mean, `SEED=${seed}`).toBeLessThan(1.7);
    expect(greatest, `SEED=${seed}`).toBeLessThan(200);
  }
});

test("the worst seeds are mended: all zero, all one, one bit", () => {
  for (const word of [0, 0xffffffff, 1, 0x80000000, 0x80000001]) {
    const hash = new FlowHash(new Uint32Array(6).fill(word));
    for (const [, hashOf] of KEYS_OF) {
      expect(probes((i) => hashOf(hash, i)).mean).toBeLessThan(1.7);
    }
  }
});

test(`keys that differ in one word differ in their hash; seeds differ (SEED=${seed})`, () => {
  const random = new Prng(seed);
  const one = new FlowHash();
  const two = new FlowHash();
  let equal = 0;
  for (let turn = 0; turn < 20_000; turn++) {
    const words = Array.from({ length: 4 }, () => random.u32());
    const other = words.slice();
    other[random.below(4)] ^= 1 << random.below(32);
    const hash = one.of4(words[0], words[1], words[2], words[3]);
    expect(one.of4(other[0], other[1], other[2], other[3])).not.toBe(hash);
    expect(one.of4(words[0] | 0, words[1] | 0, words[2] | 0, words[3] | 0)).toBe(hash);
    if (two.of4(words[0], words[1], words[2], words[3]) === hash) equal++;
  }
  expect(equal).toBeLessThan(3);
});
